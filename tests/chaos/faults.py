"""The faults: each strikes once, holds for a moment of chance, and is over when its function returns."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

import psutil
import redis
from sqlalchemy import select

from chaos import database_faults
from chaos.disks import limit_files
from chaos.fault_kinds import FAULTS, Chance, Fault, Scene, Strike, Unavailable, fault
from chaos.hospital import ROLES
from chaos.senders import send_whole
from chaos.studies import POISON, of_bad_model
from peers import until
from whyray.catalog import Delivery, DeliveryState


def _somebody(scene: Scene, role: str, chance: Chance) -> int:
    pids = scene.hospital.serve.of_role(role)
    if not pids:
        raise Unavailable(f"no {role} runs at this moment")
    return chance.choice(pids)


__all__ = ["FAULTS", "Fault", "Scene", "Unavailable", "database_faults", "of_kinds"]


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
