"""Things that will be asked for one after another, made by who asks for them and by a thread beside, each once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


class MadeAhead(AbstractContextManager["MadeAhead[T]"], Generic[T]):
    """Inside, a thread makes what was not asked for yet, in its order; outside it is gone.

    Who asks for what the thread has not begun makes it himself, and who would have to wait for the thread makes another
    meanwhile: both work until nothing is left.

    Parameters
    ----------
    makers
        What makes each thing, by its key, in the order in which they will be asked for.
    afterwards
        Done by the thread once all things are begun. It must be done again by who needs it, and where it fails, it
        fails there.
    most
        Things that may wait to be asked for: what they hold is held as long.
    """

    def __init__(
        self,
        makers: Mapping[Hashable, Callable[[], T]],
        afterwards: Sequence[Callable[[], object]] = (),
        *,
        most: int = 4,
    ) -> None:
        self._waiting = dict(makers)
        self._afterwards, self._most = afterwards, most
        self._making: set[Hashable] = set()
        self._made: dict[Hashable, tuple[T] | BaseException] = {}
        """What was made, or what making it raised."""
        self._changed = threading.Condition()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="made-ahead", daemon=True)

    def __enter__(self) -> MadeAhead[T]:
        if self._waiting or self._afterwards:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait for what is under way, and begin no other."""
        with self._changed:
            self._over.set()
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join()

    def take(self, key: Hashable, make: Callable[[], T]) -> T:
        """The thing of this key, which is not kept any longer; by `make` where it was not to be made ahead.

        Raises what making it raised, in whatever thread that was.
        """
        while True:
            with self._changed:
                if key in self._made:
                    outcome = self._made.pop(key)
                    self._changed.notify_all()
                    break
                if key not in self._making:
                    self._waiting.pop(key, None)
                    self._changed.notify_all()
                    return make()
                other = self._begun()
                if other is None:
                    self._changed.wait()
                    continue
            self._make(*other)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome[0]

    def _run(self) -> None:
        while True:
            with self._changed:
                while (begun := self._begun()) is None and self._waiting and not self._over.is_set():
                    self._changed.wait()
                if self._over.is_set():
                    return
            if begun is None:
                break
            self._make(*begun)
        for do in self._afterwards:
            if self._over.is_set():
                return
            with suppress(Exception):  # told where it is needed
                do()

    def _begun(self) -> tuple[Hashable, Callable[[], T]] | None:
        """The next that nobody has begun, which is under way now; None where as many wait as may, or none is left."""
        if self._over.is_set() or not self._waiting or len(self._made) + len(self._making) >= self._most:
            return None
        key = next(iter(self._waiting))
        self._making.add(key)
        return key, self._waiting.pop(key)

    def _make(self, key: Hashable, make: Callable[[], T]) -> None:
        outcome: tuple[T] | BaseException = RuntimeError("not made")
        try:
            outcome = (make(),)
        except Exception as error:  # raised to who asks for it, whatever it is
            outcome = error
        finally:
            with self._changed:
                self._making.discard(key)
                self._made[key] = outcome
                self._changed.notify_all()
