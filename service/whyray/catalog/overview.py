"""The state of an installation, counted in the catalog."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import select

from whyray.catalog import deliveries, jobs, processes, studies, workitems
from whyray.catalog.database import Catalog
from whyray.catalog.states import DeliveryState, JobState
from whyray.catalog.tables import Delivery, Job, Process

_MOST_FAILURES = 20


@dataclass(frozen=True)
class RoleState:
    """One role and how long it has been silent, in seconds."""

    role: str
    name: str
    silent_for: float
    alive: bool
    reason: str | None = None
    """Why it could not start, or ended, or can't work though it runs; None where nobody knows of anything."""
    advice: str | None = None
    config_refused: str | None = None
    """What is wrong with the configuration file, while an older one is in force."""


@dataclass(frozen=True)
class Failure:
    """One job or delivery in the dead letter, and what to do."""

    what: str
    id: str
    error: str
    advice: str


@dataclass(frozen=True)
class Overview:
    """Roles, tallies (what, state, number), and the newest failures."""

    roles: tuple[RoleState, ...]
    tallies: tuple[tuple[str, str, int], ...]
    failures: tuple[Failure, ...]

    @property
    def healthy(self) -> bool:
        """Whether roles run and none is lost."""
        return bool(self.roles) and all(role.alive for role in self.roles)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"healthy": self.healthy, **asdict(self)}


def overview(catalog: Catalog) -> Overview:
    """Read it."""
    now = catalog.clock()
    with catalog.read() as session:
        roles = [
            _role_state(process, max(0.0, (now - process.seen_at).total_seconds()), processes.is_alive(process, now))
            for process in processes.all_processes(session)
        ]
        tallies = [("studies", "unsettled", len(studies.unsettled(session)))]
        tallies += [("jobs", state.value, number) for state, number in jobs.tally(session).items()]
        for worklist, standing in workitems.tally(session).items():
            name = f"workitems of {worklist}" if worklist else "workitems"
            tallies += [(name, state.value.lower(), number) for state, number in standing.items()]
        for destination, states in deliveries.tally(session).items():
            tallies += [(f"deliveries to {destination}", state.value, number) for state, number in states.items()]
        failed_jobs = session.scalars(
            select(Job).where(Job.state == JobState.FAILED).order_by(Job.finished_at.desc()).limit(_MOST_FAILURES)
        )
        failures = [_failure("job", job) for job in failed_jobs]
        failed_deliveries = session.scalars(
            select(Delivery).where(Delivery.state == DeliveryState.FAILED).limit(_MOST_FAILURES)
        )
        failures += [_failure(f"delivery to {delivery.destination}", delivery) for delivery in failed_deliveries]
    return Overview(tuple(roles), tuple(tallies), tuple(failures))


def _role_state(row: Process, silent_for: float, alive: bool) -> RoleState:
    error = processes.why_ended(row) or (processes.hindrance(row) if alive else None)
    refused = row.detail.get("config_refused")
    reason = None if error is None else f"{error['code']}: {error['message']}"
    advice = None if error is None else error["advice"]
    return RoleState(row.role, row.name, silent_for, alive, reason, advice, None if refused is None else str(refused))


def _failure(what: str, row: Job | Delivery) -> Failure:
    return Failure(what, row.id, f"{row.error_code}: {row.error_message}", row.error_advice or "")
