"""Contents that came under known UIDs: compared with those in use, told of, and taken into use where that is safe.

Without asking (`listener.corrected: use`, the default) only where all of this is so; else an administrator decides:

* they name another patient or order, and the pixel data are the same: results under a wrong patient are worse than a
  job too many, and another image under a known UID is a fault that somebody has to look at;
* all instances in use of the study came again, and name one patient and order: a study never names two;
* each came from the sender whose content is in use, which did not come once more since: a modality and a PACS that
  name patients in different ways, and both send here, don't take turns;
* nothing was decided about the study before: a sender that goes to and fro between two headers moves it once.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from whyray.app.content_difference import difference_between, identification_of
from whyray.base.errors import TransitionError, WhyRayError
from whyray.base.failures import logged
from whyray.catalog import Catalog, Conflict, PixelComparison, conflicts, contents, events
from whyray.config import Config

_log = logging.getLogger("whyray.contents")
_MOST_AT_ONCE = 100
_MOST_BYTES = 256 << 20
"""Read in one step, so that routing goes on."""
_WHY = ", for all of the study came again from its sender, with the same pixel data"
_PIXELS = {
    PixelComparison.SAME: "the pixel data are the same",
    PixelComparison.OTHER: "the pixel data are others",
    PixelComparison.NOT_COMPARED: "the pixel data are encoded otherwise, and were not compared",
    PixelComparison.UNREADABLE: "one of the two can't be read",
}


@dataclass
class ContentComparer:
    """Looks at what waits; every step may be done twice, by several of these, without harm. `open_file` takes a key."""

    catalog: Catalog
    config: Callable[[], Config]
    open_file: Callable[[str], BinaryIO]
    _left_alone: dict[int, conflicts.Waiting] = field(default_factory=dict)
    """Studies whose contents are not taken into use without asking: what waited there when they were looked at."""

    def step(self) -> int:
        """Compare what can be read now, and take into use what is safe; says how many contents were compared."""
        number = self._compare()
        if self.config().listener.corrected == "use":
            with self.catalog.read() as session:
                waiting = conflicts.waiting(session)
            self._left_alone = {study: known for study, known in self._left_alone.items() if study in waiting}
            for study_id, now_waiting in waiting.items():
                if now_waiting.compared == now_waiting.instances and self._left_alone.get(study_id) != now_waiting:
                    self._look_at(study_id, now_waiting)
        return number

    def _look_at(self, study_id: int, waiting: conflicts.Waiting) -> None:
        """Use it or leave it alone, until something else waits; a storage that is away is asked again."""
        try:
            self._use(study_id)
        except TransitionError:
            return  # something came meanwhile
        except Exception as error:  # whatever it was, the other studies go on
            if isinstance(error, SQLAlchemyError):
                raise
            if isinstance(error, WhyRayError) and error.retriable:
                return
            logged(_log, error, "looking at contents that came again")
        self._left_alone[study_id] = waiting

    def _compare(self) -> int:
        with self.catalog.read() as session:
            pairs = conflicts.to_compare(session, _MOST_AT_ONCE)
        compared: list[tuple[conflicts.Pair, conflicts.Difference]] = []
        size = 0
        for pair in pairs:
            size += pair.size
            if compared and size > _MOST_BYTES:
                break
            difference = self._difference(pair)
            if difference is not None:
                compared.append((pair, difference))
        if compared:
            with self.catalog.begin() as session:
                now = self.catalog.clock()
                entered = [
                    comparison
                    for comparison in compared
                    if conflicts.compared(session, comparison[0].instance_id, comparison[1], now)
                ]
                self._tell(session, entered)
        return len(compared)

    def _difference(self, pair: conflicts.Pair) -> conflicts.Difference | None:
        """None where it is to be tried again."""
        try:
            with self.open_file(pair.key) as newest, self.open_file(pair.key_in_use) as in_use:
                return difference_between(newest, in_use)
        except Exception as error:  # told by what is entered
            if isinstance(error, WhyRayError) and error.retriable:
                return None
            logged(_log, error, "comparing contents of an instance")
            return conflicts.Difference(pixels=PixelComparison.UNREADABLE)

    def _tell(self, session: Session, compared: Sequence[tuple[conflicts.Pair, conflicts.Difference]]) -> None:
        """One event for all of a study that differ alike."""
        alike = Counter((pair.study_instance_uid, difference) for pair, difference in compared)
        for (uid, difference), number in alike.items():
            words = conflicts.instances_in_words(number) + " came again " + _words(difference)
            kind: events.EventKind = "content.identification" if difference.identification else "content.differs"
            severity: events.Severity = "error" if difference.identification else "warning"
            events.record(session, self.catalog.clock(), severity, kind, words, study=uid)

    def _use(self, study_id: int) -> None:
        """Take into use what waits in a study, where that is beyond doubt."""
        with self.catalog.read() as session:
            waiting = conflicts.undecided(session, study_id)
            if not waiting or any(conflict.compared_at is None for conflict, _ in waiting):
                return
            safe = (
                all(_is_safe(conflict, pair) for conflict, pair in waiting)
                and conflicts.in_use_alone(session, study_id) == 0
                and not conflicts.is_decided(session, study_id)
            )
        if not safe or not self._name_one(waiting):
            return
        uid, looked_at = waiting[0][1].study_instance_uid, conflicts.version(conflict for conflict, _ in waiting)
        with self.catalog.begin() as session:
            contents.use_newest(session, uid, self.catalog.clock(), actor="whyray", shown=looked_at, why=_WHY)

    def _name_one(self, waiting: Sequence[tuple[Conflict, conflicts.Pair]]) -> bool:
        """Whether all newest contents name one patient and one order, and can be read."""
        named = set()
        for _, pair in waiting:
            with self.open_file(pair.key) as file:
                named.add(identification_of(file))
        return len(named) == 1 and None not in next(iter(named))


def _is_safe(conflict: Conflict, pair: conflicts.Pair) -> bool:
    last_of_one_sender = pair.is_newest and pair.calling_ae == pair.calling_ae_in_use
    return bool(conflict.identification) and conflict.pixels is PixelComparison.SAME and last_of_one_sender


def _words(difference: conflicts.Difference) -> str:
    if difference.identification:
        words = f"with another identification of patient or order ({', '.join(difference.identification)})"
    elif difference.pixels is PixelComparison.SAME and not difference.others:
        return "that differ in their encoding alone"
    else:
        words = "with other content"
    words += f": {_PIXELS[difference.pixels]}"
    return words + (f"; {', '.join(difference.others)} differ too" if difference.others else "")
