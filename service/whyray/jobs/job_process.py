"""The process in which decoders and models run, and how a worker watches, stops and replaces it.

Native code can crash, loop or eat memory, and then takes along whatever shares its process. So a worker claims jobs,
keeps their leases and the time, and leaves the work to a process of its own, which is kept between jobs with all that
it has loaded. When that one dies, one attempt at one job is lost, and the worker goes on with a new one.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection

from whyray.base.allocator import give_back
from whyray.base.child_process import end_with_parent, how_ended
from whyray.base.errors import (
    Cancelled,
    InternalError,
    NativeCrash,
    ProcessKilled,
    ResourceExhausted,
    WhyRayError,
)
from whyray.base.failures import logged, typed_error
from whyray.base.stages import stage
from whyray.jobs.device_turn import AT_THE_DEVICE, Device, DeviceTurn, HandedBack
from whyray.jobs.explanation_request import Progress
from whyray.jobs.job_messages import (
    At,
    DeviceAsked,
    DeviceGiven,
    DeviceLeft,
    Done,
    Failed,
    Order,
    Ready,
    Stop,
)
from whyray.jobs.memory_limit import kills_for_memory, resident_memory

GRACE = 5.0
"""Seconds that work has, once it is to stop, to come to the end of a batch; then its process is ended."""
LONGEST_START = 600.0
"""Seconds that the process has to load its libraries."""
_LOOK = 0.2
_FAULTS = {signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT, signal.SIGSYS}
_log = logging.getLogger("whyray.worker")


class JobProcess:
    """A process that does what jobs ask for.

    Parameters
    ----------
    command
        What to run; the number of its end of the connection is appended. It has to call `take_orders`.
    memory
        Bytes that it may hold; it is ended above them.
    """

    def __init__(self, command: Sequence[str], *, memory: int) -> None:
        self._command = list(command)
        self.memory = memory
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection[object, object] | None = None
        self._detail: dict[str, str] | None = None
        self._killed_before = 0
        self.was_ended_for_memory = False
        """Whether the kernel ended the last one, for want of memory on this machine."""

    @property
    def pid(self) -> int | None:
        """Its process id; None while there is none."""
        process = self._process  # another thread may end it between two looks
        return None if process is None else process.pid

    @property
    def is_ready(self) -> bool:
        """Whether it runs and takes orders."""
        process = self._process
        return self._detail is not None and process is not None and process.poll() is None

    def start(self) -> None:
        """Start it, if it does not run; `ready` waits for it.

        The thread that calls this, `ready` or `work` has to live as long as the process may: Linux ends a process with
        the thread that has started it (see `end_with_parent`).
        """
        if self._process is not None and self._process.poll() is None:
            return
        self.stop()
        own, its = Pipe()
        with its:
            self._process = subprocess.Popen(  # nosec B603  # WhyRay itself, and nothing that came from outside
                [*self._command, str(its.fileno())],
                pass_fds=[its.fileno()],
                # Ctrl-C and what ends a whole group are for the worker, which lets the job in hand come to its end
                start_new_session=True,
            )
        self._connection, self._detail, self._killed_before = own, None, kills_for_memory()
        self.was_ended_for_memory = False

    def ready(self, goes_on: Callable[[], object] = lambda: None) -> dict[str, str]:
        """Wait until it takes orders, having started it where it does not run; gives what it says of itself.

        `goes_on` is called meanwhile, several times a second; what it raises ends the wait, and not the process.

        Raises
        ------
        WhyRayError
            Why it can't work: of the class that it told, or by how it ended without a word.
        """
        self.start()
        deadline = time.monotonic() + LONGEST_START
        while (detail := self._detail) is None:
            goes_on()
            try:
                message = self._next(_LOOK)
            except _Ended:
                raise self._death("before it was ready") from None
            if isinstance(message, Failed):
                self.stop()
                raise message.error()
            if isinstance(message, Ready):
                self._detail = message.detail
            elif time.monotonic() > deadline:
                self._kill()
                raise ResourceExhausted(f"the process for jobs was not ready within {LONGEST_START:.0f} s")
        return detail

    def work(self, job_id: str, owner: str, progress: Progress, turn: DeviceTurn | None = None) -> None:
        """Have a claimed job worked on until it is done and entered; its passes when it is its turn at the device.

        Raises
        ------
        WhyRayError
            What went wrong with it; what `progress` raised; or why the process ended in it.
        HandedBack
            If `progress`, or the turn, said so.
        """
        turn = turn or DeviceTurn()
        try:
            self._work(job_id, owner, progress, turn)
        finally:
            turn.leave(job_id)

    def _work(self, job_id: str, owner: str, progress: Progress, turn: DeviceTurn) -> None:
        at, waits = At(0.0, "starting"), False
        self.ready(lambda: progress(at.done, at.words))
        try:
            self._send(Order(job_id, owner))
        except _Ended as error:
            raise self._death(f"in job {job_id}, at: {at.words}") from error
        while True:
            try:
                if waits and turn.take(job_id, _LOOK):
                    waits = False
                    self._send(DeviceGiven())
                message = self._next(0.0 if waits else _LOOK)
            except _Ended:
                raise self._death(f"in job {job_id}, at: {at.words}") from None
            except HandedBack as error:
                if self._wind_down(error):
                    return
                raise
            if isinstance(message, Done):
                return
            if isinstance(message, Failed):
                raise message.error()
            if isinstance(message, DeviceLeft):
                turn.leave(job_id)
            waits = waits or isinstance(message, DeviceAsked)
            at = message if isinstance(message, At) else at
            try:
                progress(at.done, AT_THE_DEVICE if waits else at.words)
                self._check_memory(job_id, at)
            except (WhyRayError, HandedBack) as error:
                if self._wind_down(error):
                    return
                raise

    def stop(self) -> None:
        """End it."""
        self._kill()

    def _send(self, message: object) -> None:
        connection = self._connection
        if connection is None:
            raise _Ended
        try:
            connection.send(message)
        except OSError as error:
            raise _Ended from error

    def _next(self, wait: float) -> object | None:
        """The next message, or None if there was none in time."""
        connection = self._connection
        if connection is None:
            raise _Ended
        try:
            return connection.recv() if connection.poll(wait) else None
        except (EOFError, OSError) as error:
            raise _Ended from error

    def _check_memory(self, job_id: str, at: At) -> None:
        pid = self.pid
        held = 0 if pid is None else resident_memory(pid)
        if held > self.memory:
            self._kill()
            raise ResourceExhausted(
                f"job {job_id}: its process held {held >> 20} MiB of memory, {self.memory >> 20} are allowed; it was "
                f"at: {at.words}",
                advice="Raise workers.memory, or give the machine more; ask for fewer frames or methods in the route.",
            )

    def _wind_down(self, error: WhyRayError | HandedBack) -> bool:
        """Let the work come to its end, or end its process; says whether it was done after all."""
        if self._process is None:
            return False
        if isinstance(error, HandedBack) and error.at_once:
            self._kill()
            return False
        deadline = time.monotonic() + GRACE
        try:
            self._send(Stop())
            while (left := deadline - time.monotonic()) > 0:
                message = self._next(left)
                if isinstance(message, (Done, Failed)):
                    return isinstance(message, Done)
        except _Ended:
            pass
        if isinstance(error, WhyRayError):
            _log.error("%s: the work did not come back; its process is ended", error.code)
            error.message += "; it did not come back from there, and its process was ended"
        self._kill()
        return False

    def _death(self, where: str) -> WhyRayError:
        """Why the process ended of itself."""
        process = self._process
        if process is None:
            return ProcessKilled(f"the worker has ended the process for jobs {where}")
        code = process.wait()
        killed_before = self._killed_before
        self._kill()
        words = f"the process for jobs {how_ended(code)} {where}"
        _log.error("%s", words)
        if code == -signal.SIGKILL and kills_for_memory() > killed_before:
            self.was_ended_for_memory = True
            return ResourceExhausted(f"{words}. The kernel ends processes where memory runs out, and did")
        if code < 0 and -code not in _FAULTS:
            return ProcessKilled(words)
        return NativeCrash(words)

    def _kill(self) -> None:
        process, connection = self._process, self._connection
        self._process = self._connection = self._detail = None
        if connection is not None:
            connection.close()
        if process is not None:
            with suppress(ProcessLookupError):  # its own children, too: a decoder may be what hangs
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


WorkOnOrder = Callable[[Order, Progress, Device], None]
"""Works on one claimed job: reads it, computes while it has the device, and enters it as done."""


class _Ended(Exception):  # noqa: N818 - what happened
    """The other side of the connection is gone."""


def take_orders(
    connection: Connection[object, object],
    open_up: Callable[[], tuple[dict[str, str], WorkOnOrder]],
) -> None:
    """Be the process: open up, then do what is ordered, until the worker is gone.

    `open_up` gives what status shows, and what works on one job. What it raises is told to the worker.
    """
    end_with_parent(signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(EOFError, ConnectionError):  # the worker is gone
        try:
            detail, work = open_up()
        except Exception as error:  # told to who started this process, whatever it is
            connection.send(Failed.of(typed_error(error)))
            return
        connection.send(Ready(detail))
        while True:
            order = connection.recv()
            if isinstance(order, Order):  # a stop may come after the end of what it was for
                connection.send(_answer(order, work, connection))
                give_back()  # what its results took: where nobody waits for it


def _answer(order: Order, work: WorkOnOrder, connection: Connection[object, object]) -> Done | Failed:
    def stop_if_asked(message: object) -> None:
        if isinstance(message, Stop):
            raise Cancelled(f"job {order.job_id} is to stop")

    def progress(done: float, words: str) -> None:
        connection.send(At(done, words))
        if connection.poll():
            stop_if_asked(connection.recv())

    @contextmanager
    def device() -> Iterator[None]:
        with stage("waiting for the device"):
            connection.send(DeviceAsked())
            stop_if_asked(connection.recv())
        try:
            yield
        finally:
            connection.send(DeviceLeft())

    try:
        work(order, progress, device)
    except Exception as error:  # the worker must go on, and the catalog must say why this job did not
        typed = typed_error(error, f"job {order.job_id}")
        if isinstance(typed, InternalError):
            logged(_log, error, f"job {order.job_id}")
        return Failed.of(typed)
    return Done()
