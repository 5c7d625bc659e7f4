"""Leases: a duration that counts from when the host asked."""

from __future__ import annotations

from dataclasses import dataclass

from .cose import LEASE, decode_envelope
from .errors import Refused
from .fields import claims
from .keys import PublicKey

_ISSUER, _AUDIENCE, _ISSUED_AT, _ID, _NONCE = 1, 3, 6, 7, 10
_DURATION, _BOOT, _RESET_COUNT, _SEQUENCE = -65544, -65545, -65546, -65547


@dataclass(frozen=True)
class Lease:
    id: bytes
    milliseconds: int
    issued_at: int
    sequence: int


@dataclass(frozen=True)
class Request:
    """The one open request of a host, and what the host knows.

    age is how long ago, in milliseconds, the request was sent. A lease that
    lapsed, and more requests than one, are the host's own business; here the
    host has held none yet.
    """

    host: str
    boot: bytes
    reset_count: int
    nonce: bytes
    age: int
    sequence: int


def verify_lease(raw: bytes, verifier: PublicKey, request: Request) -> Lease:
    envelope = decode_envelope(raw, LEASE)
    envelope.check_signature(envelope.find_key([verifier]))
    c = claims(envelope.payload, "lease")
    issuer = c.thumbprint_uri(_ISSUER, "iss")
    audience = c.name(_AUDIENCE, "aud")
    nonce = c.octets(_NONCE, "nonce", 32, zeros=False)
    boot = c.octets(_BOOT, "boot", 16, zeros=False)
    reset_count = c.number(_RESET_COUNT, "reset count", 0, 2**32 - 1)
    lease = Lease(
        c.octets(_ID, "cti", 16, zeros=False),
        c.number(_DURATION, "duration", 1, 86400000),
        c.time(_ISSUED_AT, "iat"),
        c.number(_SEQUENCE, "sequence"),
    )
    c.finish()
    if issuer != verifier.thumbprint:
        raise Refused("issuer", "iss is not the key that signed")
    if audience != request.host:
        raise Refused("audience", f"for host {audience}, this is {request.host}")
    if (boot, reset_count) != (request.boot, request.reset_count):
        raise Refused("boot", f"for boot {boot.hex()}, reset {reset_count}")
    if nonce != request.nonce:
        raise Refused("nonce", "answers no open request")
    if lease.sequence < request.sequence:
        raise Refused("sequence", f"knows revocation {lease.sequence}, the host {request.sequence}")
    if request.age >= lease.milliseconds:
        raise Refused("expired", f"for {lease.milliseconds} ms, asked for {request.age} ms ago")
    return lease
