from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import InvalidInput
from app.webhooks.networks import AddressPolicy

REFUSED = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "192.175.48.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::1",
    "2620:4f:8000::1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
    "not an address",
    "",
]
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.1",
    "168.63.129.15",
    "168.63.129.17",
    "172.15.255.255",
    "172.32.0.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.254",
    "2606:4700:4700::1111",
    "2a00:1450:4001::200e",
    "2001:4860:4860::8888",
    "2003::1",
]


@pytest.mark.parametrize("address", REFUSED)
def test_refused(address: str) -> None:
    assert AddressPolicy().why_refused(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public(address: str) -> None:
    assert AddressPolicy().why_refused(address) is None


def test_allowed_networks_are_let_through_and_nothing_else() -> None:
    policy = AddressPolicy(["127.0.0.0/8", "fd00::/8", "10.1.2.3"])
    assert policy.why_refused("127.9.9.9") is None
    assert policy.why_refused("fd12::1") is None
    assert policy.why_refused("10.1.2.3") is None
    assert policy.why_refused("10.1.2.4") == "private"
    assert policy.why_refused("::1") == "loopback"
    assert policy.why_refused("::ffff:127.0.0.1") == "IPv4-mapped"
    assert policy.why_refused("169.254.169.254") == "link-local"


@pytest.mark.parametrize("text", ["", "localhost", "127.0.0.1/33", "10.0.0.1/8", "*"])
def test_bad_networks(text: str) -> None:
    with pytest.raises(InvalidInput, match="CIDR"):
        AddressPolicy([text])


@given(st.ip_addresses())
def test_never_laxer_than_the_standard_library(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if AddressPolicy().why_refused(str(ip)) is None:
        inward = (ip.is_private, ip.is_multicast, ip.is_loopback, ip.is_link_local, ip.is_reserved)
        assert ip.is_global
        assert not any(inward)
