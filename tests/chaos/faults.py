"""The faults: each strikes once, holds for a moment of chance, and is over when its function returns."""

from __future__ import annotations

import os
import random
import resource
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

import psutil
import redis
from sqlalchemy import create_engine, select, text

from chaos.disks import limit_files
from chaos.hospital import ROLES, Hospital
from chaos.senders import Ledger, send_whole
from chaos.studies import POISON, of_bad_model
from peers import until
from whyray.catalog import Delivery, DeliveryState

Chance = random.Random


class Unavailable(Exception):  # noqa: N818 - named for what it says
    """This fault can't be made here; says why."""


@dataclass(frozen=True)
class Scene:
    """What a fault works on."""

    hospital: Hospital
    ledger: Ledger
    names: Iterator[str]
    """A fresh name for each study that a fault sends."""
    patience: float
    """The longest that an ordinary fault holds, in seconds."""

    def hold(self, chance: Chance, most: float | None = None) -> float:
        """Let the fault last: the random moment is the test, not a wait for something."""
        seconds = chance.uniform(0.1, 1.0) * (most or self.patience)
        time.sleep(seconds)
        return seconds


@dataclass(frozen=True)
class Fault:
    """A kind of fault. `weight`: how often it is drawn among the others."""

    name: str
    what: str
    strike: Callable[[Scene, Chance], str]
    weight: float = 1.0


FAULTS: dict[str, Fault] = {}
Strike = Callable[[Scene, Chance], str]


def fault(name: str, what: str, *, weight: float = 1.0) -> Callable[[Strike], Strike]:
    """Register a kind."""

    def register(strike: Strike) -> Strike:
        FAULTS[name] = Fault(name, what, strike, weight)
        return strike

    return register


def _somebody(scene: Scene, role: str, chance: Chance) -> int:
    pids = scene.hospital.serve.of_role(role)
    if not pids:
        raise Unavailable(f"no {role} runs at this moment")
    return chance.choice(pids)


# --- processes ---------------------------------------------------------------------------------------------------
def _kill(role: str) -> Strike:
    def strike(scene: Scene, chance: Chance) -> str:
        pid = _somebody(scene, role, chance)
        os.kill(pid, signal.SIGKILL)
        return f"process {pid}"

    return strike


def _pause(role: str) -> Strike:
    def strike(scene: Scene, chance: Chance) -> str:
        pid = _somebody(scene, role, chance)
        os.kill(pid, signal.SIGSTOP)
        try:
            return f"{scene.hold(chance):.1f} s"
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    return strike


for _role in (*ROLES, "redis"):
    fault(f"kill {_role}", f"kill −9 of {_role}", weight=2.0)(_kill(_role))
    fault(f"stop {_role}", f"SIGSTOP of {_role}, then SIGCONT")(_pause(_role))


@fault("kill job", "kill −9 of the process in which a worker runs its jobs", weight=2.0)
def _kill_job(scene: Scene, chance: Chance) -> str:
    worker = _somebody(scene, "worker", chance)
    try:
        processes = psutil.Process(worker).children()
    except psutil.Error as gone:
        raise Unavailable("the worker ended meanwhile") from gone
    if not processes:
        raise Unavailable("no process for jobs runs at this moment")
    pid = chance.choice(processes).pid
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return f"process {pid}"


@fault("kill all", "kill −9 of `serve` itself; it is started again, as systemd does")
def _kill_all(scene: Scene, chance: Chance) -> str:
    serve = scene.hospital.serve
    os.kill(serve.pid, signal.SIGKILL)
    until(lambda: serve.ended, what="the end of serve", deadline=20)
    scene.hold(chance, 1.0)
    serve.launch()
    return ""


@fault("stop worker long", "SIGSTOP of a worker for longer than its lease", weight=0.1)
def _outlive_lease(scene: Scene, chance: Chance) -> str:
    pid = _somebody(scene, "worker", chance)
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(35)
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    return "35 s"


@fault("segfault", "SIGSEGV in a worker")
def _segfault(scene: Scene, chance: Chance) -> str:
    os.kill(_somebody(scene, "worker", chance), signal.SIGSEGV)
    return ""


