"""Which addresses notifications may be sent to: public unicast, and what the operator allows by name.

``ipaddress.is_global`` alone is not enough: it passes addresses that reach inwards from a host or a cloud
network. Sources: IANA special-purpose registries for IPv4 and IPv6 (RFC 6890), RFC 6052, RFC 3056, RFC
4380, cloud vendors' docs.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from app.core.errors import InvalidInput

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_REFUSED_V4 = {
    "unspecified": ["0.0.0.0/8"],
    "private": ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"],
    "shared": ["100.64.0.0/10"],
    "loopback": ["127.0.0.0/8"],
    "link-local": ["169.254.0.0/16"],
    # 168.63.129.16 answers for the host on every Azure machine.
    "cloud platform": ["168.63.129.16/32"],
    "reserved": [
        "192.0.0.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "240.0.0.0/4",
    ],
    "documentation": ["192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"],
    "multicast": ["224.0.0.0/4"],
}
_REFUSED_V6 = {
    "loopback": ["::1/128"],
    "unspecified": ["::/128"],
    # Each of these carries an IPv4 address inside, and with it a way around the IPv4 table.
    "IPv4-mapped": ["::ffff:0:0/96", "::ffff:0:0:0/96"],
    "IPv4-compatible": ["::/96"],
    "NAT64": ["64:ff9b::/96", "64:ff9b:1::/48"],
    "Teredo": ["2001::/32"],
    "6to4": ["2002::/16"],
    "private": ["fc00::/7", "fec0::/10"],
    "link-local": ["fe80::/10"],
    "documentation": ["2001:db8::/32", "3fff::/20"],
    "reserved": ["2001::/23", "2620:4f:8000::/48"],
    "multicast": ["ff00::/8"],
}
_UNICAST_V6 = ipaddress.IPv6Network("2000::/3")
_TABLE: list[tuple[_Network, str]] = [
    (ipaddress.ip_network(cidr), label)
    for table in (_REFUSED_V4, _REFUSED_V6)
    for label, cidrs in table.items()
    for cidr in cidrs
]


class AddressPolicy:
    """``allow_networks``: CIDRs let through although the table refuses them, such as ``127.0.0.0/8`` for
    local receivers.

    Raises InvalidInput on a text that is not a network. An IPv6 form of an IPv4 address is only let through
    when its own IPv6 network is listed.
    """

    def __init__(self, allow_networks: Iterable[str] = ()) -> None:
        self._allowed = [_network(text) for text in allow_networks]

    def why_refused(self, address: str) -> str | None:
        """The kind of address when it is refused (``"loopback"``, …), None when it may be dialled."""
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            return "unreadable"
        if any(ip in network for network in self._allowed):
            return None
        if isinstance(ip, ipaddress.IPv6Address) and ip.scope_id is not None:
            return "link-local"
        for network, label in _TABLE:
            if ip in network:
                return label
        if isinstance(ip, ipaddress.IPv6Address) and ip not in _UNICAST_V6:
            return "reserved"
        return None if ip.is_global else "reserved"


def _network(text: str) -> _Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise InvalidInput(
            f"{text!r} is not a network; expected a CIDR such as 127.0.0.0/8", field="allow_networks"
        ) from None
