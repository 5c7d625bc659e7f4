"""python3 -m aios_token: check tokens and test vectors."""

from __future__ import annotations

import argparse
import base64
import sys
import time
from pathlib import Path
from typing import List, Optional

from .errors import Refused
from .fields import parse_time, time_text
from .keys import parse_public_keys
from .proof import verify_proof
from .revocations import verify_revocations
from .scopes import QUOTAS
from .token import RIGHTS, Grant, Trusted, Want, right_names, verify_token
from .vectors import judge, load


def main(arguments: Optional[List[str]] = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except (OSError, ValueError) as e:
        print(f"aios_token: {e}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m aios_token", description="Check capability tokens of AIOS.")
    commands = parser.add_subparsers(dest="command", required=True)
    v = commands.add_parser("vectors", help="judge every test vector of a folder; exit 1 if one is judged otherwise")
    v.add_argument("folder", type=Path)
    v.set_defaults(run=_vectors)
    t = commands.add_parser("verify", help="check a token as a host would; exit 1 if it is refused")
    t.add_argument("token", type=Path, help="token, in bytes or as the text that aios token mint prints")
    t.add_argument("--issuer", type=Path, action="append", required=True, help="public key of a trusted issuer")
    t.add_argument("--epoch", type=int, default=0, help="lowest revocation epoch of the issuers")
    t.add_argument("--host", required=True, help="the host")
    t.add_argument("--agent", required=True, help="the agent that presents it")
    t.add_argument("--lease", required=True, type=_hex(16), help="the lease that the host holds, in hex")
    t.add_argument("--at", type=_time, help="time at which it is presented, such as 2027-01-15T08:00:00Z (default: now)")
    t.add_argument("--right", action="append", default=[], choices=RIGHTS, metavar="NAME", help="a right that is needed")
    t.add_argument("--revocations", type=Path, help="revocation list of one of the issuers")
    t.add_argument("--proof", type=Path, help="proof that the presenter has the holder's key, as an answer to --nonce")
    t.add_argument("--nonce", type=_hex(32), help="the nonce that the host made up, in hex")
    t.set_defaults(run=_verify)
    return parser


def _hex(size: int):
    def parse(text: str) -> bytes:
        try:
            raw = bytes.fromhex(text)
        except ValueError:
            raw = b""
        if len(raw) != size or 2 * size != len(text):
            raise argparse.ArgumentTypeError(f"expected {2 * size} hex digits, found {text!r}")
        return raw

    return parse


def _time(text: str) -> int:
    try:
        return parse_time(text)
    except ValueError as e:
        raise argparse.ArgumentTypeError(str(e)) from None


def _vectors(options: argparse.Namespace) -> int:
    paths = sorted(options.folder.glob("*.txt"))
    if not paths:
        raise ValueError(f"{options.folder}: no vector (*.txt) in it")
    disagreed = 0
    for path in paths:
        differences = judge(load(path))
        disagreed += bool(differences)
        for difference in differences:
            print(f"{path.name}: {difference}")
    print(f"{len(paths) - disagreed} agreed, {disagreed} disagreed")
    return 1 if disagreed else 0


def _verify(options: argparse.Namespace) -> int:
    if (options.proof is None) != (options.nonce is None):
        raise ValueError("--proof and --nonce go together: a proof answers a nonce")
    keys = []
    for path in options.issuer:
        try:
            keys += parse_public_keys(path.read_text(encoding="ascii"))
        except (ValueError, Refused) as e:
            raise ValueError(f"{path}: {e}") from None
    try:
        revoked = _revocations(options.revocations, keys)
        trusted = [
            Trusted(k, options.epoch, revoked if revoked and revoked.issuer == k.thumbprint else None) for k in keys
        ]
        now = int(time.time()) if options.at is None else options.at
        rights = sum(1 << RIGHTS.index(name) for name in set(options.right))
        raw = _read(options.token)
        grant = verify_token(raw, Want(trusted, options.host, options.agent, now, options.lease, rights))
        if options.proof is not None:
            verify_proof(_read(options.proof), grant, options.nonce)
    except Refused as refused:
        print(f"refused: {refused}")
        return 1
    print("\n".join(_describe(grant)))
    if options.proof is not None:
        print(f"the presenter has shown that it has key {grant.holder.hex()}")
    return 0


def _revocations(path: Optional[Path], keys: list):
    """The list, checked by the issuer that signed it."""
    if path is None:
        return None
    raw, refused = _read(path), None
    for key in keys:
        try:
            return verify_revocations(raw, key)
        except Refused as r:
            refused = r
    assert refused is not None
    raise refused


def _read(path: Path) -> bytes:
    """Bytes, or the text in base64url that aios token prints."""
    raw = path.read_bytes()
    text = raw.strip()
    try:
        decoded = base64.b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return raw
    return decoded if decoded else raw


def _describe(g: Grant) -> List[str]:
    s = g.scopes
    lines = [
        f"agent {g.subject} may on host {g.audience}, from {time_text(g.not_before)} until {time_text(g.expires)}:",
        f"  rights: {', '.join(right_names(g.rights)) or 'none'}",
    ]
    for what, entries in (
        ("peers", s.peers),
        ("shared memory", s.memory),
        ("devices", s.devices),
        ("services", [f"{name} ({', '.join(ops)})" for name, ops in s.services.items()]),
        ("network", list(map(str, s.network))),
        ("at most", [f"{name} {n}" for name, n in zip(QUOTAS, g.quotas) if n]),
    ):
        if entries:
            lines.append(f"  {what}: {', '.join(entries)}")
    lines.append(f"  passed on {len(g.ids) - 1} times, may be passed on {g.depth} times more")
    return lines


if __name__ == "__main__":
    sys.exit(main())
