import contextlib
import io
import tempfile
import unittest
from pathlib import Path
from typing import Tuple

from aios_token.__main__ import main

from .vectors import FOLDER, vector


def run(*arguments: str) -> Tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(list(arguments))
        except SystemExit as e:
            code = int(e.code or 0)
    return code, out.getvalue(), err.getvalue()


class CommandLine(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def file(self, name: str) -> str:
        path = self.folder / name
        path.write_bytes(vector(name).raw)
        return str(path)

    def verify(self, token: str, *more: str, name: str = "token-one-delegation") -> Tuple[int, str, str]:
        v = vector(name)
        return run(
            "verify", token, "--issuer", str(FOLDER / "keys" / "issuer.pub"), "--host", v.one("host"), "--lease",
            v.one("lease"), "--at", v.one("now"), "--agent", v.one("agent"), *more,
        )  # fmt: skip

    def test_token(self) -> None:
        code, out, _ = self.verify(self.file("token-one-delegation"), "--right", "send")
        self.assertEqual(code, 0, out)
        self.assertIn("agent a may on host host-00112233445566aa, from 2027-01-15T07:59:00Z until", out)
        code, out, _ = self.verify(self.file("token-one-delegation"), "--right", "attest")
        self.assertEqual((code, out), (1, "refused: right: lacks attest\n"))

    def test_proof(self) -> None:
        token, proof = self.file("token-one-delegation"), self.file("proof-good")
        nonce = vector("proof-good").one("nonce")
        code, out, _ = self.verify(token, "--proof", proof, "--nonce", nonce)
        self.assertEqual(code, 0, out)
        code, out, _ = self.verify(token, "--proof", proof, "--nonce", "00" * 32)
        self.assertEqual((code, out), (1, "refused: nonce: answers another nonce\n"))
        code, _, err = self.verify(token, "--proof", proof)
        self.assertEqual((code, err), (2, "aios_token: --proof and --nonce go together: a proof answers a nonce\n"))

    def test_revocations(self) -> None:
        name = "token-list-delegation"
        token = self.file(name)
        self.assertEqual(self.verify(token, name=name)[0], 0)
        code, out, _ = self.verify(token, "--revocations", self.file("revocations-good"), name=name)
        self.assertEqual(code, 1)
        self.assertIn("refused: revoked: token or delegation 946bb0bc", out)
        code, out, _ = self.verify(token, "--revocations", self.file("revocations-flipped"), name=name)
        self.assertEqual(code, 1)
        self.assertIn("refused: signature: not that of key", out)

    def test_vectors(self) -> None:
        code, out, _ = run("vectors", str(FOLDER))
        self.assertEqual(code, 0, out)
        self.assertRegex(out, r"^\d{3} agreed, 0 disagreed\n$")

    def test_vector_that_lies(self) -> None:
        (self.folder / "keys").symlink_to(FOLDER / "keys")
        text = vector("token-full").path.read_text()
        for name, old, new in (
            ("a.txt", "expect: ok", "expect: expired"),
            ("b.txt", "result-rights: 0x135b", "result-rights: 0x135f"),
            ("c.txt", "result-depth: 4\n", ""),
        ):
            self.assertIn(old, text)
            (self.folder / name).write_text(text.replace(old, new))
        code, out, _ = run("vectors", str(self.folder))
        self.assertEqual(code, 1)
        self.assertEqual(
            out,
            "a.txt: expected expired, found ok\nb.txt: rights: expected 0x135f, found 0x135b\n"
            "c.txt: depth: expected nothing, found 4\n0 agreed, 3 disagreed\n",
        )

    def test_nothing_to_judge(self) -> None:
        self.assertEqual(run("vectors", str(self.folder))[0], 2)


if __name__ == "__main__":
    unittest.main()
