"""Whether a package still sees what it saw at first: the first numbers of each series against its latest.

PSI, the population stability index (Siddiqi 2006, chapter 8), over the deciles of the first numbers; by convention
nothing has changed below 0.1 and much above 0.25. With few numbers PSI is large by chance: it is then compared with the
quantile that chance reaches, chi-squared with bins - 1 degrees of freedom times (1/N + 1/M) (Yurdakul and Naranjo
2020). KS, the distance of Kolmogorov and Smirnov, is shown beside it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from sqlalchemy.orm import Session

from whyray.base.sources import is_due
from whyray.catalog import REFERENCE, SeriesKey, drift

if TYPE_CHECKING:
    from whyray.base.arrays import DoubleArray

Status = Literal["learning", "steady", "watch", "drift"]

RECENT = 200
"""The last so many are compared."""
LEAST = 50
"""With fewer recent numbers nothing is said."""
WATCH, ALERT = 0.1, 0.25
BINS = 10
STALE = timedelta(days=30)
"""A series without newer numbers than this belongs to a package version that is not used any more: no alert."""
_CHANCE_OF_WATCH, _CHANCE_OF_ALERT = 0.95, 0.999
_SMOOTHING = 0.5
_FEWEST_BORDERS = 3
_EVERY = timedelta(seconds=30)
_CATEGORIES = {"grade": (0.0, 1.0, 2.0)}


@dataclass(frozen=True)
class Shift:
    """How far two sets of numbers are apart. `alert_above`: what PSI has to pass here."""

    psi: float
    watch_above: float
    alert_above: float
    samples: tuple[DoubleArray, DoubleArray] | None = field(repr=False, compare=False)
    """Those that were compared; None of categories."""
    shares_first: tuple[float, ...]
    shares_latest: tuple[float, ...]
    edges: tuple[float, ...]
    """Borders between the bins; the values themselves for categories."""

    @property
    def ks(self) -> float | None:
        """The distance of Kolmogorov and Smirnov; None for categories."""
        return self._ks_test[0]

    @property
    def ks_p(self) -> float | None:
        """Its p-value."""
        return self._ks_test[1]

    @cached_property
    def _ks_test(self) -> tuple[float | None, float | None]:
        if self.samples is None:
            return None, None
        from scipy.stats import ks_2samp  # takes most of a second, and 40 MB: for who looks at drift alone

        test = ks_2samp(*self.samples, method="asymp")
        return float(test.statistic), float(test.pvalue)


@dataclass(frozen=True)
class Watched:
    """One series and how it stands. `shift` is None while it is learning."""

    id: int
    key: SeriesKey
    status: Status
    first_count: int
    latest_count: int
    first_mean: float
    latest_mean: float | None
    last_at: datetime | None
    shift: Shift | None


def shift_between(first: Sequence[float], latest: Sequence[float], categories: Sequence[float] | None = None) -> Shift:
    """PSI and KS between two samples; over `categories` where there are few possible values."""
    import numpy as np
    from scipy.special import gammaincinv

    one, other = np.asarray(first, float), np.asarray(latest, float)
    if categories is not None:
        edges = tuple(categories)
        counts = [np.array([(sample == value).sum() for value in edges], float) for sample in (one, other)]
    else:
        borders = np.unique(np.quantile(one, np.linspace(0, 1, BINS + 1)[1:-1]))
        edges = tuple(float(border) for border in borders)
        counts = [_binned(sample, borders) for sample in (one, other)]
    bins = len(counts[0])
    p, q = ((count + _SMOOTHING) / (count.sum() + _SMOOTHING * bins) for count in counts)
    spread = 1 / len(one) + 1 / len(other)
    return Shift(
        psi=float(((q - p) * np.log(q / p)).sum()),
        # quantiles of chi-squared
        watch_above=max(WATCH, 2 * float(gammaincinv((bins - 1) / 2, _CHANCE_OF_WATCH)) * spread),
        alert_above=max(ALERT, 2 * float(gammaincinv((bins - 1) / 2, _CHANCE_OF_ALERT)) * spread),
        samples=None if categories is not None else (one, other),
        shares_first=tuple(float(share) for share in counts[0] / len(one)),
        shares_latest=tuple(float(share) for share in counts[1] / len(other)),
        edges=edges,
    )


def _binned(values: DoubleArray, borders: DoubleArray) -> DoubleArray:
    """How many values lie in each bin.

    Where the first numbers are but a few values, so that few borders are left, what lies at a border is told from what
    lies above it: a constant that changes would not be seen otherwise.
    """
    import numpy as np

    above = np.searchsorted(borders, values, side="right")
    if len(borders) >= _FEWEST_BORDERS:
        return np.bincount(above, minlength=len(borders) + 1).astype(float)
    above = above + np.searchsorted(borders, values, side="left")
    return np.bincount(above, minlength=2 * len(borders) + 1).astype(float)


def _mean(values: Sequence[float]) -> float:
    import numpy as np

    return float(np.mean(values))


def watched(session: Session, series_id: int, key: SeriesKey) -> Watched:
    """How one series stands."""
    first = drift.first(session, series_id, REFERENCE)
    latest = drift.latest(session, series_id, RECENT, after=REFERENCE)
    learning = len(first) < REFERENCE or len(latest) < LEAST
    shift = None if learning else shift_between(first, latest, _CATEGORIES.get(key.measure))
    status: Status = "learning"
    if shift is not None:
        status = "drift" if shift.psi > shift.alert_above else "watch" if shift.psi > shift.watch_above else "steady"
    return Watched(
        id=series_id,
        key=key,
        status=status,
        first_count=len(first),
        latest_count=len(latest),
        first_mean=_mean(first) if first else 0.0,
        latest_mean=_mean(latest) if latest else None,
        last_at=drift.last_at(session, series_id),
        shift=shift,
    )


class DriftWatch:
    """All series as they stand; asked every two seconds by each open page, so computed anew only now and then."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._newest = -1
        self._at: datetime | None = None
        self._watched: tuple[Watched, ...] = ()

    def look(self, session: Session, now: datetime) -> tuple[Watched, ...]:
        """Every series; at most half a minute old."""
        with self._lock:
            if not is_due(self._at, _EVERY, now):
                return self._watched
            newest = drift.newest(session)
            if newest != self._newest:
                self._watched = tuple(
                    watched(session, number, key) for number, key in drift.all_series(session).items()
                )
            self._newest, self._at = newest, now
            return self._watched


def drifting(watched_series: Sequence[Watched], now: datetime) -> list[Watched]:
    """Those that have drifted and are still in use."""
    return [
        series
        for series in watched_series
        if series.status == "drift" and series.last_at and now - series.last_at < STALE
    ]
