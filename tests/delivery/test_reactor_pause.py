"""While a message is sent and answered, pynetdicom's reactor does not run, however soon one follows another."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from peers import until
from whyray.delivery.reactor_pause import ReactorCheckpoint


@dataclass
class Link:
    """As much of an association as has a reactor."""

    turns: int = 0
    _kill: bool = False
    checkpoint: Any = None
    thread: threading.Thread = field(default_factory=threading.Thread)

    def begin(self) -> None:
        self.checkpoint = ReactorCheckpoint(self)
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        while not self._kill:
            self.checkpoint.wait()
            self.turns += 1

    def is_alive(self) -> bool:
        return self.thread.is_alive()


def test_the_reactor_runs_between_messages_only() -> None:
    link = Link()
    link.begin()
    for _ in range(2000):
        link.checkpoint.clear()
        before = link.turns
        sum(range(200))  # a message and its answer
        assert link.turns == before
        link.checkpoint.set()
    before = link.turns
    until(lambda: link.turns > before, what="the reactor's next turn")
    link._kill = True
    link.checkpoint.set()
    link.thread.join(10)
    assert not link.is_alive()
    link.checkpoint.clear()  # nobody is waited for
