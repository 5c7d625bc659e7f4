"""Where the tests find the vectors."""

from pathlib import Path

from aios_token.vectors import Vector, load

FOLDER = Path(__file__).parents[3] / "captoken" / "testdata" / "vectors"


def vector(name: str) -> Vector:
    return load(FOLDER / (name + ".txt"))
