"""Network destinations: protocol, host and ports, and what two of them share."""

from __future__ import annotations

import ipaddress
import re
from typing import Any, NamedTuple, Optional, Union

from .errors import form

_TCP, _UDP = 6, 17
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")

Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]


class Destination(NamedTuple):
    """The order of the fields is that of the list."""

    protocol: int
    host: str
    first_port: int
    last_port: int

    def meet(self, other: Destination) -> Optional[Destination]:
        """What both admit."""
        host = _meet(self.host, other.host)
        first, last = max(self.first_port, other.first_port), min(self.last_port, other.last_port)
        if self.protocol != other.protocol or host is None or first > last:
            return None
        return Destination(self.protocol, host, first, last)

    def __str__(self) -> str:
        ports = str(self.first_port) if self.first_port == self.last_port else f"{self.first_port}-{self.last_port}"
        return f"{'tcp' if self.protocol == _TCP else 'udp'}://{self.host}:{ports}"


def parse_destination(value: Any) -> Destination:
    if not isinstance(value, list) or len(value) != 4:
        raise form("a destination is not [protocol, host, first port, last port]")
    protocol, host, first, last = value
    if protocol not in (_TCP, _UDP) or not isinstance(protocol, int):
        raise form(f"protocol: expected {_TCP} or {_UDP}, found {protocol}")
    if not isinstance(host, str) or not _is_host(host):
        raise form(f"host {host!r} is no name in small letters, no address range and no *")
    if not all(isinstance(port, int) and 0 <= port <= 65535 for port in (first, last)) or first > last:
        raise form(f"ports {first} to {last}")
    return Destination(protocol, host, first, last)


def _is_host(host: str) -> bool:
    if not 0 < len(host.encode("utf-8")) <= 64:
        return False
    if host == "*":
        return True
    if "/" in host:
        return _network(host) is not None
    return _is_dns_name(host[2:] if host.startswith("*.") else host)


def _is_dns_name(name: str) -> bool:
    labels = name.split(".")
    return all(_LABEL.fullmatch(label) for label in labels) and not labels[-1].isdigit()


def _network(host: str) -> Optional[Network]:
    """The address range in its one spelling."""
    try:
        network = ipaddress.ip_network(host, strict=True)
    except ValueError:
        return None
    if str(network) != host or "%" in host:
        return None
    if isinstance(network, ipaddress.IPv6Network) and network.network_address in _MAPPED:
        return None
    return network


def _meet(a: str, b: str) -> Optional[str]:
    """The narrower of two hosts that have something in common."""
    if _covers(a, b):
        return b
    return a if _covers(b, a) else None


def _covers(a: str, b: str) -> bool:
    if a == "*" or a == b:
        return True
    if a.startswith("*."):
        # *.b.org is below *.org as well, and covers all that *.a.b.org does.
        return "/" not in b and b.lstrip("*").endswith(a[1:])
    if "/" not in a or "/" not in b:
        return False
    x, y = _network(a), _network(b)
    return x is not None and y is not None and x.version == y.version and y.subnet_of(x)  # type: ignore[arg-type]
