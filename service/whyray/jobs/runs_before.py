"""A job that runs again: equal results are the same objects, other ones replace those of the run before.

Results of one job can differ from run to run: by the answer (another version of WhyRay or of a library, another number
of threads, another machine), or by what is made of an equal one (kinds, language, audience and templates of the route
have changed). An archive must not be left with two sets of results for one revision, neither of which says that it is
the valid one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from whyray.catalog import ResultRow
from whyray.results import Answer, EarlierResult, Result

Groups = Sequence[tuple[Sequence[Answer], Sequence[Result]]]
"""Answers, and the results that were made of them together."""


@dataclass(frozen=True)
class RunsBefore:
    """What a job left when it ran before, the oldest first.

    `in_force` are those that count; `replaced` those that gave way to them, at `replacements` times.
    """

    in_force: tuple[EarlierResult, ...] = ()
    replaced: tuple[EarlierResult, ...] = ()
    replacements: int = 0

    @classmethod
    def of(cls, rows: Sequence[ResultRow]) -> RunsBefore:
        """From a job's rows in the catalog."""
        return cls(
            tuple(earlier_result(row) for row in rows if not row.superseded),
            tuple(earlier_result(row) for row in rows if row.superseded),
            _replacements(rows),
        )


def version_in_force(rows: Sequence[ResultRow]) -> tuple[int, int] | None:
    """Of all results of earlier revisions, the last revision that has any and its last run; None without any.

    A revision may have none: it was cancelled, or failed.
    """
    revision = max((row.job.revision for row in rows), default=None)
    if revision is None:
        return None
    return revision, 1 + _replacements([row for row in rows if row.job.revision == revision])


def _replacements(rows: Sequence[ResultRow]) -> int:
    """How many runs of their job replaced some of these. A newer revision supersedes rows, and is no run."""
    return len({row.replaced_at for row in rows if row.replaced_at is not None})


def earlier_result(row: ResultRow) -> EarlierResult:
    """A result as those that replace it refer to it."""
    return EarlierResult(row.sop_class_uid, row.sop_instance_uid, row.series_instance_uid)


def results_of_run(
    answers: Sequence[Answer],
    previous: Sequence[EarlierResult],
    before: RunsBefore,
    make: Callable[[Sequence[Answer], Sequence[EarlierResult]], Groups],
) -> tuple[Groups, tuple[str, ...]]:
    """The results, and the SOP Instance UIDs of those of a run before that they replace.

    What is in force afterwards is what was made now, whatever else was in force. An archive may leave alone what comes
    under a UID that it has, so nothing that was replaced is ever made again: all that was replaced before is named as
    predecessor, and UIDs follow from that. A run whose results equal those of the run before makes the same objects.
    Whoever sees both sets in an archive can tell them apart: what replaces others says which run made it.

    Parameters
    ----------
    previous
        Results of earlier revisions, which these replace in any case.
    make
        Makes results of answers which replace others.
    """
    in_force = [result.sop_instance_uid for result in before.in_force]
    replaces = [*previous, *before.replaced]
    made = make(_replacing(answers, replaces, 1 + before.replacements), replaces)
    if _uids(made).issuperset(in_force):
        return made, ()
    replaces += before.in_force
    made = make(_replacing(answers, replaces, 2 + before.replacements), replaces)
    now = _uids(made)
    return made, tuple(uid for uid in in_force if uid not in now)


def _replacing(answers: Sequence[Answer], earlier: Sequence[EarlierResult], run: int) -> list[Answer]:
    uids = tuple(result.sop_instance_uid for result in earlier)
    return [replace(answer, supersedes=uids, run=run) for answer in answers]


def _uids(made: Groups) -> set[str]:
    return {str(result.dataset.SOPInstanceUID) for _, results in made for result in results}
