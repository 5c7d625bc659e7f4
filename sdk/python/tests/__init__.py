"""Tests of what stands in sdk/python: python3 -m unittest discover -s tests -t . there."""
