"""CBOR in core deterministic encoding (RFC 8949 section 4.2.1), and no other.

Values are int, bytes, str, list, dict and Tagged (tag 18 alone). Everything
else that CBOR knows (floats, null, booleans, indefinite lengths, other tags)
has no place in the format and is refused, as is every encoding of a value but
the shortest one. So decode and encode are the inverse of each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Tuple

from .errors import form

COSE_SIGN1 = 18

# An envelope in a tag, or destinations in a list in a map in a map.
_MAX_DEPTH = 8


@dataclass(frozen=True)
class Tagged:
    tag: int
    value: Any


def decode(data: bytes) -> Any:
    """The one value that data is; nothing may stand behind it."""
    value, end = decode_first(data)
    if end != len(data):
        raise form(f"{len(data) - end} bytes behind the end")
    return value


def decode_first(data: bytes, start: int = 0) -> Tuple[Any, int]:
    """The value that begins at start, and where it ends."""
    return _value(data, start, 0)


def _value(data: bytes, at: int, depth: int) -> Tuple[Any, int]:
    if depth > _MAX_DEPTH:
        raise form(f"nested more than {_MAX_DEPTH} deep")
    major, n, at = _head(data, at)
    if major == 0:
        return n, at
    if major == 1:
        return -1 - n, at
    left = len(data) - at
    if major in (2, 3):
        if n > left:
            raise form(f"{n} bytes announced, {left} left")
        raw = data[at : at + n]
        return (raw if major == 2 else _text(raw)), at + n
    if major == 4:
        if n > left:  # each element has at least one byte
            raise form(f"{n} elements announced, {left} bytes left")
        items = []
        for _ in range(n):
            item, at = _value(data, at, depth + 1)
            items.append(item)
        return items, at
    if major == 5:
        return _map(data, at, n, depth)
    if major == 6 and n == COSE_SIGN1:
        value, at = _value(data, at, depth + 1)
        return Tagged(n, value), at
    raise form(f"tag {n}" if major == 6 else "a float, a simple value or null")


def _map(data: bytes, at: int, n: int, depth: int) -> Tuple[dict, int]:
    if 2 * n > len(data) - at:
        raise form(f"{n} pairs announced, {len(data) - at} bytes left")
    pairs: dict = {}
    before = b""
    for _ in range(n):
        start = at
        key, at = _value(data, at, depth + 1)
        if not isinstance(key, (int, str, bytes)):
            raise form("a key of a map that is no number and no text")
        encoded = data[start:at]
        if encoded <= before:
            raise form("keys of a map are not in order, or one is there twice")
        before = encoded
        pairs[key], at = _value(data, at, depth + 1)
    return pairs, at


def _head(data: bytes, at: int) -> Tuple[int, int, int]:
    """Major type, argument and end of the head that begins at `at`."""
    if at >= len(data):
        raise form("ends too early")
    major, low = data[at] >> 5, data[at] & 31
    at += 1
    if low < 24:
        return major, low, at
    if low > 27:
        raise form("an indefinite length or a reserved head")
    size = 1 << (low - 24)
    if len(data) - at < size:
        raise form("ends too early")
    n = int.from_bytes(data[at : at + size], "big")
    if len(_encode_head(major, n)) != 1 + size:
        raise form("not the shortest encoding of a number or length")
    return major, n, at + size


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise form("a text that is not UTF-8") from None


def encode(value: Any) -> bytes:
    """The deterministic encoding of a value."""
    if isinstance(value, bool):
        raise TypeError("booleans have no place in the format")
    if isinstance(value, int):
        return _encode_head(0, value) if value >= 0 else _encode_head(1, -1 - value)
    if isinstance(value, bytes):
        return _encode_head(2, len(value)) + value
    if isinstance(value, str):
        raw = value.encode("utf-8")
        return _encode_head(3, len(raw)) + raw
    if isinstance(value, (list, tuple)):
        return _encode_head(4, len(value)) + b"".join(map(encode, value))
    if isinstance(value, dict):
        pairs = sorted((encode(k), encode(v)) for k, v in value.items())
        return _encode_head(5, len(pairs)) + b"".join(k + v for k, v in pairs)
    if isinstance(value, Tagged):
        return _encode_head(6, value.tag) + encode(value.value)
    raise TypeError(f"{type(value).__name__} has no place in the format")


def _encode_head(major: int, n: int) -> bytes:
    if n < 24:
        return bytes([major << 5 | n])
    for low, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if n < 1 << 8 * size:
            return bytes([major << 5 | low]) + n.to_bytes(size, "big")
    raise ValueError(f"{n} does not fit into 64 bits")
