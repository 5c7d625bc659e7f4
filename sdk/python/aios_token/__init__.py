"""Capability tokens of AIOS, checked independently of the Go code.

This package was written from docs/token-format.md alone, with nothing but
Python's standard library. It is a second opinion on the format and on the
test vectors, and something to start from for whoever checks tokens elsewhere:

    from aios_token import PublicKey, Trusted, Want, verify_token

    grant = verify_token(raw, Want(trusted=[Trusted(key)], host=..., agent=...,
                                   now=..., lease=...))

What is refused raises Refused, whose kind is the reason in the words of the
document (form, issuer, signature, ...). The package verifies and signs
nothing. Verification handles only public data, so it takes no care to run in
constant time.
"""

from .errors import Refused
from .keys import PublicKey, parse_public_keys
from .proof import verify_proof
from .revocations import RevocationList, take_revocations, verify_revocations
from .token import Grant, Trusted, Want, verify_token

__all__ = [
    "Grant",
    "PublicKey",
    "Refused",
    "RevocationList",
    "Trusted",
    "Want",
    "parse_public_keys",
    "take_revocations",
    "verify_proof",
    "verify_revocations",
    "verify_token",
]
