"""What the PACS says there should be of a study, asked beside the schedule: a PACS that is silent holds nobody up."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from whyray.base.failures import logged
from whyray.config import Config, Route

_log = logging.getLogger("whyray.routing")

AskExpected = Callable[[Config, Route, str, Sequence[str]], int | None]
"""Config, route, Study and Series Instance UIDs → what the PACS says there should be; None if it does not say."""
Submit = Callable[[Callable[[], int | None]], "Future[int | None]"]
"""Has something done by another thread."""


def by_threads(count: int) -> Submit:
    """At most so many questions at a time."""
    return ThreadPoolExecutor(count, thread_name_prefix="whyray-expected").submit


@dataclass
class ExpectedCounts:
    """Asks once for each study, route and what had come of it, and keeps the answer."""

    ask: AskExpected
    submit: Submit
    _asked: dict[tuple[str, str, int], Future[int | None]] = field(default_factory=dict)
    _told: set[tuple[str, str, int]] = field(default_factory=set)

    def of(
        self, config: Config, route: Route, study_uid: str, series_uids: Sequence[str], received_sequence: int
    ) -> tuple[bool, int | None]:
        """Whether the answer is there, and what it is: None where the PACS gives none, or can't be asked."""
        if route.complete.expect is None:
            return True, None
        key = (study_uid, route.name, received_sequence)
        if key not in self._asked:
            self._asked[key] = self.submit(lambda: self.ask(config, route, study_uid, series_uids))
        answer = self._asked[key]
        if not answer.done():
            return False, None
        error = answer.exception()
        if error is not None:
            # a PACS that can't be asked must not hold up its own study: quiet time and the ceiling decide
            if isinstance(error, Exception) and key not in self._told:
                self._told.add(key)
                logged(_log, error, f"asking how much there is of the study {study_uid}")
            return True, None
        return True, answer.result()

    def forget(self) -> None:
        """Nothing waits any more."""
        self._asked.clear()
        self._told.clear()
