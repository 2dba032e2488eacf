"""What is stuck as the page shows it: the catalog's list and drift, with where to look and what may help."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from urllib.parse import urlencode

from whyray.admin.drift_watch import Watched, drifting
from whyray.admin.schemas import Action
from whyray.admin.service_schemas import AttentionOut, BulkIn, Remedy
from whyray.base.errors import uncorrectable_codes
from whyray.catalog import DeliveryState, JobState
from whyray.catalog.attention_item import Attention, Work

_VIEWS = {
    "config.refused": "events?kind=config",
    "studies.open": "studies?state=receiving",
    "content.identification": "events?kind=content.identification",
    "content.used": "events?kind=content.used",
    "instance.conflict": "events?kind=instance.conflict",
    "instance.rejected": "events?kind=instance.rejected",
    "rejection.refused": "events?kind=rejection.refused",
    "job.no-statement": "events?kind=job.no-statement",
    "intake.rejected": "events?kind=intake.rejected",
    "token.ending": "accounts",
    "token.ended": "accounts",
    "jobs.no-worker": "jobs?state=queued",
    "deliveries.no-role": "deliveries?state=queued",
    "announcements.failed": "events?kind=announcement.failed",
    "announcements.waiting": "destinations",
}
_ACTIONS: dict[str, tuple[Action, ...]] = {
    "destination.unknown": ("cancel",),
    "deliveries.waiting": ("retry", "cancel"),
    "commitment.late": (),
}
"""What is offered for all of the work together; to retry it, where not said otherwise."""


def shown_attention(
    noticed: Iterable[Attention], now: datetime, *, watched: Sequence[Watched] = ()
) -> list[AttentionOut]:
    """All that needs somebody, errors first; `watched` is how all series of numbers stand."""
    shown = [*(_shown(item) for item in noticed), *_drift(drifting(watched, now))]
    return sorted(shown, key=lambda item: item.severity)


def _shown(item: Attention) -> AttentionOut:
    return AttentionOut(
        severity=item.severity,
        kind=item.kind,
        title=item.title,
        message=item.message,
        advice=item.advice,
        count=item.count,
        since=item.since,
        view=_where(item),
        remedies=[] if item.work is None else _remedies(item.work, item.count, _ACTIONS.get(item.kind, ("retry",))),
    )


def _where(item: Attention) -> str:
    if item.study is not None:
        return f"studies/{item.study}"
    return _VIEWS.get(item.kind) or ("overview" if item.work is None else _view(item.work))


def _view(work: Work) -> str:
    state = {"state": work.states[0].value} if len(work.states) == 1 else {}
    error = {} if work.error_code is None else {"error": work.error_code}
    return f"{work.of}?" + urlencode({**state, _place(work): work.place, **error})


def _place(work: Work) -> str:
    return "route" if work.of == "jobs" else "destination"


def _remedies(work: Work, count: int, actions: Sequence[Action]) -> list[Remedy]:
    """A bulk action for each state; none that would fail again in the same way."""
    return [
        Remedy(label=_label(action, state, count), body=_body(work, action, state))
        for action in actions
        for state in work.states
        if action != "retry" or state.value != JobState.FAILED.value or work.error_code not in uncorrectable_codes()
    ]


def _label(action: Action, state: JobState | DeliveryState, count: int) -> str:
    return f"Retry all {count:,}" if action == "retry" else f"Cancel all {state.value}"


def _body(work: Work, action: Action, state: JobState | DeliveryState) -> BulkIn:
    return BulkIn(
        of=work.of,
        action=action,
        state=state,
        # those that wait are cancelled whatever they wait for
        error_code=work.error_code if action == "retry" else None,
        route=work.place if work.of == "jobs" else None,
        destination=None if work.of == "jobs" else work.place,
    )


_MOST_NAMED = 3


def _drift(watched: Sequence[Watched]) -> list[AttentionOut]:
    """One for each package version and measure, however many targets it has."""
    groups: dict[tuple[str, str], list[Watched]] = {}
    for series in watched:
        groups.setdefault((series.key.package, series.key.measure), []).append(series)
    made = []
    for (package, measure), group in groups.items():
        worst = sorted(group, key=lambda series: -series.shift.psi if series.shift else 0.0)
        words = [_drifted(series) for series in worst[:_MOST_NAMED]]
        more = len(group) - len(words)
        made.append(
            AttentionOut(
                severity="warning",
                kind=f"drift.{measure}",
                title=f"{package}: {measure} has drifted" + (f" in {len(group)} series" if len(group) > 1 else ""),
                message="; ".join(words) + (f"; and {more} more" if more > 0 else ""),
                advice="Look whether senders, protocols or patients have changed. If they have, onboard the package on "
                "images of today before its answers are relied on; if not, look at its results and their grades.",
                count=len(group),
                since=None,
                view=f"drift/{worst[0].id}" if len(group) == 1 else "drift?" + urlencode({"package": package}),
                remedies=[],
            )
        )
    return made


def _drifted(series: Watched) -> str:
    name = " by ".join(part for part in (series.key.target, series.key.method) if part) or series.key.measure
    latest = 0.0 if series.latest_mean is None else series.latest_mean
    psi = series.shift.psi if series.shift else 0.0
    return f"{name}: mean {series.first_mean:.3g} at first, {latest:.3g} now (PSI {psi:.2f})"
