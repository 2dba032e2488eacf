"""A channel of the broker is listened to with a socket alone, as Redis's own library would."""

from __future__ import annotations

import fcntl
import socket
import threading
from collections.abc import Callable

import pytest
import redis

from peers import RedisServer
from whyray.jobs.queue import broker
from whyray.jobs.subscription import Subscription, plain, subscribed


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


def test_a_message_that_comes_with_the_confirmation_is_told_and_an_empty_password_is_none() -> None:
    sent: list[bytes] = []

    def answer(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            sent.append(connection.recv(1 << 16))
            connection.sendall(
                b"*3\r\n$9\r\nsubscribe\r\n$7\r\nchannel\r\n:1\r\n*3\r\n$7\r\nmessage\r\n$7\r\nchannel\r\n$0\r\n\r\n"
            )
            connection.recv(1)

    with socket.create_server(("127.0.0.1", 0)) as server:
        broker = threading.Thread(target=answer, args=[server])
        broker.start()
        url = f"redis://:@127.0.0.1:{server.getsockname()[1]}"
        with subscribed(url, "channel", patience=5) as subscription:
            assert subscription.told(within=0), "what came with the confirmation is not lost"
        broker.join(30)
    assert b"AUTH" not in sent[0]


def test_a_descriptor_above_those_that_select_takes_is_listened_to() -> None:
    here, peer = socket.socketpair()
    high = fcntl.fcntl(here, fcntl.F_DUPFD_CLOEXEC, 1024)
    here.close()
    with socket.socket(fileno=high) as connection, peer:
        peer.sendall(b"said")
        assert Subscription(connection, 5).told(within=5)


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
