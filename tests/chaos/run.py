"""One run: a stream of studies, faults drawn by seed, then wellness, the drain, and the count."""

from __future__ import annotations

import itertools
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import pytest
from sqlalchemy import select
from sqlalchemy.orm import joinedload

from chaos.faults import Fault, Scene, Unavailable
from chaos.hospital import Database, Hospital
from chaos.senders import Ledger, Modality, send_whole
from chaos.studies import OutgoingStudy, computed_tomography, films, multi_frame
from chaos.tally import Tally, count, settled
from chaos.watch import Watch
from whyray.catalog import Delivery, DeliveryState

Say = Callable[[str], None]
_BREATH = 8
"""After so many faults something has to come through before the next: what only ever starts proves nothing."""


@dataclass(frozen=True)
class Plan:
    """What a run is to do. Times are seconds."""

    seed: int
    faults: Sequence[Fault]
    number: int
    minutes: float = 60.0
    database: Database = "sqlite"
    big: bool = False
    senders: tuple[str, ...] = ("pynetdicom", "storescu", "STOW-RS")
    most_waiting: int = 12
    """No more studies than this are on their way at a time: a queue without end proves nothing."""
    gap: float = 1.5
    patience: float = 6.0
    drain: float = 1200.0
    each_once: bool = False
    """Every kind once, in the order given, instead of drawing."""
    with_orthanc: bool = True
    with_clock: bool = True
    slices: int = 3000
    matrix: int = 512
    cine_bytes: int = 500 << 20


@dataclass
class Struck:
    """A fault that was made; times are seconds since the start of the run."""

    name: str
    detail: str
    began: float
    ended: float
    in_flight: int = 0
    lost: int = 0
    doubled: int = 0
    recovery: float | None = None
    """Seconds from its end until all that had been acknowledged by then was done; None where nothing was under way."""


@dataclass
class Outcome:
    """All that is to be told of a run."""

    plan: Plan
    struck: list[Struck]
    passed: dict[str, str]
    """Kinds that could not be made, and why."""
    lacking: list[str]
    tally: Tally
    peak: dict[str, int]
    seconds: float
    drained: bool
    load: float
    """The machine's load average over the last 15 minutes."""
    log: Path
    large: dict[str, float] = field(default_factory=dict)
    """Of each large study: seconds from its acknowledgement until it was done."""


def run(
    plan: Plan,
    folder: Path,
    say: Say,
    *,
    afterwards: Callable[[Hospital, Ledger], None] = lambda _hospital, _ledger: None,
) -> Outcome:
    """Make one run in this folder. `afterwards` is called when all is counted and the service still runs."""
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    chance = random.Random(plan.seed)
    ledger = Ledger()
    counter = itertools.count(1)
    with Hospital(
        folder, plan.database, big=plan.big, with_orthanc=plan.with_orthanc, with_clock=plan.with_clock
    ) as hospital:
        for lack in hospital.lacking:
            say(f"without {lack}")
        watch = Watch(hospital.serve, ledger)
        watch.start()
        end = threading.Event()
        stream_chance = random.Random(plan.seed + 1)

        def next_study() -> OutgoingStudy | None:
            if watch.waiting() >= plan.most_waiting:
                return None
            number = next(counter)
            return films(f"chaos {plan.seed} {number}", stream_chance.choice((1, 1, 1, 2, 3)))

        crowd = [Modality(name, hospital.door, ledger, next_study, end) for name in plan.senders]
        large = _send_large(plan, hospital, ledger) if plan.big else []
        begun = time.monotonic()
        for modality in crowd:
            modality.start()
        scene = Scene(hospital, ledger, (f"chaos {plan.seed} fault {n}" for n in itertools.count(1)), plan.patience)
        struck, passed = _strike(plan, scene, chance, begun, say, watch)
        end.set()
        for thread in (*crowd, *large):
            hospital.make_well()
            _until(lambda thread=thread: not thread.is_alive(), plan.drain, hospital.make_well)
        say(f"{len(struck)} faults made; everybody is made well, {watch.waiting()} studies are on their way")
        failed: list[tuple[str, str]] = []
        drained = _drain(hospital, watch, plan.drain, failed)
        watch.look(hospital.serve.catalog)
        tally = count(hospital, ledger, failed_before=failed)
        watch.stop()
        afterwards(hospital, ledger)
        _recoveries(struck, ledger, watch, begun, tally)
        kept_log = folder / "serve.log"
        kept_log.write_bytes(hospital.serve.log.read_bytes())
        return Outcome(
            plan=plan,
            struck=struck,
            passed=passed,
            lacking=list(hospital.lacking),
            tally=tally,
            peak=dict(watch.peak),
            seconds=time.monotonic() - begun,
            drained=drained,
            load=os.getloadavg()[2],
            log=kept_log,
            large={
                entry.study.name: watch.done_at[entry.study.study_instance_uid] - entry.whole_at
                for entry in ledger.all()
                if entry.study.kind in ("ct", "cine")
                and entry.whole_at
                and entry.study.study_instance_uid in watch.done_at
            },
        )


