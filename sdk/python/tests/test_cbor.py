import unittest

from aios_token.cbor import Tagged, decode, decode_first, encode
from aios_token.errors import Refused


class CBOR(unittest.TestCase):
    def test_one_encoding_each(self) -> None:
        for text, value in (
            ("00", 0), ("17", 23), ("1818", 24), ("190100", 256), ("1a00010000", 65536),
            ("1bffffffffffffffff", 2**64 - 1), ("20", -1), ("3a00010000", -65537), ("3bffffffffffffffff", -(2**64)),
            ("40", b""), ("4101", b"\1"), ("62c3a4", "\u00e4"), ("80", []), ("8201a0", [1, {}]),
            ("a30102030420a0", {1: 2, 3: 4, -1: {}}), ("d28101", Tagged(18, [1])),
        ):  # fmt: skip
            with self.subTest(text):
                raw = bytes.fromhex(text)
                self.assertEqual(decode(raw), value)
                self.assertEqual(encode(value), raw)

    def test_refused(self) -> None:
        for why, text in (
            ("empty", ""), ("head cut", "19ff"), ("longer number", "1817"), ("longer number", "190018"),
            ("longer number", "1a0000ffff"), ("longer number", "1b00000000ffffffff"), ("longer length", "580101"),
            ("bytes cut", "4201"), ("huge length", "5bffffffffffffffff00"), ("huge array", "9bffffffffffffffff00"),
            ("huge map", "bbffffffffffffffff00"), ("indefinite", "5f4101ff"), ("indefinite", "9fff"),
            ("reserved", "1c"), ("false", "f4"), ("null", "f6"), ("half float", "f93c00"), ("another tag", "d30102"),
            ("map order", "a203000100"), ("twice", "a201000100"), ("array as key", "a18000"), ("not UTF-8", "61ff"),
            ("surrogate", "63eda080"), ("one more byte", "0000"), ("too deep", "81" * 20 + "00"),
        ):  # fmt: skip
            with self.subTest(why, text=text):
                with self.assertRaises(Refused) as caught:
                    decode(bytes.fromhex(text))
                self.assertEqual(caught.exception.kind, "form")

    def test_sequence(self) -> None:
        self.assertEqual(decode_first(b"\1\x81\2", 1), ([2], 3))


if __name__ == "__main__":
    unittest.main()
