"""The envelope of everything that is signed: COSE_Sign1 (RFC 9052)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Iterable, Optional, Tuple

from . import cbor
from .errors import Refused, form
from .keys import ALGORITHMS, Algorithm, PublicKey

TOKEN = "application/aios-token+cwt"
DELEGATION = "application/aios-delegation+cwt"
LEASE = "application/aios-lease+cwt"
COMMAND = "application/aios-command+cwt"
PROOF = "application/aios-proof+cwt"
REVOCATIONS = "application/aios-revocations+cwt"

MAX_HEADER = 4096
MAX_CLAIMS = 8192
MAX_OBJECT = 16384
MAX_REVOCATIONS = 278528

_ALGORITHM, _KEY_ID, _TYPE, _SIGNER = 1, 4, 16, -65537


@dataclass(frozen=True)
class Envelope:
    """An envelope whose form is good and whose signature is still to be checked."""

    raw: bytes
    algorithm: Algorithm
    key_id: bytes
    signer: Optional[PublicKey]  # in delegations and proofs
    protected: bytes
    payload: bytes
    signature: bytes

    def check_signature(self, key: PublicKey) -> None:
        """The key says the algorithm, never the object."""
        if self.algorithm != key.algorithm:
            raise Refused("signature", f"says {self.algorithm.name}, the key is of {key.algorithm.name}")
        message = cbor.encode(["Signature1", self.protected, b"", self.payload])
        if not key.verify(message, self.signature):
            raise Refused("signature", f"not that of key {key.id.hex()}")

    def check_signer_id(self) -> PublicKey:
        """The key beside the id, once it is known that the id is that key's."""
        assert self.signer is not None
        if self.key_id != self.signer.id:
            raise form(f"key id {self.key_id.hex()} beside key {self.signer.id.hex()}")
        return self.signer

    def find_key(self, keys: Iterable[PublicKey]) -> PublicKey:
        for key in keys:
            if key.id == self.key_id:
                return key
        raise Refused("issuer", f"key {self.key_id.hex()} is not trusted with this")


def decode_envelope(raw: bytes, kind: str) -> Envelope:
    """The one envelope that raw is."""
    envelope, end = decode_first_envelope(raw, 0, kind)
    if end != len(raw):
        raise form(f"{len(raw) - end} bytes behind the end")
    return envelope


def decode_first_envelope(data: bytes, start: int, kind: str) -> Tuple[Envelope, int]:
    """The envelope of this kind that begins at start, and where it ends."""
    value, end = cbor.decode_first(data, start)
    max_claims = MAX_REVOCATIONS if kind == REVOCATIONS else MAX_CLAIMS
    max_object = MAX_OBJECT - MAX_CLAIMS + max_claims
    if end - start > max_object:
        raise form(f"an object has at most {max_object} bytes, found {end - start}")
    if not isinstance(value, cbor.Tagged) or not isinstance(value.value, list) or len(value.value) != 4:
        raise form("not 18([protected, unprotected, payload, signature])")
    protected, unprotected, payload, signature = value.value
    for name, part, most in (("protected header", protected, MAX_HEADER), ("payload", payload, max_claims)):
        if not isinstance(part, bytes) or len(part) > most:
            raise form(f"{name}: expected at most {most} bytes")
    if unprotected != {} or not isinstance(unprotected, dict):
        raise form("the unprotected map is not empty")
    algorithm, key_id, signer = _header(protected, kind)
    if not isinstance(signature, bytes) or len(signature) != algorithm.signature_size:
        raise form(f"signature: expected {algorithm.signature_size} bytes")
    return Envelope(data[start:end], algorithm, key_id, signer, protected, payload, signature), end


def _header(protected: bytes, kind: str) -> Tuple[Algorithm, bytes, Optional[PublicKey]]:
    header = cbor.decode(protected)
    carries_key = kind in (DELEGATION, PROOF)
    labels = [_ALGORITHM, _KEY_ID, _TYPE] + ([_SIGNER] if carries_key else [])
    if not isinstance(header, dict) or list(header) != labels:
        raise form(f"protected header: expected the labels {labels}")
    algorithm = ALGORITHMS.get(header[_ALGORITHM]) if isinstance(header[_ALGORITHM], int) else None
    if algorithm is None:
        raise form(f"algorithm {header[_ALGORITHM]} is unknown")
    key_id: Any = header[_KEY_ID]
    if not isinstance(key_id, bytes) or len(key_id) != 16:
        raise form("key id: expected 16 bytes")
    if header[_TYPE] != kind:
        raise form(f"type: expected {kind}, found {header[_TYPE]}")
    if not carries_key:
        return algorithm, key_id, None
    if not isinstance(header[_SIGNER], bytes):
        raise form("the signer's key is not bytes")
    return algorithm, key_id, PublicKey(algorithm, header[_SIGNER])
