"""Who may connect: the bound on all, the half for one address, and who is exempt."""

from __future__ import annotations

import pytest

from jobqueue.http.hub import Hub
from jobqueue.http.limits import Counters, Limits
from tests.unit.http_kit import echo


@pytest.fixture
def hub() -> Hub:
    """A server for ten connections."""
    return Hub(echo, Limits(max_connections=10), Counters(), lambda: "r")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", None])
def test_loopback_and_unix_sockets_may_hold_all(hub: Hub, host: str | None) -> None:
    """Behind them is a proxy, or the machine's owner."""
    assert [hub.admit(host) for _ in range(11)] == [True] * 10 + [False]
    assert (hub.counters.open_connections, hub.counters.accepted, hub.counters.excess) == (10, 10, 1)


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "fe80::1%eth0"])
def test_one_address_may_hold_half(hub: Hub, host: str) -> None:
    """The other half stays for others."""
    assert [hub.admit(host) for _ in range(6)] == [True] * 5 + [False]
    assert hub.admit("192.0.2.2")


def test_a_place_given_back_is_free_again(hub: Hub) -> None:
    """For the same address and in all."""
    for _ in range(3):
        assert [hub.admit("192.0.2.1") for _ in range(6)].count(True) == 5
        for _ in range(5):
            hub.dismiss("192.0.2.1")

    assert hub.counters.open_connections == 0
