"""States of jobs and deliveries as one table: who moves what, from where to where.

docs/states-events-metrics.md shows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from whyray.base.errors import TransitionError


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"


JOBS_AT_WORK = (JobState.QUEUED, JobState.RUNNING, JobState.WAITING, JobState.CANCELLING)
"""States of jobs that go on to another state by themselves."""


class DeliveryState(StrEnum):
    """Where a delivery stands."""

    QUEUED = "queued"
    SENDING = "sending"
    WAITING = "waiting"
    SENT = "sent"
    COMMITTED = "committed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class WorkitemState(StrEnum):
    """Where a workitem stands: the states of a Unified Procedure Step, PS3.4 table CC.1.1-1."""

    SCHEDULED = "SCHEDULED"
    IN_PROGRESS = "IN PROGRESS"
    COMPLETED = "COMPLETED"
    CANCELED = "CANCELED"


class WorkitemStage(StrEnum):
    """What WhyRay is doing about a workitem that it performs."""

    CLAIMING = "claiming"
    FETCHING = "fetching"
    WORKING = "working"
    COMPLETING = "completing"
    CANCELLING = "cancelling"
    CLOSED = "closed"


class PixelComparison(StrEnum):
    """How the pixel data of two contents of an instance compare."""

    SAME = "same"
    """Equal, or neither has any."""
    OTHER = "other"
    NOT_COMPARED = "not compared"
    """One of them is compressed otherwise than the other, or deflated."""
    UNREADABLE = "unreadable"
    """One of the two can't be read."""


class ConflictDecision(StrEnum):
    """What was decided about a content that came under a known UID."""

    USED = "used"
    KEPT_APART = "kept apart"
    """By an administrator, or by the sender, who sent the content in use once more."""
    OVERTAKEN = "overtaken"
    """Yet another content came."""


State = TypeVar("State", JobState, DeliveryState, WorkitemState)


@dataclass(frozen=True)
class Transition(Generic[State]):
    """One permitted move: `actor` does it, with `effect`."""

    action: str
    source: State
    to: State
    actor: str
    effect: str


J, D, W = JobState, DeliveryState, WorkitemState

JOB_TRANSITIONS: tuple[Transition[JobState], ...] = (
    Transition("claim", J.QUEUED, J.RUNNING, "worker", "takes the lease; the attempt is counted"),
    Transition("claim", J.RUNNING, J.RUNNING, "worker", "takes over a job whose lease has run out"),
    Transition(
        "finish", J.RUNNING, J.DONE, "worker", "results and deliveries are in the catalog in the same transaction"
    ),
    Transition("defer", J.RUNNING, J.WAITING, "worker", "a retriable error; tried again after the back-off"),
    Transition(
        "hand-back",
        J.RUNNING,
        J.QUEUED,
        "worker",
        "it was read ahead, and its worker stops or takes what is more urgent",
    ),
    Transition("fail", J.RUNNING, J.FAILED, "worker", "a permanent error, or the last attempt: the dead letter"),
    Transition("due", J.WAITING, J.QUEUED, "schedule", "the back-off is over"),
    Transition("cancel", J.QUEUED, J.CANCELLED, "administrator", "never runs"),
    Transition("cancel", J.WAITING, J.CANCELLED, "administrator", "never runs again"),
    Transition("cancel", J.RUNNING, J.CANCELLING, "administrator", "the worker stops at its next batch"),
    Transition("stopped", J.CANCELLING, J.CANCELLED, "worker", "nothing was delivered"),
    Transition("retry", J.FAILED, J.QUEUED, "administrator", "attempts start from 0; where a retry can help"),
    Transition("retry", J.CANCELLED, J.QUEUED, "administrator", "attempts start from 0"),
    Transition("retry", J.WAITING, J.QUEUED, "administrator", "at once instead of after the back-off"),
    Transition(
        "repeat",
        J.DONE,
        J.QUEUED,
        "administrator",
        "runs again; equal results are the same objects once, others replace them",
    ),
    Transition(
        "supersede",
        J.QUEUED,
        J.SUPERSEDED,
        "routing",
        "late instances or a corrected content came; a job of the next revision replaces it",
    ),
    Transition("supersede", J.WAITING, J.SUPERSEDED, "routing", "as above"),
    Transition("supersede", J.RUNNING, J.SUPERSEDED, "routing", "as above; the worker stops at its next batch"),
    Transition("supersede", J.FAILED, J.SUPERSEDED, "routing", "as above"),
    Transition("supersede", J.CANCELLING, J.SUPERSEDED, "routing", "as above; the worker stops at its next batch"),
    Transition("supersede", J.CANCELLED, J.SUPERSEDED, "routing", "as above; it can't be retried beside that one"),
    Transition("supersede", J.DONE, J.SUPERSEDED, "routing", "as above; its results are marked superseded"),
)

