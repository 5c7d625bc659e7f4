"""What rights reach, and how much may be used: scopes and quotas."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Tuple

from .errors import form
from .fields import Fields, check_order, is_name, is_pattern, pattern_meet
from .network import Destination, parse_destination

Patterns = Tuple[str, ...]

_PEERS, _MEMORY, _DEVICES, _SERVICES, _NETWORK = range(1, 6)
QUOTAS = ("memory", "cpu", "messages", "bytes", "device")


@dataclass(frozen=True)
class Scopes:
    peers: Patterns = ()
    memory: Patterns = ()
    devices: Patterns = ()
    services: Dict[str, Patterns] = field(default_factory=dict)
    network: Tuple[Destination, ...] = ()

    def meet(self, other: Scopes) -> Scopes:
        """What both admit; everything is sorted, and each once."""
        services = {name: _meet_patterns(ops, other.services.get(name, ())) for name, ops in self.services.items()}
        return Scopes(
            _meet_patterns(self.peers, other.peers),
            _meet_patterns(self.memory, other.memory),
            _meet_patterns(self.devices, other.devices),
            {name: ops for name, ops in services.items() if ops},
            tuple(_meet_lists(self.network, other.network, Destination.meet)),
        )

    def to_cbor(self) -> Dict[int, Any]:
        lists = {
            _PEERS: list(self.peers),
            _MEMORY: list(self.memory),
            _DEVICES: list(self.devices),
            _SERVICES: [[name, list(ops)] for name, ops in self.services.items()],
            _NETWORK: [list(d) for d in self.network],
        }
        return {key: entries for key, entries in lists.items() if entries}


def _meet_patterns(a: Patterns, b: Patterns) -> Patterns:
    return tuple(_meet_lists(a, b, pattern_meet))


def _meet_lists(a: Any, b: Any, meet: Callable[[Any, Any], Any]) -> List[Any]:
    both = (meet(x, y) for x in a for y in b)
    return sorted({entry for entry in both if entry is not None})


def take_scopes(claims: Fields, key: int) -> Scopes:
    """The scopes of a token or delegation, which may leave them out."""
    if not claims.has(key):
        return Scopes()
    scopes = _not_empty(claims.take(key, "scopes"), "scopes")
    parsed = Scopes(
        _take_patterns(scopes, _PEERS, "peers"),
        _take_patterns(scopes, _MEMORY, "memory"),
        _take_patterns(scopes, _DEVICES, "devices"),
        _take_services(scopes),
        _take_network(scopes),
    )
    scopes.finish()
    return parsed


def _not_empty(value: Any, what: str) -> Fields:
    if value == {}:
        raise form(f"{what}: an empty map is left out")
    return Fields(value, what)


def _take_patterns(scopes: Fields, key: int, name: str) -> Patterns:
    return parse_patterns(scopes.take(key, name), name) if scopes.has(key) else ()


def parse_patterns(value: Any, what: str) -> Patterns:
    if not isinstance(value, list) or not all(map(is_pattern, value)):
        raise form(f"{what}: not a list of patterns")
    check_order(value, what)
    return tuple(value)


def _take_services(scopes: Fields) -> Dict[str, Patterns]:
    if not scopes.has(_SERVICES):
        return {}
    value = scopes.take(_SERVICES, "services")
    if not isinstance(value, list) or not all(isinstance(s, list) and len(s) == 2 and is_name(s[0]) for s in value):
        raise form("services: not a list of [name, operations]")
    check_order([s[0] for s in value], "services")
    return {name: parse_patterns(ops, f"operations of {name}") for name, ops in value}


def _take_network(scopes: Fields) -> Tuple[Destination, ...]:
    if not scopes.has(_NETWORK):
        return ()
    value = scopes.take(_NETWORK, "network")
    if not isinstance(value, list):
        raise form("network: not a list")
    network = [parse_destination(d) for d in value]
    check_order(network, "network")
    return tuple(network)


Quotas = Tuple[int, ...]  # in the order of QUOTAS, zero for none


def take_quotas(claims: Fields, key: int) -> Quotas:
    if not claims.has(key):
        return (0,) * len(QUOTAS)
    quotas = _not_empty(claims.take(key, "quotas"), "quotas")
    numbers = tuple(quotas.number(i, name, 1) if quotas.has(i) else 0 for i, name in enumerate(QUOTAS, 1))
    quotas.finish()
    return numbers


def quotas_to_cbor(quotas: Quotas) -> Dict[int, int]:
    return {i: n for i, n in enumerate(quotas, 1) if n}
