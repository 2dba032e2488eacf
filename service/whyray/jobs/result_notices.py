"""The delivery role told of new results as soon as they are entered, over the broker.

A notice says nothing but that there is something; one that is lost costs half a second, for delivery looks by itself.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from whyray.jobs.queue import BROKER_PATIENCE, broker
from whyray.jobs.subscription import plain, subscribed

_log = logging.getLogger("whyray.queue")
CHANNEL = "whyray.results"
_PAUSE = 5.0
"""Seconds before a broker that is away is called again."""
_QUIET = 30.0
"""Seconds of silence after which the broker is asked whether it is still there."""


def tell_of_results(redis_url: str) -> None:
    """Wake whoever delivers; without a broker that answers nobody is told."""
    import redis

    try:
        with broker(redis_url, answers_within=BROKER_PATIENCE) as client:
            client.publish(CHANNEL, b"")
    except redis.RedisError as error:
        _log.debug("nobody was told of new results: %s", type(error).__name__)


def listen_for_results(redis_url: str, heard: Callable[[], None], stop: threading.Event) -> None:
    """Call `heard` at each notice until told to stop, which may take half a minute: for a daemon thread.

    `heard` is called too when the broker is back, for what nobody could hear of.
    """
    listen = _listen_by_socket if plain(redis_url) else _listen_by_library
    while not stop.is_set():
        try:
            listen(redis_url, heard, stop)
        except OSError as error:
            _log.debug("notices of results are not heard: %s", type(error).__name__)
            stop.wait(_PAUSE)


def _listen_by_socket(redis_url: str, heard: Callable[[], None], stop: threading.Event) -> None:
    with subscribed(redis_url, CHANNEL, patience=BROKER_PATIENCE) as subscription:
        heard()
        while not stop.is_set():
            if subscription.told(within=_QUIET):
                heard()


def _listen_by_library(redis_url: str, heard: Callable[[], None], stop: threading.Event) -> None:
    import redis

    try:
        with (
            broker(redis_url, health_check_interval=_QUIET) as client,
            client.pubsub(ignore_subscribe_messages=True) as channel,
        ):
            channel.subscribe(CHANNEL)
            heard()
            while not stop.is_set():
                if channel.get_message(timeout=_QUIET) is not None:
                    heard()
    except redis.RedisError as error:
        raise ConnectionError(type(error).__name__) from error