@fault("no memory", "a role may map no more memory (RLIMIT_AS)")
def _no_memory(scene: Scene, chance: Chance) -> str:
    role = chance.choice(ROLES)
    pid = _somebody(scene, role, chance)
    try:
        hard = resource.prlimit(pid, resource.RLIMIT_AS)[1]
        resource.prlimit(pid, resource.RLIMIT_AS, (psutil.Process(pid).memory_info().vms + (4 << 20), hard))
    except (ProcessLookupError, psutil.Error) as gone:
        raise Unavailable(f"{role} ended meanwhile") from gone
    try:
        return f"{role}, {scene.hold(chance):.1f} s"
    finally:
        with suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_AS, (hard, hard))


# --- queue and catalog -------------------------------------------------------------------------------------------
@fault("flushall", "FLUSHALL of Redis")
def _flushall(scene: Scene, chance: Chance) -> str:
    try:
        with redis.Redis(unix_socket_path=str(scene.hospital.redis_socket), socket_timeout=5) as client:
            client.flushall()
    except redis.RedisError as error:
        raise Unavailable("Redis does not answer at this moment") from error
    return ""


@fault("sqlite lock", "BEGIN EXCLUSIVE held on the SQLite catalog")
def _lock(scene: Scene, chance: Chance) -> str:
    if scene.hospital.postgres is not None:
        raise Unavailable("the catalog is in PostgreSQL")
    connection = sqlite3.connect(
        scene.hospital.serve.folder / "state" / "catalog.sqlite", timeout=30, isolation_level=None
    )
    try:
        connection.execute("BEGIN EXCLUSIVE")
        return f"{scene.hold(chance, 3 * scene.patience):.1f} s"
    except sqlite3.OperationalError as error:
        raise Unavailable("the lock was not to be had") from error
    finally:
        connection.close()


