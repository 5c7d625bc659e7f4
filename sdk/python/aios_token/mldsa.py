"""ML-DSA verification (FIPS 204). Names are those of the standard.

Polynomials are lists of 256 numbers. What is worked out from a public key
(the matrix A and NTT(t1 * 2^d)) is kept for the keys that were used last.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from hashlib import shake_128, shake_256
from typing import Dict, List, Optional, Tuple

Poly = List[int]

Q = 8380417
D = 13  # bits dropped from t


@dataclass(frozen=True)
class Parameters:
    """A row of table 1 of FIPS 204."""

    name: str
    k: int
    l: int
    tau: int
    ctilde: int  # bytes of the commitment hash, lambda / 4
    gamma1_bits: int
    gamma2: int
    beta: int
    omega: int

    @property
    def public_key_size(self) -> int:
        return 32 + 320 * self.k

    @property
    def signature_size(self) -> int:
        return self.ctilde + self.l * 32 * (self.gamma1_bits + 1) + self.omega + self.k


ML_DSA_44 = Parameters("ML-DSA-44", 4, 4, 39, 32, 17, (Q - 1) // 88, 78, 80)
ML_DSA_65 = Parameters("ML-DSA-65", 6, 5, 49, 48, 19, (Q - 1) // 32, 196, 55)
ML_DSA_87 = Parameters("ML-DSA-87", 8, 7, 60, 64, 19, (Q - 1) // 32, 120, 75)


def verify(p: Parameters, public_key: bytes, message: bytes, signature: bytes, context: bytes = b"") -> bool:
    """ML-DSA.Verify, algorithms 3 and 8: "pure", with a context of up to 255 bytes."""
    if len(public_key) != p.public_key_size or len(signature) != p.signature_size or len(context) > 255:
        return False
    decoded = _decode_signature(p, signature)
    if decoded is None:
        return False
    ctilde, z, hints = decoded
    limit = (1 << p.gamma1_bits) - p.beta
    if any(abs(c) >= limit for poly in z for c in poly):
        return False
    key = _expand(p, public_key)
    prefix = bytes([0, len(context)]) + context
    mu = shake_256(key.tr + prefix + message).digest(64)
    c_hat = _ntt(_sample_in_ball(p, ctilde))
    z_hat = [_ntt(poly) for poly in z]
    w1 = b""
    for i in range(p.k):
        row = [-c * t for c, t in zip(c_hat, key.t1_hat[i])]
        for a, zj in zip(key.a_hat[i], z_hat):
            row = [s + x * y for s, x, y in zip(row, a, zj)]
        w = _inverse_ntt([x % Q for x in row])
        w1 += _pack_w1(p, [_use_hint(p, h, r) for h, r in zip(hints[i], w)])
    return shake_256(mu + w1).digest(p.ctilde) == ctilde


@dataclass(frozen=True)
class _Expanded:
    a_hat: List[List[Poly]]
    t1_hat: List[Poly]  # NTT(t1 * 2^d)
    tr: bytes


@lru_cache(maxsize=64)
def _expand(p: Parameters, public_key: bytes) -> _Expanded:
    rho, rest = public_key[:32], public_key[32:]
    t1 = [_unpack(rest[320 * i : 320 * (i + 1)], 10) for i in range(p.k)]
    return _Expanded(
        [[_rej_ntt_poly(rho + bytes([s, r])) for s in range(p.l)] for r in range(p.k)],
        [_ntt([c << D for c in poly]) for poly in t1],
        shake_256(public_key).digest(64),
    )


def _rej_ntt_poly(seed: bytes) -> Poly:
    """Algorithm 30: a polynomial with coefficients below q, by rejection."""
    size = 1008  # a multiple of 3; mostly enough, and prolonged if not
    while True:
        stream = shake_128(seed).digest(size)
        poly: Poly = []
        for i in range(0, size, 3):
            c = stream[i] | stream[i + 1] << 8 | (stream[i + 2] & 0x7F) << 16
            if c < Q:
                poly.append(c)
                if len(poly) == 256:
                    return poly
        size *= 2


def _sample_in_ball(p: Parameters, seed: bytes) -> Poly:
    """Algorithm 29: tau coefficients are 1 or -1, the others 0."""
    size = 512
    while True:
        stream = shake_256(seed).digest(size)
        signs = int.from_bytes(stream[:8], "little")
        c: Poly = [0] * 256
        at, i = 8, 256 - p.tau
        while i < 256 and at < size:
            j = stream[at]
            at += 1
            if j > i:
                continue
            c[i] = c[j]
            c[j] = 1 - 2 * (signs & 1)
            signs >>= 1
            i += 1
        if i == 256:
            return c
        size *= 2


def _decode_signature(p: Parameters, signature: bytes) -> Optional[Tuple[bytes, List[Poly], List[Poly]]]:
    """Algorithm 27; None where the hints are not in their one encoding."""
    ctilde, at = signature[: p.ctilde], p.ctilde
    bits = p.gamma1_bits + 1
    z = []
    for _ in range(p.l):
        packed = signature[at : at + 32 * bits]
        z.append([(1 << p.gamma1_bits) - c for c in _unpack(packed, bits)])
        at += 32 * bits
    hints = _unpack_hints(p, signature[at:])
    return None if hints is None else (ctilde, z, hints)


def _unpack_hints(p: Parameters, y: bytes) -> Optional[List[Poly]]:
    """Algorithm 21, with the checks that make signatures strongly unforgeable."""
    hints: List[Poly] = []
    index = 0
    for i in range(p.k):
        end = y[p.omega + i]
        if end < index or end > p.omega:
            return None
        h = [0] * 256
        first = index
        for index in range(first, end):
            if index > first and y[index - 1] >= y[index]:
                return None
            h[y[index]] = 1
        index = end
        hints.append(h)
    if any(y[index : p.omega]):
        return None
    return hints


def _unpack(packed: bytes, bits: int) -> Poly:
    """Algorithm 18 without the subtraction: 256 numbers of so many bits, the lowest first."""
    n, mask = int.from_bytes(packed, "little"), (1 << bits) - 1
    return [n >> shift & mask for shift in range(0, 256 * bits, bits)]


def _pack_w1(p: Parameters, w1: Poly) -> bytes:
    """Algorithm 28 for one polynomial."""
    bits = ((Q - 1) // (2 * p.gamma2) - 1).bit_length()
    n = 0
    for c in reversed(w1):
        n = n << bits | c
    return n.to_bytes(32 * bits, "little")


def _use_hint(p: Parameters, hint: int, r: int) -> int:
    """Algorithms 36 and 40."""
    modulus = (Q - 1) // (2 * p.gamma2)
    r0 = r % (2 * p.gamma2)
    if r0 > p.gamma2:
        r0 -= 2 * p.gamma2
    if r - r0 == Q - 1:
        r1, r0 = 0, r0 - 1
    else:
        r1 = (r - r0) // (2 * p.gamma2)
    if not hint:
        return r1
    return (r1 + 1) % modulus if r0 > 0 else (r1 - 1) % modulus


def _zetas() -> List[int]:
    reverse = lambda i: int(f"{i:08b}"[::-1], 2)  # noqa: E731
    return [pow(1753, reverse(i), Q) for i in range(256)]


_ZETAS = _zetas()


def _ntt(poly: Poly) -> Poly:
    """Algorithm 41."""
    w = list(poly)
    m, length = 0, 128
    while length >= 1:
        for start in range(0, 256, 2 * length):
            m += 1
            zeta = _ZETAS[m]
            for j in range(start, start + length):
                t = zeta * w[j + length] % Q
                w[j + length] = w[j] - t
                w[j] += t
        length //= 2
    return [c % Q for c in w]


def _inverse_ntt(poly: Poly) -> Poly:
    """Algorithm 42."""
    w = list(poly)
    m, length = 256, 1
    while length < 256:
        for start in range(0, 256, 2 * length):
            m -= 1
            zeta = _ZETAS[m]
            for j in range(start, start + length):
                t = w[j]
                w[j] = t + w[j + length]
                w[j + length] = zeta * (w[j + length] - t) % Q
        length *= 2
    return [c * 8347681 % Q for c in w]


BY_NAME: Dict[str, Parameters] = {p.name: p for p in (ML_DSA_44, ML_DSA_65, ML_DSA_87)}
