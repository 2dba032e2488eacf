"""The delivery role told of new results as soon as they are entered, over the broker.

A notice says nothing but that there is something; one that is lost costs half a second, for delivery looks by itself.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from whyray.jobs.queue import BROKER_PATIENCE, broker
from whyray.jobs.subscription import subscribed

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
    while not stop.is_set():
        try:
            with subscribed(redis_url, CHANNEL, patience=BROKER_PATIENCE) as subscription:
                heard()
                while not stop.is_set():
                    if subscription.wait(within=_QUIET):
                        heard()
        except OSError as error:
            _log.debug("notices of results are not heard: %s", type(error).__name__)
            stop.wait(_PAUSE)
