import unittest
from typing import Any

from aios_token.errors import Refused
from aios_token.fields import is_name, is_pattern, pattern_meet
from aios_token.network import Destination, parse_destination
from aios_token.scopes import Scopes


class Patterns(unittest.TestCase):
    def test_names(self) -> None:
        for text in ("a", "a-b_c.d:e/f@g", "A" * 64):
            self.assertTrue(is_name(text) and is_pattern(text), text)
        for text in ("", "A" * 65, "a*", "*", "a b", "\u00e4", "a\n", 7):
            self.assertFalse(is_name(text), text)
        for text in ("*", "a*", "A" * 63 + "*"):
            self.assertTrue(is_pattern(text), text)
        for text in ("", "**", "a*b", "*a", "A" * 64 + "*", "a\n*", 7):
            self.assertFalse(is_pattern(text), text)

    def test_meet(self) -> None:
        for a, b, both in (
            ("a", "a", "a"), ("a", "b", None), ("*", "a*", "a*"), ("a*", "ab", "ab"), ("a*", "ab*", "ab*"),
            ("a*", "b*", None), ("ab*", "a", None), ("ab*", "ab", "ab"),
        ):  # fmt: skip
            self.assertEqual(pattern_meet(a, b), both)
            self.assertEqual(pattern_meet(b, a), both)


class Network(unittest.TestCase):
    def test_hosts(self) -> None:
        for host, good in (
            ("example.org", True), ("a", True), ("*.example.org", True), ("*", True), ("1a", True), ("a.1a", True),
            ("10.0.0.0/8", True), ("0.0.0.0/0", True), ("2001:db8::/32", True), ("::/0", True), ("::1/128", True),
            ("", False), ("Example.org", False), ("-a", False), ("a-", False), ("a..b", False), ("a.1", False),
            ("10.0.0.1", False), ("10.0.0.1/8", False), ("10.0.0.0/08", False), ("10.0.0.0/33", False),
            ("10.0.0.0/255.0.0.0", False), ("010.0.0.0/8", False), ("2001:DB8::/32", False), ("2001:db8:0::/32", False),
            ("::ffff:10.0.0.0/104", False), ("::ffff:a00:0/104", False), ("fe80::%1/64", False), ("*.*", False),
            ("*.", False), ("**", False), ("a" * 64, False), ("a." * 31 + "aa", True), ("a." * 32 + "a", False),
            ("a\n", False), ("\u0661.a", False), ("a.\u0661", False),
        ):  # fmt: skip
            with self.subTest(host):
                try:
                    parse_destination([6, host, 1, 2])
                    self.assertTrue(good)
                except Refused:
                    self.assertFalse(good)

    def test_shape(self) -> None:
        for value in ([6, "*", 2, 1], [6, "*", 0, 65536], [6, "*", -1, 1], [5, "*", 1, 1], [6, "*", 1], [6, b"*", 1, 1], "*"):
            with self.assertRaises(Refused):
                parse_destination(value)

    def test_meet(self) -> None:
        for a, b, both in (
            ("*", "a.org", "a.org"), ("*", "10.0.0.0/8", "10.0.0.0/8"), ("*.org", "a.org", "a.org"),
            ("*.org", "a.b.org", "a.b.org"), ("*.org", "org", None), ("*.org", "*.a.org", "*.a.org"),
            ("*.a.org", "ba.org", None), ("*.a.org", "*.ba.org", None), ("*.a.org", "a.org", None), ("*.a", "*.a", "*.a"),
            ("10.0.0.0/8", "10.1.0.0/16", "10.1.0.0/16"), ("10.0.0.0/8", "11.0.0.0/8", None), ("::/0", "10.0.0.0/8", None),
            ("2001:db8::/32", "2001:db8:1::/48", "2001:db8:1::/48"), ("a.org", "10.0.0.0/8", None), ("*.8", "10.0.0.0/8", None),
        ):  # fmt: skip
            with self.subTest(a=a, b=b):
                x, y = Destination(6, a, 1, 10), Destination(6, b, 5, 20)
                want = None if both is None else Destination(6, both, 5, 10)
                self.assertEqual(x.meet(y), want)
                self.assertEqual(y.meet(x), want)
        self.assertIsNone(Destination(6, "*", 1, 4).meet(Destination(17, "*", 1, 4)))
        self.assertIsNone(Destination(6, "*", 1, 4).meet(Destination(6, "*", 5, 9)))


class Meet(unittest.TestCase):
    def test_sorted_each_once_and_nothing_empty(self) -> None:
        a = Scopes(peers=("a*", "ab", "c"), services={"gpu": ("run",), "journal": ("*",)})
        b = Scopes(peers=("*", "a*"), devices=("x",), services={"gpu": ("stop",), "journal": ("append", "read")})
        want: Any = Scopes(peers=("a*", "ab", "c"), services={"journal": ("append", "read")})
        self.assertEqual(a.meet(b), want)
        self.assertEqual(b.meet(a), want)
        self.assertEqual(Scopes().to_cbor(), {})


if __name__ == "__main__":
    unittest.main()
