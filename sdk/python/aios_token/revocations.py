"""Revocation lists: what an issuer revoked of its own tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple

from .cose import REVOCATIONS, decode_envelope
from .errors import Refused, form
from .fields import Fields, check_order, claims, is_name
from .keys import PublicKey

MAX_REVOKED = 4096  # tokens, leases and agents together

_ID_SIZE = 16
_ISSUER, _ISSUED_AT, _EPOCH, _SEQUENCE = 1, 6, -65540, -65547
_TOKENS, _LEASES, _AGENTS = -65554, -65555, -65556


@dataclass(frozen=True)
class RevocationList:
    raw: bytes
    issuer: bytes
    issued_at: int
    epoch: int
    sequence: int
    tokens: Tuple[bytes, ...]
    leases: Tuple[bytes, ...]
    agents: Tuple[str, ...]


def take_revocations(raw: bytes, issuer: PublicKey, known: Optional[RevocationList]) -> RevocationList:
    """A list that comes in the place of the one that is known, if it does not go back."""
    new = verify_revocations(raw, issuer)
    if known is None or new.raw == known.raw:
        return new
    if new.sequence <= known.sequence:
        raise Refused("sequence", f"list {new.sequence}, list {known.sequence} is known")
    if new.epoch < known.epoch:
        raise Refused("sequence", f"epoch {new.epoch}, that of the known list is {known.epoch}")
    if new.epoch == known.epoch:
        for what, before, now in (
            ("tokens", known.tokens, new.tokens),
            ("leases", known.leases, new.leases),
            ("agents", known.agents, new.agents),
        ):
            if not set(before) <= set(now):
                raise Refused("sequence", f"names fewer {what} than the known list of the same epoch")
    return new


def verify_revocations(raw: bytes, issuer: PublicKey) -> RevocationList:
    """A list of this issuer, whatever came before it."""
    envelope = decode_envelope(raw, REVOCATIONS)
    envelope.check_signature(envelope.find_key([issuer]))
    c = claims(envelope.payload, "revocation list")
    revocations = RevocationList(
        raw=raw,
        issuer=c.thumbprint_uri(_ISSUER, "iss"),
        issued_at=c.time(_ISSUED_AT, "iat"),
        epoch=c.number(_EPOCH, "epoch"),
        sequence=c.number(_SEQUENCE, "sequence", 1),
        tokens=_take_ids(c, _TOKENS, "tokens"),
        leases=_take_ids(c, _LEASES, "leases"),
        agents=_take_agents(c),
    )
    c.finish()
    named = len(revocations.tokens) + len(revocations.leases) + len(revocations.agents)
    if named > MAX_REVOKED:
        raise form(f"names {named}, expected at most {MAX_REVOKED}")
    if revocations.issuer != issuer.thumbprint:
        raise Refused("issuer", "iss is not the key that signed")
    return revocations


def _take_ids(c: Fields, key: int, name: str) -> Tuple[bytes, ...]:
    if not c.has(key):
        return ()
    value = c.take(key, name)
    if not isinstance(value, bytes) or len(value) % _ID_SIZE:
        raise form(f"{name}: not ids of {_ID_SIZE} bytes")
    ids = [value[i : i + _ID_SIZE] for i in range(0, len(value), _ID_SIZE)]
    check_order(ids, name, MAX_REVOKED)
    return tuple(ids)


def _take_agents(c: Fields) -> Tuple[str, ...]:
    if not c.has(_AGENTS):
        return ()
    value = c.take(_AGENTS, "agents")
    if not isinstance(value, list) or not all(map(is_name, value)):
        raise form("agents: not a list of names")
    check_order(value, "agents", MAX_REVOKED)
    return tuple(value)
