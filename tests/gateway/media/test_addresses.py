"""Which addresses are public, and what a host in a URL may look like."""

import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import pytest
from aiohttp.helpers import is_ip_address
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.media.addresses import AllowedHosts, is_public, parsed

NAT64 = IPv6Network("64:ff9b::/96")  # Python calls all of it reserved
ADDRESSES = st.ip_addresses(v=4) | st.ip_addresses(v=6)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "93.184.216.34", "2606:4700::1111", "2a00:1450:4001::200e"])
def test_hosts_of_the_internet_are_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",  # noqa: S104 - to be refused
        *("10.1.2.3", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254", "168.63.129.16"),
        *("169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.1.1"),
        *("198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.9", "224.0.0.251", "240.0.0.1", "255.255.255.255"),
        *("::", "::1", "::7f00:1", "::ffff:10.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::808:808", "100::1"),
        *("2001::1", "2001:20::1", "2001:db8::1", "2002:808:808::1", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254"),
        *("fe80::1", "fe80::1%eth0", "2606:4700::1111%eth0", "fec0::1", "ff02::1"),
    ],
)
def test_all_others_are_not(address: str) -> None:
    assert not is_public(ip_address(address))


@given(ADDRESSES)
def test_what_python_knows_to_be_special_is_never_public(address: IPv4Address | IPv6Address) -> None:
    special = (
        address.is_private
        or address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_reserved
        or address.is_unspecified
    )
    assert not (special and is_public(address)) or address in NAT64


@given(st.ip_addresses(v=4))
def test_a_translated_address_is_public_where_it_is_itself(address: IPv4Address) -> None:
    assert is_public(IPv6Address(f"64:ff9b::{address}")) == is_public(address)


@given(st.ip_addresses(v=4))
def test_tunnels_and_disguises_are_never_public(address: IPv4Address) -> None:
    number = int(address)
    assert not is_public(IPv6Address((0x2002 << 112) | (number << 80) | 1))  # 6to4
    assert not is_public(IPv6Address((0x2001 << 112) | (number ^ 0xFFFF_FFFF)))  # Teredo
    assert not is_public(IPv6Address(number))  # IPv4-compatible
    assert not is_public(IPv6Address((0xFFFF << 32) | number))  # IPv4-mapped


FORMS = (
    str,
    hex,
    lambda n: f"0{n:o}",
    lambda n: f"{n >> 24}.{n & 0xFFFFFF}",
    lambda n: f"{n >> 24}.{n >> 16 & 255}.{n & 0xFFFF}",
    lambda n: ".".join(hex(n >> shift & 255) for shift in (24, 16, 8, 0)),
    lambda n: ".".join(f"0{n >> shift & 255:o}" for shift in (24, 16, 8, 0)),
    lambda n: f"{IPv4Address(n)}.",
)


@given(st.integers(0, 2**32 - 1), st.sampled_from(FORMS))
def test_an_address_has_one_form(number: int, form: object) -> None:
    with pytest.raises(ValueError, match="usual form"):
        parsed(form(number))


@given(st.text(alphabet="0123456789abcdefxABCX.:-_%[]\0 ", max_size=24))
def test_a_name_is_never_what_the_system_or_the_http_library_takes_for_an_address(host: str) -> None:
    try:
        found = parsed(host)
    except ValueError:
        return
    if isinstance(found, str):
        assert not is_ip_address(host)
        with pytest.raises(OSError, match="illegal IP address"):
            socket.inet_aton(host)


@pytest.mark.parametrize("host", ["example.com", "a-b.example.com", "_x.example.com", "xn--bcher-kva.example", "s3"])
def test_names_are_names(host: str) -> None:
    assert parsed(host) == parsed(f"{host.upper()}.") == host


@pytest.mark.parametrize("host", ["", ".", "a..b", "-a.com", "a.com-", "a b", "a%2eb.com", "bücher.example", "a" * 64])
def test_and_others_are_not(host: str) -> None:
    with pytest.raises(ValueError, match="usual form"):
        parsed(host)


def test_an_operator_allows_hosts_and_networks() -> None:
    allowed = AllowedHosts.parse(["Store.internal", "10.1.0.0/16", "fd00::1", "127.0.0.1"])
    assert allowed.admit("store.internal", ip_address("192.168.0.1"))
    assert allowed.admit("any.test", ip_address("10.1.255.255"))
    assert allowed.admit("any.test", ip_address("fd00::1"))
    assert allowed.admit("any.test", ip_address("8.8.8.8"))
    assert not allowed.admit("any.test", ip_address("10.2.0.1"))
    assert not allowed.admit("evil.store.internal", ip_address("192.168.0.1"))
    assert not allowed.admit("any.test", ip_address("::ffff:127.0.0.1"))


@pytest.mark.parametrize("entry", ["10.1.2.3/8", "https://store", "*", "0x7f.1", ""])
def test_what_is_neither_host_nor_network_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match="no host name, address or network"):
        AllowedHosts.parse([entry])