def _send_large(plan: Plan, hospital: Hospital, ledger: Ledger) -> list[threading.Thread]:
    def send() -> None:
        cine = multi_frame(f"chaos {plan.seed} multi-frame", plan.cine_bytes)
        send_whole("pynetdicom", hospital.door, ledger, cine, end=None)
        ct = computed_tomography(f"chaos {plan.seed} CT", plan.slices, plan.matrix)
        send_whole("pynetdicom", hospital.door, ledger, ct, end=None)

    thread = threading.Thread(target=send, name="large", daemon=True)
    thread.start()
    return [thread]


def _drawn(plan: Plan, chance: random.Random) -> Iterator[Fault]:
    if plan.each_once:
        yield from plan.faults
        return
    weights = [fault.weight for fault in plan.faults]
    while True:
        yield chance.choices(list(plan.faults), weights)[0]


def _strike(
    plan: Plan, scene: Scene, chance: random.Random, begun: float, say: Say, watch: Watch
) -> tuple[list[Struck], dict[str, str]]:
    struck: list[Struck] = []
    passed: dict[str, str] = {}
    for draw, kind in enumerate(_drawn(plan, chance)):
        if len(struck) >= plan.number or draw >= 20 * plan.number or time.monotonic() - begun > plan.minutes * 60:
            break
        time.sleep(chance.uniform(0.1, 1.0) * plan.gap)  # the random moment itself
        if scene.hospital.serve.ended:
            scene.hospital.serve.launch()
        if struck and len(struck) % _BREATH == 0:
            before = len(watch.done_at)
            _until(lambda before=before: len(watch.done_at) > before, 90, lambda: None)
        began = time.monotonic() - begun
        try:
            detail = kind.strike(scene, chance)
        except Unavailable as reason:
            passed[kind.name] = str(reason)
            continue
        except (Exception, pytest.fail.Exception) as error:  # what makes faults must not end the run before the count
            passed[kind.name] = f"could not be made: {type(error).__name__}"
            say(f"{began:7.1f} s  {kind.name} could not be made: {type(error).__name__}: {error}")
            continue
        struck.append(Struck(kind.name, detail, began, time.monotonic() - begun))
        say(f"{began:7.1f} s  {kind.name}  {detail}")
    return struck, {name: why for name, why in passed.items() if not any(strike.name == name for strike in struck)}


def _drain(hospital: Hospital, watch: Watch, within: float, failed: list[tuple[str, str]]) -> bool:
    """Wait until nothing is on its way; what the archive had refused for good is then retried once, by hand."""

    def done() -> bool:
        return settled(hospital) and watch.waiting() == 0

    def all_moved() -> bool:
        return settled(hospital)

    _until(all_moved, within, hospital.make_well)
    with hospital.serve.catalog.read() as session:
        rows = session.scalars(
            select(Delivery).options(joinedload(Delivery.result)).where(Delivery.state == DeliveryState.FAILED)
        )
        failed += [(f"{row.destination} {row.result.sop_instance_uid}", row.error_code or "") for row in rows]
    if failed:
        hospital.retry_failed_deliveries()
    return _until(done, within, hospital.make_well)


def _until(condition: Callable[[], bool], within: float, again: Callable[[], None]) -> bool:
    """Wait for a condition; `again` every few seconds. False if it did not come true in time."""
    deadline = time.monotonic() + within
    next_again = 0.0
    while time.monotonic() < deadline:
        if condition():
            return True
        if time.monotonic() > next_again:
            again()
            next_again = time.monotonic() + 5
        time.sleep(0.3)
    return False


def _recoveries(struck: list[Struck], ledger: Ledger, watch: Watch, begun: float, tally: Tally) -> None:
    spans = []
    for entry in ledger.all():
        whole, done = entry.whole_at, watch.done_at.get(entry.study.study_instance_uid)
        if entry.study.healthy and whole is not None:
            spans.append((entry.study.study_instance_uid, whole - begun, None if done is None else done - begun))
    for one in struck:
        affected = [
            (uid, done) for uid, whole, done in spans if whole <= one.ended and (done is None or done > one.began)
        ]
        one.in_flight = len(affected)
        one.lost = sum(uid in tally.lost_studies for uid, _ in affected)
        one.doubled = sum(uid in tally.doubled_studies for uid, _ in affected)
        ends = [done for _, done in affected if done is not None]
        if ends and len(ends) == len(affected):
            one.recovery = max(0.0, max(ends) - one.ended)


def typical(values: Sequence[float]) -> float:
    """The median; 0 of nothing."""
    return median(values) if values else 0.0