DELIVERY_TRANSITIONS: tuple[Transition[DeliveryState], ...] = (
    Transition("claim", D.QUEUED, D.SENDING, "delivery", "takes the lease; the attempt is counted"),
    Transition("claim", D.SENDING, D.SENDING, "delivery", "takes over a delivery whose lease has run out"),
    Transition("sent", D.SENDING, D.SENT, "delivery", "the peer answered success or a warning, which is kept"),
    Transition("defer", D.SENDING, D.WAITING, "delivery", "a retriable error; tried again after the back-off"),
    Transition(
        "hand-back", D.SENDING, D.QUEUED, "delivery", "its turn did not come before the association or the role ended"
    ),
    Transition("fail", D.SENDING, D.FAILED, "delivery", "a permanent refusal, or the last attempt: the dead letter"),
    Transition("due", D.WAITING, D.QUEUED, "delivery", "the back-off is over"),
    Transition("commit", D.SENT, D.COMMITTED, "delivery", "the peer committed to storing it"),
    Transition("uncommitted", D.SENT, D.WAITING, "delivery", "the peer could not commit; sent again"),
    Transition("cancel", D.QUEUED, D.CANCELLED, "administrator", "never sent"),
    Transition("cancel", D.WAITING, D.CANCELLED, "administrator", "never sent again"),
    Transition(
        "replace",
        D.QUEUED,
        D.CANCELLED,
        "worker",
        "the job ran again and replaced its results: never sent",
    ),
    Transition("replace", D.WAITING, D.CANCELLED, "worker", "as above; never sent again"),
    Transition("replace", D.FAILED, D.CANCELLED, "worker", "as above"),
    Transition("withdraw", D.QUEUED, D.CANCELLED, "routing", "corrected images are in use: never sent"),
    Transition("withdraw", D.WAITING, D.CANCELLED, "routing", "as above; never sent again"),
    Transition("withdraw", D.FAILED, D.CANCELLED, "routing", "as above"),
    Transition("drop", D.QUEUED, D.CANCELLED, "delivery", "its result was replaced while it was being sent"),
    Transition("drop", D.SENDING, D.CANCELLED, "delivery", "as above, and its lease has run out"),
    Transition("retry", D.FAILED, D.QUEUED, "administrator", "attempts start from 0; where a retry can help"),
    Transition("retry", D.CANCELLED, D.QUEUED, "administrator", "attempts start from 0"),
    Transition("retry", D.WAITING, D.QUEUED, "administrator", "at once instead of after the back-off"),
    Transition("repeat", D.SENT, D.QUEUED, "administrator", "sent once more"),
    Transition("repeat", D.COMMITTED, D.QUEUED, "administrator", "sent once more"),
)

WORKITEM_TRANSITIONS: tuple[Transition[WorkitemState], ...] = (
    Transition(
        "claim", W.SCHEDULED, W.IN_PROGRESS, "performer", "its Transaction UID is the key to all that comes after"
    ),
    Transition("complete", W.IN_PROGRESS, W.COMPLETED, "performer", "the results are named and can be fetched"),
    Transition("cancel", W.IN_PROGRESS, W.CANCELED, "performer", "the reason is named; nothing is done any more"),
    Transition("withdraw", W.SCHEDULED, W.CANCELED, "requester", "nobody had claimed it"),
)

_JOB_NEXT = {(transition.action, transition.source): transition.to for transition in JOB_TRANSITIONS}
_DELIVERY_NEXT = {(transition.action, transition.source): transition.to for transition in DELIVERY_TRANSITIONS}
_WORKITEM_NEXT = {(transition.action, transition.source): transition.to for transition in WORKITEM_TRANSITIONS}


def job_after(action: str, state: JobState) -> JobState:
    """The state of a job that `action` leads to; raises TransitionError if the table has no such move."""
    return _after(_JOB_NEXT, "job", action, state)


def delivery_after(action: str, state: DeliveryState) -> DeliveryState:
    """The state of a delivery that `action` leads to; raises TransitionError if the table has no such move."""
    return _after(_DELIVERY_NEXT, "delivery", action, state)


def workitem_after(action: str, state: WorkitemState) -> WorkitemState:
    """The state of a workitem that `action` leads to; raises TransitionError if the table has no such move."""
    return _after(_WORKITEM_NEXT, "workitem", action, state)


def _after(moves: Mapping[tuple[str, State], State], what: str, action: str, state: State) -> State:
    next_state = moves.get((action, state))
    if next_state is None:
        raise TransitionError(f"a {what} that is {state.value} cannot {action}")
    return next_state


def job_sources(action: str) -> tuple[JobState, ...]:
    """All states of a job from which `action` is permitted."""
    return tuple(state for name, state in _JOB_NEXT if name == action)


def delivery_sources(action: str) -> tuple[DeliveryState, ...]:
    """All states of a delivery from which `action` is permitted."""
    return tuple(state for name, state in _DELIVERY_NEXT if name == action)
