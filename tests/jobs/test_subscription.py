"""A channel of the broker is listened to with a socket alone, or by Redis's own library, which do the same."""

from __future__ import annotations

import fcntl
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from jobs.broker_urls import WAYS, url_of
from peers import RedisServer
from whyray.jobs.queue import broker
from whyray.jobs.subscription import SocketSubscription, plain, subscribed


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


@pytest.fixture(params=WAYS)
def server_and_url(
    request: pytest.FixtureRequest, redis_server: Callable[[], RedisServer], tmp_path: Path
) -> tuple[RedisServer, str]:
    """A broker, and a URL of it for each way to listen."""
    server = redis_server()
    return server, url_of(server, request.param, tmp_path)


def test_a_message_is_told_and_so_is_silence(server_and_url: tuple[RedisServer, str]) -> None:
    _, url = server_and_url
    with subscribed(url, "channel", patience=5) as subscription, broker(url) as client:
        assert not subscription.wait(within=0.01)  # the broker answered that it is there
        assert client.publish("channel", b"") == 1
        assert subscription.wait(within=5)
        assert not subscription.wait(within=0.01)


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
            assert subscription.wait(within=0), "what came with the confirmation is not lost"
        broker.join(30)
    assert b"AUTH" not in sent[0]


def test_a_descriptor_above_those_that_select_takes_is_listened_to() -> None:
    here, peer = socket.socketpair()
    high = fcntl.fcntl(here, fcntl.F_DUPFD_CLOEXEC, 1024)
    here.close()
    with socket.socket(fileno=high) as connection, peer:
        peer.sendall(b"said")
        assert SocketSubscription(connection, 5).wait(within=5)


def test_a_broker_that_goes_is_an_error_even_if_it_is_back_at_once(server_and_url: tuple[RedisServer, str]) -> None:
    server, url = server_and_url
    with subscribed(url, "channel", patience=5) as subscription:
        server.kill()
        server.start()
        with pytest.raises(OSError):
            subscription.wait(within=5)
    server.kill()
    with pytest.raises(OSError), subscribed(url, "channel", patience=5):
        pass


def test_a_broker_that_holds_the_connection_and_answers_nothing_is_an_error(
    server_and_url: tuple[RedisServer, str],
) -> None:
    server, url = server_and_url
    with subscribed(url, "channel", patience=0.2) as subscription:
        with redis.from_url(server.url) as client:
            client.client_pause(600_000)
        with pytest.raises(OSError):
            subscription.wait(within=0.01)
    with pytest.raises(OSError), subscribed(url, "channel", patience=0.2):
        pass


@pytest.mark.parametrize("options", ["", "?client_name=delivery"], ids=["socket", "library"])
def test_passwords_are_told_and_a_wrong_one_is_refused(options: str, redis_server: Callable[[], RedisServer]) -> None:
    server = redis_server()
    with redis.from_url(server.url) as client:
        client.acl_setuser("al/ice", enabled=True, passwords=["+s/cret"], commands=["+@all"], channels=["*"])
        client.config_set("requirepass", "p@ss")
    address = server.url.removeprefix("redis://") + options
    for right in ("redis://:p%40ss@", "redis://al%2Fice:s%2Fcret@"):
        with subscribed(right + address, "channel", patience=5) as subscription:
            assert not subscription.wait(within=0.01)
    for wrong in ("redis://", "redis://:other@"):
        with pytest.raises(ConnectionRefusedError), subscribed(wrong + address, "channel", patience=5):
            pass