@fault("postgres terminate", "pg_terminate_backend of all connections", weight=4.0)
def _terminate(scene: Scene, chance: Chance) -> str:
    postgres = scene.hospital.postgres
    if postgres is None:
        raise Unavailable("the catalog is in SQLite")
    engine = create_engine(postgres.url("postgres"), isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            return f"{len(connection.execute(text(query)).all())} backends"
    finally:
        engine.dispose()


@fault("postgres restart", "PostgreSQL stopped at once (immediate), and started again", weight=1.0)
def _restart(scene: Scene, chance: Chance) -> str:
    postgres = scene.hospital.postgres
    if postgres is None:
        raise Unavailable("the catalog is in SQLite")
    with suppress(AssertionError):
        postgres.stop()
    held = scene.hold(chance)
    scene.hospital.mend_postgres()
    return f"{held:.1f} s"


# --- disks -------------------------------------------------------------------------------------------------------
def _full(disk: str) -> Strike:
    def strike(scene: Scene, chance: Chance) -> str:
        hospital = scene.hospital
        if not hospital.disks:
            pids = list(hospital.serve.children())
            limit_files(pids, chance.choice((0, 1000, 100_000)))
            try:
                return f"RLIMIT_FSIZE, {scene.hold(chance):.1f} s"
            finally:
                limit_files(pids, None)
        name = "postgres" if disk == "state" and hospital.postgres is not None else disk
        hospital.disks[name].fill(leave=chance.choice((0, 5_000, 20_000, 100_000)))
        try:
            return f"tmpfs, {scene.hold(chance):.1f} s"
        finally:
            hospital.disks[name].free()
            if hospital.postgres is not None:
                hospital.mend_postgres()

    return strike


fault("disk full storage", "no byte left for instances and results", weight=1.5)(_full("storage"))
fault("disk full catalog", "no byte left for the catalog", weight=1.5)(_full("state"))
fault("disk full log", "no byte left for the log", weight=0.5)(_full("log"))


# --- clock -------------------------------------------------------------------------------------------------------
@fault("clock forward", "the clock jumps ahead by seconds to hours")
def _forward(scene: Scene, chance: Chance) -> str:
    return _jump(scene, chance.choice((7, 45, 300, 4000, 20000)))


@fault("clock back", "the clock is set back by seconds to minutes", weight=0.5)
def _back(scene: Scene, chance: Chance) -> str:
    return _jump(scene, -chance.choice((3, 20, 120)))


def _jump(scene: Scene, seconds: float) -> str:
    clock = scene.hospital.clock
    if clock is None:
        raise Unavailable("faketime is not installed")
    clock.jump(timedelta(seconds=seconds))
    return f"{seconds:+.0f} s"


# --- models and studies ------------------------------------------------------------------------------------------
def _bad_model(kind: str) -> Strike:
    def strike(scene: Scene, chance: Chance) -> str:
        study = of_bad_model(kind, next(scene.names))
        send_whole("pynetdicom", scene.hospital.door, scene.ledger, study, end=None)
        return ""

    return strike


fault("model hung", "a study for a model that does not come back", weight=0.4)(_bad_model("hung"))
fault("model greedy", "a study for a model that asks for 64 TiB", weight=0.4)(_bad_model("greedy"))


def _poison(name: str) -> Strike:
    def strike(scene: Scene, chance: Chance) -> str:
        study = POISON[name](next(scene.names))
        sent = send_whole("pynetdicom", scene.hospital.door, scene.ledger, study, end=None, tries=30)
        return "accepted" if sent.acknowledged else f"refused: {dict(sent.statuses)}"

    return strike


for _name in POISON:
    fault(f"poison {_name}", f"a poison study: {_name}", weight=0.3)(_poison(_name))


# --- destinations ------------------------------------------------------------------------------------------------
def _mood(mood: str) -> Strike:
    def strike(scene: Scene, chance: Chance) -> str:
        archive = scene.hospital.archive
        archive.be(mood)
        try:
            return f"{scene.hold(chance):.1f} s"
        finally:
            archive.be("well")

    return strike


for _name, _what in {
    "rejects": "the archive rejects associations for now",
    "rejects-for-good": "the archive rejects associations for good",
    "aborts-after-storing": "the archive stores, then aborts instead of answering",
    "slow": "the archive answers after seconds",
    "A700": "the archive answers A700 (out of resources)",
    "B000": "the archive stores and answers B000 (a warning)",
    "C000": "the archive answers C000 (for good)",
    "0110": "the archive answers 0110 (processing failure)",
}.items():
    fault(f"archive {_name}", _what, weight=0.6)(_mood(_name))


@contextmanager
def _down(scene: Scene) -> Iterator[None]:
    scene.hospital.archive.stop()
    try:
        yield
    finally:
        scene.hospital.archive.start()


@fault("archive down", "the archive's port is closed")
def _archive_down(scene: Scene, chance: Chance) -> str:
    with _down(scene):
        return f"{scene.hold(chance):.1f} s"


@fault("archive down for a day", "the archive's port is closed for 24 simulated hours", weight=0.05)
def _day(scene: Scene, chance: Chance) -> str:
    clock = scene.hospital.clock
    if clock is None:
        raise Unavailable("faketime is not installed")
    steps = 96
    with _down(scene):
        for _ in range(steps):
            before = _attempts(scene)
            clock.jump(timedelta(minutes=15))
            _until_tried_again(scene, before)
    return f"24 h in {steps} steps"


def _attempts(scene: Scene) -> int:
    try:
        with scene.hospital.serve.catalog.read() as session:
            query = select(Delivery.attempt).where(
                Delivery.destination == "archive", Delivery.state != DeliveryState.SENT
            )
            return sum(session.scalars(query))
    except Exception:  # the catalog is away: nothing to compare with
        return 0


def _until_tried_again(scene: Scene, before: int) -> None:
    """Until something was tried once more, where anything waits; a few seconds at most."""
    deadline = time.monotonic() + 4
    while time.monotonic() < deadline and _attempts(scene) <= before:
        time.sleep(0.2)


@fault("orthanc kill", "kill −9 of the second destination, an Orthanc, and start", weight=0.6)
def _kill_orthanc(scene: Scene, chance: Chance) -> str:
    orthanc = scene.hospital.orthanc
    if orthanc is None:
        raise Unavailable("Orthanc is not installed")
    orthanc.kill()
    held = scene.hold(chance)
    orthanc.start()
    return f"{held:.1f} s"


def of_kinds(wanted: list[str]) -> list[Fault]:
    """The faults whose names start with one of these; all where none is named.

    Raises
    ------
    SystemExit
        If there is none of that name.
    """
    if not wanted:
        return list(FAULTS.values())
    chosen = [fault for fault in FAULTS.values() if any(fault.name.startswith(start) for start in wanted)]
    strangers = [start for start in wanted if not any(name.startswith(start) for name in FAULTS)]
    if strangers:
        raise SystemExit(f"no fault is called {', '.join(strangers)}; there are: {', '.join(FAULTS)}")
    return chosen
