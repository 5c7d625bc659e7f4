"""Orders of operators."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Any, Callable, Dict, Sequence, Tuple

from .cose import COMMAND, decode_envelope
from .errors import Refused, form
from .fields import Fields, claims, time_text
from .keys import PublicKey

_ISSUER, _AUDIENCE, _EXPIRES, _ISSUED_AT, _ID = 1, 3, 4, 6, 7
_ORDER, _ROLE, _ACTION, _TARGET, _REASON = range(-65548, -65553, -1)
KILL, REVOKE = 1, 2
_AGENT, _HOST, _LABEL, _TOKEN, _LEASE, _EPOCH = range(1, 7)
_TARGETS = {
    KILL: ({_AGENT}, {_AGENT, _HOST}, {_HOST}, {_LABEL}),
    REVOKE: ({_AGENT}, {_TOKEN}, {_LEASE}, {_EPOCH}),
}

_MAX_LIFE = 86400
_MAX_AHEAD = 60
_MAX_REASON = 256


@dataclass(frozen=True)
class Command:
    id: bytes
    operator: bytes
    audience: str
    issued_at: int
    expires: int
    order: int
    role: str
    action: int
    target: Dict[int, Any]  # names, ids, or the epoch
    reason: str

    def describe(self) -> str:
        return f"{'kill' if self.action == KILL else 'revoke'} {_describe_target(self.target)}"


def _describe_target(t: Dict[int, Any]) -> str:
    if _AGENT in t:
        return f"agent {t[_AGENT]} on {'host ' + t[_HOST] if _HOST in t else 'every host'}"
    if _HOST in t:
        return f"all agents of host {t[_HOST]}"
    if _LABEL in t:
        return f"all agents with label {t[_LABEL]}"
    if _TOKEN in t:
        return f"token {t[_TOKEN].hex()}"
    if _LEASE in t:
        return f"lease {t[_LEASE].hex()}"
    return f"every epoch below {t[_EPOCH]}"


@dataclass(frozen=True)
class Operator:
    key: PublicKey
    roles: Tuple[str, ...]
    last: int = 0  # order that was carried out last


Permits = Callable[[str, Command], bool]


def all_but_labels(role: str) -> Permits:
    """The policy of the vectors: one role may do everything, but not kill by label."""
    return lambda acting, command: acting == role and _LABEL not in command.target


def verify_command(raw: bytes, operators: Sequence[Operator], audience: str, now: int, permits: Permits) -> Command:
    envelope = decode_envelope(raw, COMMAND)
    key = envelope.find_key(o.key for o in operators)
    envelope.check_signature(key)
    operator = next(o for o in operators if o.key == key)
    command = _claims(envelope.payload)
    if command.operator != key.thumbprint:
        raise Refused("issuer", "iss is not the key that signed")
    if command.audience != audience:
        raise Refused("audience", f"for {command.audience}, this is {audience}")
    if command.issued_at > now + _MAX_AHEAD:
        raise Refused("not-yet", f"issued at {time_text(command.issued_at)}, now {time_text(now)}")
    if now >= command.expires:
        raise Refused("expired", f"valid until {time_text(command.expires)}, now {time_text(now)}")
    if command.role not in operator.roles or not permits(command.role, command):
        raise Refused("role", f"{command.role} may not: {command.describe()}")
    if command.order <= operator.last:
        raise Refused("replay", f"order {command.order}, {operator.last} was carried out")
    return command


def _claims(payload: bytes) -> Command:
    c = claims(payload, "command")
    action = c.number(_ACTION, "action", KILL, REVOKE)
    command = Command(
        operator=c.thumbprint_uri(_ISSUER, "iss"),
        audience=c.name(_AUDIENCE, "aud"),
        expires=c.time(_EXPIRES, "exp"),
        issued_at=c.time(_ISSUED_AT, "iat"),
        id=c.octets(_ID, "cti", 16),
        order=c.number(_ORDER, "order", 1),
        role=c.name(_ROLE, "role"),
        action=action,
        target=_take_target(c.take(_TARGET, "target"), action),
        reason=_check_reason(c.text(_REASON, "reason")),
    )
    c.finish()
    if not command.issued_at < command.expires <= command.issued_at + _MAX_LIFE:
        raise form("exp is not within a day after iat")
    return command


def _take_target(value: Any, action: int) -> Dict[int, Any]:
    t = Fields(value, "target")
    if set(value) not in _TARGETS[action]:
        raise form("target is nothing that this action is for")
    target: Dict[int, Any] = {}
    for key in value:
        if key in (_TOKEN, _LEASE):
            target[key] = t.octets(key, "id", 16, zeros=False)
        elif key == _EPOCH:
            target[key] = t.number(key, "epoch", 1)
        else:
            target[key] = t.name(key, "name")
    return target


def _check_reason(text: str) -> str:
    if not 1 <= len(text.encode("utf-8")) <= _MAX_REASON:
        raise form(f"reason: expected 1 to {_MAX_REASON} bytes")
    for c in text:
        if c != " " and (unicodedata.category(c)[0] not in "LMNPS" or c == "\ufffd"):
            raise form(f"reason: U+{ord(c):04X} is not for reading")
    return text
