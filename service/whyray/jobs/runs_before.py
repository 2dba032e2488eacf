"""A job that runs again: equal answers are the same objects, other ones replace those of the run before.

Answers of one job can differ from run to run: another version of WhyRay, of a package or of a library, another number
of threads, another machine. An archive must not be left with two sets of results for one revision, neither of which
says that it is the valid one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from whyray.catalog import ResultRow
from whyray.results import Answer, EarlierResult, Result

Groups = Sequence[tuple[Sequence[Answer], Sequence[Result]]]
"""Answers, and the results that were made of them together."""


@dataclass(frozen=True)
class RunsBefore:
    """What a job left when it ran before, the oldest first.

    `in_force` are those that count; `replaced` those that gave way to them.
    """

    in_force: tuple[EarlierResult, ...] = ()
    replaced: tuple[EarlierResult, ...] = ()

    @classmethod
    def of(cls, rows: Sequence[ResultRow]) -> RunsBefore:
        """From a job's rows in the catalog."""
        return cls(
            tuple(earlier_result(row) for row in rows if not row.superseded),
            tuple(earlier_result(row) for row in rows if row.superseded),
        )


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

    What was replaced before is named as predecessor again, so that a third run which answers as the second makes the
    second's objects; where none is made that there is, those in force are named too.

    Parameters
    ----------
    previous
        Results of earlier revisions, which these replace in any case.
    make
        Makes results of answers which replace others.
    """
    replaces = [*previous, *before.replaced]
    made = make(_replacing(answers, replaces), replaces)
    if not _differ(made, [result.sop_instance_uid for result in before.in_force]):
        return made, ()
    replaces += before.in_force
    return make(_replacing(answers, replaces), replaces), tuple(each.sop_instance_uid for each in before.in_force)


def _replacing(answers: Sequence[Answer], earlier: Sequence[EarlierResult]) -> list[Answer]:
    uids = tuple(result.sop_instance_uid for result in earlier)
    return [replace(answer, supersedes=uids) for answer in answers]


def _differ(made: Groups, in_force: Collection[str]) -> bool:
    """Whether something new was made and something that there is was not: fewer or more kinds are no other answer."""
    uids = {str(result.dataset.SOPInstanceUID) for _, results in made for result in results}
    return bool(uids.difference(in_force)) and bool(set(in_force) - uids)
