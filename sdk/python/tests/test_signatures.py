import unittest
from dataclasses import replace

from aios_token import ed25519, mldsa
from aios_token.cbor import encode
from aios_token.cose import COMMAND, TOKEN, decode_envelope

from .vectors import vector

# RFC 8032 section 7.1, tests 1 and 2.
ED25519 = (
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
)
L = 2**252 + 27742317777372353535851937790883648493


class Ed25519(unittest.TestCase):
    def test_good(self) -> None:
        for key, message, signature in ED25519:
            self.assertTrue(ed25519.verify(bytes.fromhex(key), bytes.fromhex(message), bytes.fromhex(signature)))

    def test_refused(self) -> None:
        key, message, signature = (bytes.fromhex(h) for h in ED25519[1])
        s = int.from_bytes(signature[32:], "little")
        one = (1).to_bytes(32, "little")
        for why, k, m, sig in (
            ("another message", key, b"\x73", signature),
            ("another key", bytes.fromhex(ED25519[0][0]), message, signature),
            ("R flipped", key, message, bytes([signature[0] ^ 1]) + signature[1:]),
            ("S not below L", key, message, signature[:32] + (s + L).to_bytes(32, "little")),
            ("short", key, message, signature[:63]),
            ("y not below p", (2**255 - 18).to_bytes(32, "little"), message, one + bytes(32)),
            ("x zero with a sign", ((1 << 255) + 1).to_bytes(32, "little"), message, one + bytes(32)),
            ("no point", (2).to_bytes(32, "little"), message, one + bytes(32)),
        ):
            with self.subTest(why):
                self.assertFalse(ed25519.verify(k, m, sig))


class MLDSA(unittest.TestCase):
    def setUp(self) -> None:
        v = vector("token-full")
        e = decode_envelope(v.raw, TOKEN)
        self.key = v.key("issuer").raw
        self.message = encode(["Signature1", e.protected, b"", e.payload])
        self.signature = e.signature

    def verify(self, signature: bytes, context: bytes = b"") -> bool:
        return mldsa.verify(mldsa.ML_DSA_65, self.key, self.message, signature, context)

    def test_good(self) -> None:
        self.assertTrue(self.verify(self.signature))

    def test_refused(self) -> None:
        s = self.signature
        p = mldsa.ML_DSA_65
        hints = p.signature_size - p.omega - p.k
        self.assertLess(s[hints], s[hints + 1])
        used = s[-1]
        self.assertLess(used, p.omega)
        for why, bad in (
            ("commitment", bytes([s[0] ^ 1]) + s[1:]),
            ("response", s[:100] + bytes([s[100] ^ 1]) + s[101:]),
            ("hints exchanged", s[:hints] + bytes([s[hints + 1], s[hints]]) + s[hints + 2 :]),
            ("hint twice", s[:hints] + bytes([s[hints], s[hints]]) + s[hints + 2 :]),
            ("padding", s[: hints + used] + b"\1" + s[hints + used + 1 :]),
            ("count above omega", s[:-1] + bytes([p.omega + 1])),
            ("count goes back", s[:-1] + bytes([s[-2] - 1])),
            ("response out of bounds", s[: p.ctilde] + bytes(3) + s[p.ctilde + 3 :]),
            ("short", s[:-1]),
        ):
            with self.subTest(why):
                self.assertFalse(self.verify(bad))

    def test_response_has_a_bound(self) -> None:
        decoded = mldsa._decode_signature(mldsa.ML_DSA_65, self.signature)
        assert decoded is not None
        largest = max(abs(c) for poly in decoded[1] for c in poly)
        for limit, good in ((largest + 1, True), (largest, False)):
            p = replace(mldsa.ML_DSA_65, beta=(1 << 19) - limit)
            self.assertEqual(mldsa.verify(p, self.key, self.message, self.signature), good)

    def test_context_is_signed(self) -> None:
        self.assertFalse(self.verify(self.signature, b"aios"))


class Kinds(unittest.TestCase):
    def test_signature_of_one_kind_says_nothing_of_another(self) -> None:
        v = vector("command-kill-agent")
        e = decode_envelope(v.raw, COMMAND)
        e.check_signature(v.key("operator"))
        with self.assertRaisesRegex(Exception, "type: expected"):
            decode_envelope(v.raw, TOKEN)


if __name__ == "__main__":
    unittest.main()
