"""The Celery app: three queues by priority, messages that carry a job id and nothing else.

A message is acknowledged when it is taken, not when the work is done. Celery's late acknowledgement would deliver a
job again once it outlasts the broker's visibility timeout; here the catalog's leases decide what is to be done again,
and a message that is lost, doubled or late changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from whyray.base.errors import PeerUnreachable

if TYPE_CHECKING:
    from celery import Celery
    from redis import Redis, RedisError

BROKER_PATIENCE = 2.0
"""Seconds: nothing waits longer for a broker that is silent."""
RUN_JOB = "whyray.run_job"
_PROBE = "whyray.probe"
"""Written to see whether anything can be; gone after a minute."""
QUEUES = {0: "whyray.stat", 1: "whyray.urgent", 2: "whyray.routine"}


def celery_app(redis_url: str) -> Celery:
    """The Celery app on a broker.

    Parameters
    ----------
    redis_url
        `redis://host:port/db` or `redis+socket:///path/to/socket`.
    """
    # 15 MB that a role which has sent nothing yet, and the command line, can do without; so below
    from celery import Celery
    from kombu import Queue

    app = Celery("whyray", broker=redis_url)
    app.conf.update(
        task_ignore_result=True,
        task_acks_late=False,
        worker_prefetch_multiplier=1,
        # BRPOP takes from the first queue that has a message: stat before urgent before routine
        broker_transport_options={
            "queue_order_strategy": "priority",
            "socket_keepalive": True,
            # longer than BRPOP waits, short enough that routing goes on beside a broker that hangs
            "socket_timeout": BROKER_PATIENCE,
            "socket_connect_timeout": BROKER_PATIENCE,
        },
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,  # for ever: meanwhile jobs are taken from the catalog
        # a broker that answers, and refuses (out of memory, a replica), ended the worker
        broker_channel_error_retry=True,
        task_queues=[Queue(name) for name in QUEUES.values()],
        task_default_queue=QUEUES[2],
        task_serializer="json",
        accept_content=["json"],
        worker_hijack_root_logger=False,
        # what Celery 6 does by itself; messages are acknowledged when they are taken, so that it cancels none of ours
        worker_cancel_long_running_tasks_on_connection_loss=True,
        worker_send_task_events=False,
    )
    return app


def send(app: Celery, job_id: str, priority: int) -> None:
    """Tell some worker to look at this job.

    Raises
    ------
    kombu.exceptions.OperationalError
        If the broker can't be reached; the job stays in the catalog and is sent again by the schedule.
    """
    app.send_task(RUN_JOB, args=[job_id], queue=QUEUES[priority], retry=False)


def queue_hindrance(redis_url: str) -> PeerUnreachable | None:
    """Why the broker can't be used now; None if it answers, and takes what is written."""
    import redis

    try:
        with broker(redis_url, answers_within=BROKER_PATIENCE) as client:
            # a server that takes no messages answers a PING all the same: a replica, or one without memory
            client.set(_PROBE, b"", ex=60)
    except redis.RedisError as error:
        what, advice = _refusal(error)
        return PeerUnreachable(f"the queue {what}", advice=f"{advice}; meanwhile workers take jobs from the catalog.")
    return None


def _refusal(error: RedisError) -> tuple[str, str]:
    """What the broker does instead of its work, and what to do about it."""
    from redis import exceptions as of_redis

    name = type(error).__name__
    if isinstance(error, of_redis.BusyLoadingError):
        return f"reads its data from disk ({name})", "Wait until Redis has started"
    if isinstance(error, (of_redis.AuthenticationError, of_redis.NoPermissionError)):
        return f"refuses WhyRay's name or password ({name})", "Correct them in `queue.url`, and restart WhyRay"
    if isinstance(error, of_redis.OutOfMemoryError):
        return (
            f"is out of memory ({name})",
            "Raise Redis's `maxmemory`, or find what else is kept there: a message of WhyRay takes less than 2 KB",
        )
    if isinstance(error, of_redis.ReadOnlyError):
        return f"is a read-only replica ({name})", "Name the primary in `queue.url`, or make this one the primary"
    if isinstance(error, of_redis.ResponseError):
        # its first word is Redis's own for what is wrong, as MISCONF where it can't write to its disk
        return (
            f"takes no messages ({' '.join(str(error).split()[:1])[:40] or name})",
            "Look at Redis's log for why, and at its disk",
        )
    return f"does not answer ({name})", "Check that Redis runs, and `queue.url`"


def broker(redis_url: str, *, answers_within: float | None = None, **options: Any) -> Redis:
    """A client of the broker, by Redis's own library, that waits no longer than `BROKER_PATIENCE` to be connected.

    Parameters
    ----------
    redis_url
        As `celery_app` takes it.
    answers_within
        Seconds for each answer; for ever where left out.
    """
    import redis

    address = redis_url.replace("redis+socket://", "unix://", 1)  # as that library writes it
    client: Redis = redis.from_url(
        address, socket_timeout=answers_within, socket_connect_timeout=BROKER_PATIENCE, **options
    )
    return client


def backlog(redis_url: str) -> int:
    """How many messages wait in the three queues.

    Raises
    ------
    redis.exceptions.RedisError
        If the broker can't be reached.
    """
    with broker(redis_url, answers_within=BROKER_PATIENCE) as client:
        return sum(int(client.llen(name)) for name in QUEUES.values())
