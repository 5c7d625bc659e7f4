"""Public keys: their algorithms, thumbprints and PEM, and what they verify."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256, sha512
from typing import Dict, List, Optional

from . import cbor, ed25519, mldsa
from .errors import form

THUMBPRINT_URI = "urn:ietf:params:oauth:ckt:sha-256:"

_HYBRID_PREFIX = b"CompositeAlgorithmSignatures2025"
_HYBRID_LABEL = b"COMPSIG-MLDSA65-Ed25519-SHA512"


@dataclass(frozen=True)
class Algorithm:
    """A row of the table of algorithms; hybrid: an Ed25519 half comes behind."""

    identifier: int
    name: str
    parameters: mldsa.Parameters
    hybrid: bool = False

    @property
    def public_key_size(self) -> int:
        return self.parameters.public_key_size + (ed25519.PUBLIC_KEY_SIZE if self.hybrid else 0)

    @property
    def signature_size(self) -> int:
        return self.parameters.signature_size + (ed25519.SIGNATURE_SIZE if self.hybrid else 0)

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        p = self.parameters
        if not self.hybrid:
            return mldsa.verify(p, public_key, message, signature)
        both = _HYBRID_PREFIX + _HYBRID_LABEL + b"\0" + sha512(message).digest()
        key, sig = p.public_key_size, p.signature_size
        return ed25519.verify(public_key[key:], both, signature[sig:]) and mldsa.verify(
            p, public_key[:key], both, signature[:sig], _HYBRID_LABEL
        )


ALGORITHMS: Dict[int, Algorithm] = {
    a.identifier: a
    for a in (
        Algorithm(-48, "ML-DSA-44", mldsa.ML_DSA_44),
        Algorithm(-49, "ML-DSA-65", mldsa.ML_DSA_65),
        Algorithm(-50, "ML-DSA-87", mldsa.ML_DSA_87),
        Algorithm(-65537, "ML-DSA-65-Ed25519", mldsa.ML_DSA_65, hybrid=True),
    )
}


@dataclass(frozen=True)
class PublicKey:
    """A key with its algorithm: a key is of one algorithm for good."""

    algorithm: Algorithm
    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != self.algorithm.public_key_size:
            raise form(f"a key of {self.algorithm.name} has {self.algorithm.public_key_size} bytes, found {len(self.raw)}")

    @cached_property
    def id(self) -> bytes:
        return sha256(self.raw).digest()[:16]

    @cached_property
    def thumbprint(self) -> bytes:
        """RFC 9679."""
        return sha256(cbor.encode({1: 7, 3: self.algorithm.identifier, -1: self.raw})).digest()

    def verify(self, message: bytes, signature: bytes) -> bool:
        return self.algorithm.verify(self.raw, message, signature)


def parse_thumbprint_uri(text: str) -> Optional[bytes]:
    """The thumbprint that iss says; None if it is not in its one spelling."""
    if not text.startswith(THUMBPRINT_URI):
        return None
    encoded = text[len(THUMBPRINT_URI) :]
    if not re.fullmatch(r"[A-Za-z0-9_-]{43}", encoded):
        return None
    raw = base64.urlsafe_b64decode(encoded + "=")
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != encoded:
        return None  # spare bits
    return raw


_PEM = re.compile(r"-----BEGIN AIOS (?P<name>[A-Za-z0-9-]+) PUBLIC KEY-----\s(?P<body>[A-Za-z0-9+/=\s]*)-----END AIOS (?P=name) PUBLIC KEY-----\s*")


def parse_public_keys(text: str) -> List[PublicKey]:
    """The keys of a PEM file; the type of a block says the algorithm."""
    keys, at = [], 0
    while at < len(text):
        block = _PEM.match(text, at)
        algorithm = block and next((a for a in ALGORITHMS.values() if a.name == block["name"]), None)
        if not block or not algorithm:
            raise ValueError('expected nothing but blocks "BEGIN AIOS ALGORITHM PUBLIC KEY", such as ML-DSA-65')
        try:
            keys.append(PublicKey(algorithm, base64.b64decode("".join(block["body"].split()), validate=True)))
        except binascii.Error as e:
            raise ValueError(f"not base64: {e}") from None
        at = block.end()
    if not keys:
        raise ValueError("no public key in it")
    return keys
