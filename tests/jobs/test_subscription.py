"""A channel of the broker is listened to with a socket alone, as Redis's own library would."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from peers import RedisServer
from whyray.jobs.queue import broker
from whyray.jobs.subscription import plain, subscribed


@pytest.mark.parametrize(
    ("url", "is_plain"),
    [
        ("redis://broker:6379/0", True),
        ("redis+socket:///run/redis.sock", True),
        ("rediss://broker:6379/0", False),
        ("redis://broker:6379/0?protocol=3", False),
        ("sentinel://broker:26379", False),
    ],
)
def test_only_what_a_socket_can_do_is_left_to_one(url: str, is_plain: bool) -> None:
    assert plain(url) is is_plain


@pytest.mark.parametrize("by", ["url", "socket_url"])
def test_a_message_is_told_and_so_is_silence(by: str, redis_server: Callable[[], RedisServer]) -> None:
    url = getattr(redis_server(), by)
    with subscribed(url, "channel", patience=5) as subscription, broker(url) as client:
        assert not subscription.told(within=0.01)  # the broker answered that it is there
        assert client.publish("channel", b"") == 1
        assert subscription.told(within=5)
        assert not subscription.told(within=0.01)


def test_a_broker_that_goes_is_an_error(redis_server: Callable[[], RedisServer]) -> None:
    server = redis_server()
    with subscribed(server.url, "channel", patience=5) as subscription:
        server.kill()
        with pytest.raises(OSError):
            subscription.told(within=5)
    with pytest.raises(OSError), subscribed(server.url, "channel", patience=5):
        pass


def test_passwords_are_told_and_a_wrong_one_is_refused(redis_server: Callable[[], RedisServer]) -> None:
    server = redis_server()
    with redis.from_url(server.url) as client:
        client.acl_setuser("al/ice", enabled=True, passwords=["+s/cret"], commands=["+@all"], channels=["*"])
        client.config_set("requirepass", "p@ss")
    address = server.url.removeprefix("redis://")
    for right in ("redis://:p%40ss@", "redis://al%2Fice:s%2Fcret@"):
        with subscribed(right + address, "channel", patience=5) as subscription:
            assert not subscription.told(within=0.01)
    for wrong in ("redis://", "redis://:other@"):
        with pytest.raises(ConnectionRefusedError), subscribed(wrong + address, "channel", patience=5):
            pass
