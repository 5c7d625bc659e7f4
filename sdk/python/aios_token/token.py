"""Tokens with their delegations, and what is left of them: verification."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256
from typing import FrozenSet, List, Optional, Sequence, Tuple

from .cose import DELEGATION, TOKEN, Envelope, decode_first_envelope
from .errors import Refused, form
from .fields import MAX_DELEGATIONS, Fields, claims, time_text
from .keys import PublicKey
from .revocations import RevocationList
from .scopes import Quotas, Scopes, take_quotas, take_scopes

MAX_TOKEN = 65536

# By bit. Bits without a name admit nothing and are no error.
RIGHTS = (
    "log", "clock", "random", "send", "receive", "transfer", "memory", "share", "service", "connect",
    "listen", "device", "spawn", "lifecycle", "kill", "crypto", "attest",
)  # fmt: skip

_ISSUER, _SUBJECT, _AUDIENCE, _EXPIRES, _NOT_BEFORE, _ID, _HOLDER = 1, 2, 3, 4, 5, 7, 8
_RIGHTS, _SCOPES, _QUOTAS, _EPOCH, _LEASE, _DEPTH, _PARENT = range(-65537, -65544, -1)
_THUMBPRINT = 5  # in cnf


@dataclass(frozen=True)
class Trusted:
    """An issuer that is trusted, with the lowest epoch accepted of it and its revocation list."""

    key: PublicKey
    epoch: int = 0
    revoked: Optional[RevocationList] = None


@dataclass(frozen=True)
class Want:
    """What a token has to be good for. Without a lease the host holds none."""

    trusted: Sequence[Trusted]
    host: str
    agent: str
    now: int
    lease: Optional[bytes] = None
    rights: int = 0
    revoked_ids: FrozenSet[bytes] = frozenset()
    revoked_agents: FrozenSet[str] = frozenset()


@dataclass(frozen=True)
class Grant:
    """What a token grants, after all its delegations."""

    issuer: bytes  # thumbprints
    holder: bytes
    ids: Tuple[bytes, ...]  # of the token and of each delegation
    subjects: Tuple[str, ...]
    audience: str
    rights: int
    scopes: Scopes
    quotas: Quotas
    not_before: int
    expires: int
    epoch: int
    lease: bytes
    depth: int
    digest: bytes  # SHA-256 of the token with all its delegations

    @property
    def subject(self) -> str:
        return self.subjects[-1]


def verify_token(raw: bytes, want: Want) -> Grant:
    """Steps 1 to 5 of "Verification", in that order."""
    envelopes = split(raw)
    issuer = _issuer(envelopes[0], want.trusted)
    envelopes[0].check_signature(issuer.key)
    grant = _token_claims(envelopes[0].payload, sha256(raw).digest())
    before = envelopes[0].raw
    for envelope in envelopes[1:]:
        grant = _delegate(grant, envelope, before)
        before += envelope.raw
    check(grant, issuer, want)
    return grant


def split(raw: bytes) -> List[Envelope]:
    """The token and its delegations, whose form is good."""
    if len(raw) > MAX_TOKEN:
        raise form(f"a token has at most {MAX_TOKEN} bytes, found {len(raw)}")
    envelope, at = decode_first_envelope(raw, 0, TOKEN)
    envelopes = [envelope]
    while at < len(raw):
        if len(envelopes) > MAX_DELEGATIONS:
            raise form(f"more than {MAX_DELEGATIONS} delegations")
        envelope, at = decode_first_envelope(raw, at, DELEGATION)
        envelopes.append(envelope)
    return envelopes


def _issuer(envelope: Envelope, trusted: Sequence[Trusted]) -> Trusted:
    key = envelope.find_key(t.key for t in trusted)
    return next(t for t in trusted if t.key == key)


def _token_claims(payload: bytes, digest: bytes) -> Grant:
    c = claims(payload, "token")
    grant = Grant(
        issuer=c.thumbprint_uri(_ISSUER, "iss"),
        audience=c.name(_AUDIENCE, "aud"),
        epoch=c.number(_EPOCH, "epoch"),
        lease=c.octets(_LEASE, "lease", 16, zeros=False),
        digest=digest,
        **_shared_claims(c),
    )
    c.finish()
    return grant


def _shared_claims(c: Fields) -> dict:
    """What a token and a delegation both state."""
    expires, not_before = c.time(_EXPIRES, "exp"), c.time(_NOT_BEFORE, "nbf")
    if not_before >= expires:
        raise form("nbf is not below exp")
    cnf = Fields(c.take(_HOLDER, "cnf"), "cnf")
    holder = cnf.octets(_THUMBPRINT, "thumbprint", 32, zeros=False)
    cnf.finish()
    return {
        "subjects": (c.name(_SUBJECT, "sub"),),
        "expires": expires,
        "not_before": not_before,
        "ids": (c.octets(_ID, "cti", 16),),
        "holder": holder,
        "rights": c.number(_RIGHTS, "rights"),
        "scopes": take_scopes(c, _SCOPES),
        "quotas": take_quotas(c, _QUOTAS),
        "depth": c.number(_DEPTH, "depth", 1, MAX_DELEGATIONS) if c.has(_DEPTH) else 0,
    }


def _delegate(grant: Grant, envelope: Envelope, before: bytes) -> Grant:
    """Step 4: what is left after one more delegation."""
    signer = envelope.check_signer_id()
    if grant.depth < 1:
        raise Refused("delegation", f"agent {grant.subject} may not pass it on")
    if signer.thumbprint != grant.holder:
        raise Refused("delegation", f"not signed by the holder, agent {grant.subject}")
    envelope.check_signature(signer)
    c = claims(envelope.payload, "delegation")
    own = _shared_claims(c)
    parent = c.octets(_PARENT, "parent", 32)
    c.finish()
    if parent != sha256(before).digest():
        raise Refused("delegation", "belongs to another token")
    return replace(
        grant,
        holder=own["holder"],
        ids=grant.ids + own["ids"],
        subjects=grant.subjects + own["subjects"],
        rights=grant.rights & own["rights"],
        scopes=grant.scopes.meet(own["scopes"]),
        quotas=tuple(map(min, grant.quotas, own["quotas"])),
        not_before=max(grant.not_before, own["not_before"]),
        expires=min(grant.expires, own["expires"]),
        depth=min(grant.depth - 1, own["depth"]),
    )


def check(g: Grant, issuer: Trusted, want: Want) -> None:
    """Step 5."""
    if g.issuer != issuer.key.thumbprint:
        raise Refused("issuer", "iss is not the key that signed")
    if g.audience != want.host:
        raise Refused("audience", f"for host {g.audience}, this is {want.host}")
    if g.subject != want.agent:
        raise Refused("subject", f"for agent {g.subject}, presented by {want.agent}")
    if want.now < g.not_before:
        raise Refused("not-yet", f"valid from {time_text(g.not_before)}, now {time_text(want.now)}")
    if want.now >= g.expires:
        raise Refused("expired", f"valid until {time_text(g.expires)}, now {time_text(want.now)}")
    revoked = issuer.revoked
    epoch = max(issuer.epoch, revoked.epoch if revoked else 0)
    if g.epoch < epoch:
        raise Refused("epoch", f"of epoch {g.epoch}, expected at least {epoch}")
    if want.lease is None or g.lease != want.lease:
        raise Refused("lease", f"hangs from lease {g.lease.hex()}, the host holds {want.lease.hex() if want.lease else 'none'}")
    _check_revoked(g, revoked, want)
    if want.rights & ~g.rights:
        raise Refused("right", f"lacks {', '.join(right_names(want.rights & ~g.rights))}")


def _check_revoked(g: Grant, revoked: Optional[RevocationList], want: Want) -> None:
    ids, agents, leases = set(want.revoked_ids), set(want.revoked_agents), set()
    if revoked:
        ids |= set(revoked.tokens)
        agents |= set(revoked.agents)
        leases |= set(revoked.leases)
    for i in g.ids:
        if i in ids:
            raise Refused("revoked", f"token or delegation {i.hex()}")
    for subject in g.subjects:
        if subject in agents:
            raise Refused("revoked", f"agent {subject}")
    if g.lease in leases:
        raise Refused("revoked", f"lease {g.lease.hex()}")


def right_names(mask: int) -> List[str]:
    return [RIGHTS[bit] if bit < len(RIGHTS) else f"bit {bit}" for bit in range(64) if mask >> bit & 1]
