"""The proof that who presents a token has the key of its holder."""

from __future__ import annotations

from dataclasses import dataclass

from .cose import PROOF, decode_envelope
from .errors import Refused
from .fields import claims
from .token import Grant

_AUDIENCE, _NONCE, _TOKEN = 3, 10, -65553


@dataclass(frozen=True)
class Proof:
    audience: str
    nonce: bytes
    token: bytes


def verify_proof(raw: bytes, grant: Grant, nonce: bytes) -> Proof:
    """Whether raw answers this nonce for a token that was verified."""
    envelope = decode_envelope(raw, PROOF)
    signer = envelope.check_signer_id()
    if signer.thumbprint != grant.holder:
        raise Refused("issuer", f"signed by {signer.thumbprint.hex()}, the holder is {grant.holder.hex()}")
    envelope.check_signature(signer)
    c = claims(envelope.payload, "proof")
    proof = Proof(
        c.name(_AUDIENCE, "aud"),
        c.octets(_NONCE, "nonce", 32, zeros=False),
        c.octets(_TOKEN, "token", 32),
    )
    c.finish()
    if proof.audience != grant.audience:
        raise Refused("audience", f"for host {proof.audience}, the token is for {grant.audience}")
    if proof.nonce != nonce:
        raise Refused("nonce", "answers another nonce")
    if proof.token != grant.digest:
        raise Refused("delegation", "for another token")
    return proof
