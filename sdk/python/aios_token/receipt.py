"""Receipts: what the kernel states when an agent is gone."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Optional

from . import cbor
from .errors import form
from .fields import Fields

KIND = "application/aios-receipt+cbor"
MAX_RECEIPT = 512
_MAX_NANOSECONDS = 2**63 - 1

# By number, from 1.
CAUSES = ("command", "lease", "revoked", "quota", "fault", "parent", "exit")

_HOST, _BOOT, _RESET_COUNT, _AGENT, _INSTANCE, _CAUSE, _COMMAND, _FRAMES, _HANDLES, _ASKED, _GONE = range(1, 12)


@dataclass(frozen=True)
class Receipt:
    digest: bytes  # what a quote carries
    host: str
    boot: bytes
    reset_count: int
    agent: str
    instance: int
    cause: str
    command: Optional[bytes]
    frames: int
    handles: int
    asked: int
    gone: int


def read_receipt(raw: bytes) -> Receipt:
    if len(raw) > MAX_RECEIPT:
        raise form(f"a receipt has at most {MAX_RECEIPT} bytes, found {len(raw)}")
    value = cbor.decode(raw)
    if not isinstance(value, list) or len(value) != 2 or value[0] != KIND:
        raise form(f"not [{KIND}, map]")
    f = Fields(value[1], "receipt")
    receipt = Receipt(
        digest=sha256(raw).digest(),
        host=f.name(_HOST, "host"),
        boot=f.octets(_BOOT, "boot", 16, zeros=False),
        reset_count=f.number(_RESET_COUNT, "reset count", 0, 2**32 - 1),
        agent=f.name(_AGENT, "agent"),
        instance=f.number(_INSTANCE, "instance"),
        cause=CAUSES[f.number(_CAUSE, "cause", 1, len(CAUSES)) - 1],
        command=f.octets(_COMMAND, "command", 16, zeros=False) if f.has(_COMMAND) else None,
        frames=f.number(_FRAMES, "frames"),
        handles=f.number(_HANDLES, "handles"),
        asked=f.number(_ASKED, "asked", 0, _MAX_NANOSECONDS),
        gone=f.number(_GONE, "gone", 0, _MAX_NANOSECONDS),
    )
    f.finish()
    if (receipt.cause == "command") != (receipt.command is not None):
        raise form("the command is there if and only if it was the cause")
    if receipt.gone < receipt.asked:
        raise form("gone before it was asked for")
    return receipt
