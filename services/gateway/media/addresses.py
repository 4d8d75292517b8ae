"""Which addresses of the network a caller may send the gateway to: public ones, and those that an operator allows.

https://www.iana.org/assignments/iana-ipv4-special-registry and iana-ipv6-special-registry.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Self

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

_NOT_PUBLIC_V4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network; Linux takes 0.0.0.0 for this host
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; Alibaba Cloud's metadata
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's host, which hands out credentials
        "169.254.0.0/16",  # link-local; most clouds' metadata
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments; Oracle Cloud's metadata
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT relays
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved; broadcast
    )
)
# All that is assigned to hosts lies here. Outside of it are loopback, link-local, unique local (the metadata of AWS and
# Google Cloud), multicast, and IPv4 in disguise.
_GLOBAL_UNICAST_V6 = IPv6Network("2000::/3")
_NOT_PUBLIC_V6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarks
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)
# Behind DNS64 every IPv4 host has an address in here (https://www.rfc-editor.org/rfc/rfc6052#section-2.1).
_NAT64 = IPv6Network("64:ff9b::/96")

# A last label that begins with a digit may make it another form of an IPv4 address
# (https://url.spec.whatwg.org/#host-parsing).
_HOST_NAME = re.compile(
    r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*"  # labels
    r"[A-Za-z](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.?"  # the last one
)


def is_public(address: IPAddress) -> bool:
    """Whether it is an address of a host on the internet."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_V4)
    if address.scope_id is not None:
        return False
    if address in _NAT64:
        return is_public(IPv4Address(int(address) & 0xFFFF_FFFF))
    return address in _GLOBAL_UNICAST_V6 and not any(address in network for network in _NOT_PUBLIC_V6)


def parsed(host: str) -> IPAddress | str:
    """A URL's host, without brackets: an address, or a name to be looked up, in lower case and without a last dot.

    Raises ValueError for what is neither: another way to write an address, a zone, characters that no name has.
    """
    try:
        return ip_address(host)
    except ValueError:
        if len(host) > 254 or not _HOST_NAME.fullmatch(host):
            raise ValueError("neither a name nor an address in its usual form") from None
        return host.lower().removesuffix(".")


@dataclass(frozen=True)
class AllowedHosts:
    """What an operator allows besides public addresses."""

    names: frozenset[str] = frozenset()
    """Hosts that may have any address."""
    networks: tuple[IPNetwork, ...] = ()
    """Addresses that any host may have."""

    @classmethod
    def parse(cls, entries: Iterable[str]) -> Self:
        """From host names, addresses and networks as `10.1.2.0/24`. Raises ValueError naming the entry that is none."""
        names, networks = set(), []
        for entry in entries:
            try:
                networks.append(ip_network(entry))
            except ValueError:
                try:
                    names.add(str(parsed(entry)))
                except ValueError:
                    raise ValueError(f"{entry!r} is no host name, address or network") from None
        return cls(frozenset(names), tuple(networks))

    def admit(self, host: str, address: IPAddress) -> bool:
        """Whether `host`, as `parsed` gives it, may be connected to at `address`."""
        return is_public(address) or host in self.names or any(address in network for network in self.networks)


NONE_ALLOWED = AllowedHosts()
