"""The test vectors of captoken/testdata/vectors, judged by this package.

A vector is a header that says what is known and expected, and an object. The
README beside the vectors is the description.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Callable, Dict, List

from . import cbor
from .command import Operator, all_but_labels, verify_command
from .errors import Refused
from .fields import parse_time, time_text
from .keys import PublicKey, parse_public_keys
from .lease import Request, verify_lease
from .proof import verify_proof
from .receipt import read_receipt
from .revocations import RevocationList, take_revocations, verify_revocations
from .scopes import quotas_to_cbor
from .token import Grant, Trusted, Want, verify_token

Result = Dict[str, str]


@dataclass(frozen=True)
class Vector:
    path: Path
    header: Dict[str, List[str]]
    raw: bytes

    def one(self, key: str, default: str = "") -> str:
        return self.header.get(key, [default])[0]

    def many(self, key: str) -> List[str]:
        return self.header.get(key, [])

    @property
    def result(self) -> Result:
        return {key[len("result-") :]: values[0] for key, values in self.header.items() if key.startswith("result-")}

    def beside(self, name: str) -> Vector:
        """Another vector that this one names."""
        return load(self.path.with_name(name + ".txt"))

    def key(self, name: str) -> PublicKey:
        return _load_key(self.path.parent / "keys" / (name + ".pub"))


@lru_cache(maxsize=None)
def load(path: Path) -> Vector:
    head, separator, body = path.read_text(encoding="utf-8").partition("\n\n")
    if not separator:
        raise ValueError(f"{path}: no empty line behind the header")
    header: Dict[str, List[str]] = {}
    for line in head.split("\n"):
        key, colon, value = line.partition(": ")
        if not colon:
            raise ValueError(f"{path}: {line!r} is not a key and a value")
        header.setdefault(key, []).append(value)
    unknown = {key for key in header if not key.startswith("result-")} - _HEADER_KEYS
    if unknown:
        raise ValueError(f"{path}: unknown keys {sorted(unknown)}")
    return Vector(path, header, base64.b64decode("".join(body.split()), validate=True))


_HEADER_KEYS = {
    "age", "agent", "audience", "boot", "comment", "expect", "host", "issuer", "kind", "known", "last", "lease",
    "list", "nonce", "now", "permits", "reset-count", "revoked-agent", "revoked-token", "rights", "sequence",
    "token", "trusted",
}  # fmt: skip


@lru_cache(maxsize=None)
def _load_key(path: Path) -> PublicKey:
    (key,) = parse_public_keys(path.read_text(encoding="ascii"))
    return key


def judge(vector: Vector) -> List[str]:
    """What this package says otherwise than the vector; nothing if they agree."""
    kind = vector.one("kind")
    if kind not in _JUDGES:
        return [f"kind {kind!r} is unknown"]
    try:
        found, result = "ok", _JUDGES[kind](vector)
    except Refused as refused:
        found, result = refused.kind, {}
        if found != vector.one("expect"):
            return [f"expected {vector.one('expect')}, found {refused}"]
    if found != vector.one("expect"):
        return [f"expected {vector.one('expect')}, found ok"]
    expected = vector.result
    return [
        f"{name}: expected {expected.get(name, 'nothing')}, found {result.get(name, 'nothing')}"
        for name in sorted(set(expected) | set(result))
        if expected.get(name) != result.get(name)
    ]


def _judge_token(v: Vector) -> Result:
    g = _verify_token(v, v.raw)
    return {
        "chain": " ".join(i.hex() for i in g.ids),
        "issuer": g.issuer.hex(),
        "rights": hex(g.rights),
        "scopes": cbor.encode(g.scopes.to_cbor()).hex(),
        "quotas": cbor.encode(quotas_to_cbor(g.quotas)).hex(),
        "not-before": time_text(g.not_before),
        "expires": time_text(g.expires),
        "epoch": str(g.epoch),
        "holder": g.holder.hex(),
        "depth": str(g.depth),
    }


def _verify_token(v: Vector, raw: bytes) -> Grant:
    lists = {name: _list_of_issuer(v, name) for name in v.many("list")}
    trusted = []
    for name, epoch in (line.split() for line in v.many("trusted")):
        key = v.key(name)
        revoked = next((r for r in lists.values() if r.issuer == key.thumbprint), None)
        trusted.append(Trusted(key, int(epoch), revoked))
    want = Want(
        trusted=trusted,
        host=v.one("host"),
        agent=v.one("agent"),
        now=parse_time(v.one("now")),
        lease=bytes.fromhex(v.one("lease")) or None,
        rights=int(v.one("rights", "0"), 0),
        revoked_ids=frozenset(map(bytes.fromhex, v.many("revoked-token"))),
        revoked_agents=frozenset(v.many("revoked-agent")),
    )
    return verify_token(raw, want)


def _list_of_issuer(v: Vector, name: str) -> RevocationList:
    """Lists that tokens are judged by are those of the key that is named issuer."""
    return verify_revocations(v.beside(name).raw, v.key("issuer"))


def _judge_proof(v: Vector) -> Result:
    grant = _verify_token(v, v.beside(v.one("token")).raw)
    verify_proof(v.raw, grant, bytes.fromhex(v.one("nonce")))
    return {}


def _judge_revocations(v: Vector) -> Result:
    issuer = v.key(v.one("trusted"))
    known = verify_revocations(v.beside(v.one("known")).raw, issuer) if v.one("known") else None
    r = take_revocations(v.raw, issuer, known)
    return {
        "issuer": r.issuer.hex(),
        "sequence": str(r.sequence),
        "epoch": str(r.epoch),
        "tokens": f"[{' '.join(i.hex() for i in r.tokens)}]",
        "leases": f"[{' '.join(i.hex() for i in r.leases)}]",
        "agents": f"[{' '.join(r.agents)}]",
    }


def _judge_lease(v: Vector) -> Result:
    request = Request(
        host=v.one("host"),
        boot=bytes.fromhex(v.one("boot")),
        reset_count=int(v.one("reset-count")),
        nonce=bytes.fromhex(v.one("nonce")),
        age=1000 * int(v.one("age").rstrip("s")),
        sequence=int(v.one("sequence")),
    )
    lease = verify_lease(v.raw, v.key(v.one("trusted")), request)
    return {
        "lease": lease.id.hex(),
        "milliseconds": str(lease.milliseconds),
        "issued-at": time_text(lease.issued_at),
        "sequence": str(lease.sequence),
    }


def _judge_command(v: Vector) -> Result:
    operators = []
    for name, *roles in (line.split() for line in v.many("trusted")):
        operators.append(Operator(v.key(name), tuple(roles), int(v.one("last"))))
    c = verify_command(
        v.raw, operators, v.one("audience"), parse_time(v.one("now")), all_but_labels(v.one("permits"))
    )
    return {
        "command": c.id.hex(),
        "operator": c.operator.hex(),
        "action": c.describe(),
        "role": c.role,
        "sequence": str(c.order),
        "reason": c.reason,
    }


def _judge_receipt(v: Vector) -> Result:
    r = read_receipt(v.raw)
    return {
        "hash": r.digest.hex(),
        "agent": r.agent,
        "instance": str(r.instance),
        "cause": r.cause,
        "frames": str(r.frames),
        "handles": str(r.handles),
    }


_JUDGES: Dict[str, Callable[[Vector], Result]] = {
    "command": _judge_command,
    "lease": _judge_lease,
    "proof": _judge_proof,
    "receipt": _judge_receipt,
    "revocations": _judge_revocations,
    "token": _judge_token,
}
