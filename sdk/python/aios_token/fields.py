"""Claims: maps with known keys, and the types of their values."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Any, Dict, Optional

from . import cbor
from .errors import form
from .keys import parse_thumbprint_uri

MAX_TIME = 253402300799  # the end of the year 9999
MAX_LIST = 32
MAX_DELEGATIONS = 8
UINT64 = 2**64 - 1

_NAME = re.compile(r"[A-Za-z0-9\-._:/@]{1,64}")


class Fields:
    """The pairs of a map, taken one after the other; finish says that none is left over."""

    def __init__(self, value: Any, what: str) -> None:
        if not isinstance(value, dict):
            raise form(f"{what} is not a map")
        self._pairs: Dict[Any, Any] = dict(value)
        self._what = what

    def has(self, key: int) -> bool:
        return key in self._pairs

    def take(self, key: int, name: str) -> Any:
        if key not in self._pairs:
            raise form(f"{self._what}: {name} is missing")
        return self._pairs.pop(key)

    def finish(self) -> None:
        if self._pairs:
            raise form(f"{self._what}: unknown keys {list(self._pairs)}")

    def number(self, key: int, name: str, least: int = 0, most: int = UINT64) -> int:
        n = self.take(key, name)
        if not isinstance(n, int) or not least <= n <= most:
            raise form(f"{self._what}: {name} is not a number from {least} to {most}")
        return n

    def octets(self, key: int, name: str, size: int, zeros: bool = True) -> bytes:
        b = self.take(key, name)
        if not isinstance(b, bytes) or len(b) != size:
            raise form(f"{self._what}: {name} is not {size} bytes")
        if not zeros and not any(b):
            raise form(f"{self._what}: {name} is all zeros")
        return b

    def text(self, key: int, name: str) -> str:
        t = self.take(key, name)
        if not isinstance(t, str):
            raise form(f"{self._what}: {name} is not a text")
        return t

    def name(self, key: int, name: str) -> str:
        t = self.text(key, name)
        if not is_name(t):
            raise form(f"{self._what}: {name} is not a name")
        return t

    def time(self, key: int, name: str) -> int:
        return self.number(key, name, 0, MAX_TIME)

    def thumbprint_uri(self, key: int, name: str) -> bytes:
        t = parse_thumbprint_uri(self.text(key, name))
        if t is None:
            raise form(f"{self._what}: {name} is not the URI of a thumbprint")
        return t


def claims(payload: bytes, what: str) -> Fields:
    return Fields(cbor.decode(payload), what)


def is_name(text: Any) -> bool:
    return isinstance(text, str) and _NAME.fullmatch(text) is not None


def is_pattern(text: Any) -> bool:
    """A name, the beginning of one with a star behind it, or a star; 64 bytes in all."""
    if not isinstance(text, str) or not 0 < len(text) <= 64:
        return False
    stem = text[:-1] if text.endswith("*") else text
    return stem == "" or is_name(stem)


def pattern_meet(a: str, b: str) -> Optional[str]:
    """The narrower of two patterns that have something in common."""
    if _covers(a, b):
        return b
    return a if _covers(b, a) else None


def _covers(a: str, b: str) -> bool:
    return b.startswith(a[:-1]) if a.endswith("*") else a == b


def time_text(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat().replace("+00:00", "Z")


def parse_time(text: str) -> int:
    """Seconds since 1970 of an RFC 3339 time in whole seconds, in UTC."""
    try:
        when = datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        raise ValueError(f"{text}: expected a time such as 2027-01-15T08:00:00Z") from None
    return int(when.replace(tzinfo=timezone.utc).timestamp())


def check_order(entries: list, what: str, most: Optional[int] = MAX_LIST) -> None:
    """Strictly ascending, and as many as may be."""
    if not entries or (most is not None and len(entries) > most):
        raise form(f"{what}: expected 1 to {most} entries")
    if any(a >= b for a, b in zip(entries, entries[1:])):
        raise form(f"{what}: not in order, or one is there twice")
