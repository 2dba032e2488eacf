"""Listening to one channel of the broker: with a socket alone where that can do it, else by Redis's own library.

Both ways stand under the same tests. The library holds 13 MB more of an idle role, which may have 90 MiB: with it,
delivery would hold more. What a socket alone can't do, TLS and whatever a URL's options ask for, would be that library
written again.

Redis's protocol (RESP 2, redis.io/docs/latest/develop/reference/protocol-spec): commands are arrays of bulk strings; a
connection that has subscribed gets arrays, too. Nothing of them is read but that they come.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit

from whyray.jobs.queue import broker

if TYPE_CHECKING:
    from redis.client import PubSub

_PORT = 6379
_PONG = b"*2\r\n$4\r\npong\r\n$0\r\n\r\n"
_CONFIRMED = b"\r\n:1\r\n"
"""The end of what confirms a first subscription: the number of channels. What is said there may follow at once."""


class Subscription(Protocol):
    """A connection that has subscribed."""

    def wait(self, within: float) -> bool:
        """Whether something is said on the channel before so many seconds of silence, after which the broker was asked
        whether it is still there.

        Raises
        ------
        OSError
            If it is not.
        """


class SocketSubscription:
    """By a socket alone; `patience` as of `subscribed`. `came_with_confirmation`: a message came together with it."""

    def __init__(self, connection: socket.socket, patience: float, *, came_with_confirmation: bool = False) -> None:
        self._connection, self._patience, self._came_with_confirmation = connection, patience, came_with_confirmation

    def wait(self, within: float) -> bool:
        """As `Subscription`."""
        if self._came_with_confirmation:
            self._came_with_confirmation = False
            return True
        silent = not self._readable(within)
        if silent:
            self._connection.sendall(_command("PING"))
            if not self._readable(self._patience):
                raise TimeoutError("the broker does not answer")
        said = self._connection.recv(1 << 16)
        if not said:
            raise ConnectionError("the broker has closed the connection")
        return not silent or said != _PONG

    def _readable(self, within: float) -> bool:
        waiting = select.poll()  # `select` takes no descriptor above 1023
        waiting.register(self._connection, select.POLLIN)
        return bool(waiting.poll(within * 1000))


class LibrarySubscription:
    """By Redis's own library; `patience` as of `subscribed`."""

    def __init__(self, channel: PubSub, patience: float) -> None:
        self._channel, self._patience = channel, patience

    def wait(self, within: float) -> bool:
        """As `Subscription`."""
        with _as_os_error():
            said = self._channel.get_message(timeout=within)
            if said is None:
                self._channel.ping()
                said = self._channel.get_message(timeout=self._patience)
            if said is None:
                raise TimeoutError("the broker does not answer")
            return bool(said["type"] != "pong")


def plain(url: str) -> bool:
    """Whether a broker's URL says nothing that takes more than a socket: TLS, or options of Redis's library."""
    parts = urlsplit(url)
    return parts.scheme in ("redis", "redis+socket") and not parts.query


@contextmanager
def subscribed(url: str, channel: str, *, patience: float) -> Iterator[Subscription]:
    """Subscribe to a channel, waiting `patience` seconds for each answer.

    Raises
    ------
    OSError
        If the broker can't be reached, or refuses.
    """
    by = _subscribed_by_socket if plain(url) else _subscribed_by_library
    with by(url, channel, patience) as subscription:
        yield subscription


@contextmanager
def _subscribed_by_socket(url: str, channel: str, patience: float) -> Iterator[SocketSubscription]:
    with _connected(url, patience) as connection:
        parts = urlsplit(url)
        if parts.password:
            who = [unquote(parts.username)] if parts.username else []
            connection.sendall(_command("AUTH", *who, unquote(parts.password)))
        connection.sendall(_command("SUBSCRIBE", channel))
        answer = b""
        while _CONFIRMED not in answer:
            part = connection.recv(1 << 16)
            if not part:
                raise ConnectionError("the broker has closed the connection")
            answer += part
            if answer.startswith(b"-") or b"\r\n-" in answer:
                raise ConnectionRefusedError("the broker refuses to be listened to")
        yield SocketSubscription(connection, patience, came_with_confirmation=not answer.endswith(_CONFIRMED))


@contextmanager
def _subscribed_by_library(url: str, channel: str, patience: float) -> Iterator[LibrarySubscription]:
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    # not again by itself: who listens has to know that there was a time in which nothing could be heard
    never = Retry(NoBackoff(), 0)
    with _as_os_error(), broker(url, answers_within=patience, retry=never) as client, client.pubsub() as subscription:
        subscription.subscribe(channel)
        if subscription.get_message(timeout=patience) is None:  # what confirms it
            raise TimeoutError("the broker does not answer")
        yield LibrarySubscription(subscription, patience)


@contextmanager
def _as_os_error() -> Iterator[None]:
    import redis

    try:
        yield
    except redis.AuthenticationError as error:
        raise ConnectionRefusedError("the broker refuses to be listened to") from error
    except redis.RedisError as error:
        raise ConnectionError(type(error).__name__) from error


def _connected(url: str, patience: float) -> socket.socket:
    parts = urlsplit(url)
    if parts.scheme == "redis":
        connection = socket.create_connection((parts.hostname or "localhost", parts.port or _PORT), patience)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return connection
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(patience)
    try:
        connection.connect(unquote(parts.path))
    except OSError:
        connection.close()
        raise
    return connection


def _command(*words: str) -> bytes:
    parts = [f"*{len(words)}\r\n".encode()]
    for word in words:
        content = word.encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(content), content))
    return b"".join(parts)
