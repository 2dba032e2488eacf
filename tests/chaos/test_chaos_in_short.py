"""A cut of `make chaos`: each cheap kind of fault once, under a stream of studies, and the same count at the end."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from chaos.__main__ import arguments
from chaos.clock import find_faketime
from chaos.disks import Disk, may_mount
from chaos.faults import FAULTS, of_kinds
from chaos.hospital import Hospital
from chaos.report import table
from chaos.run import Plan, Struck, run
from chaos.senders import Ledger, Sent
from chaos.studies import POISON, films
from chaos.tally import Tally, count
from whyray.catalog import Instance, Job, JobState, Series

SEED = 20261129
WRONGS = ("lost", "unprocessed", "undelivered", "doubled", "condemned")
CHEAP = (
    "kill intake",
    "archive A700",
    "stop delivery",
    "flushall",
    "archive aborts-after-storing",
    "sqlite lock",
    "disk full storage",
    "archive C000",
    "kill redis",
    "poison huge-codestream",
    "disk full catalog",
    "clock forward",
    "stop redis",
    "archive B000",
    "archive down",
    "disk full log",
)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: sockets of Redis and PostgreSQL lie in it."""
    made = Path(tempfile.mkdtemp(prefix="chaos-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.mark.timeout(900)
def test_acknowledged_is_processed_is_delivered_once_under_each_cheap_fault(
    folder: Path,
) -> None:
    said: list[str] = []
    plan = Plan(
        seed=SEED,
        faults=[FAULTS[name] for name in CHEAP],
        number=len(CHEAP),
        minutes=8,
        each_once=True,
        senders=("pynetdicom", "STOW-RS"),
        with_orthanc=False,
        with_clock=find_faketime() is not None,
        most_waiting=3,
        gap=0.3,
        patience=1.0,
        drain=300,
    )
    seen: set[str] = set()

    def sabotaged(hospital: Hospital, ledger: Ledger) -> None:
        _spoil(hospital)
        spoilt = count(hospital, ledger, failed_before=[])
        seen.update(name for name in WRONGS if getattr(spoilt, name))

    outcome = run(plan, folder / "run", said.append, afterwards=sabotaged)
    told = "\n".join([f"seed {SEED}", *said, outcome.log.read_text(errors="replace")[-4000:]])
    tally = outcome.tally
    wrongs = {name: getattr(tally, name) for name in WRONGS if getattr(tally, name)}
    assert wrongs == {}, told
    assert outcome.drained, told
    assert tally.acknowledged == tally.processed > 0
    assert tally.delivered > 0
    made = {strike.name for strike in outcome.struck}
    unavailable = set(CHEAP) - made
    assert unavailable <= set(outcome.passed), told
    assert seen == set(WRONGS), "the count finds what is spoilt on purpose"


def _spoil(hospital: Hospital) -> None:
    """Bytes that are gone, an object that the archive lacks and one too many, a job that failed."""
    archive = hospital.archive.kept
    uid, gone = archive.popitem()
    archive["1.2.3"] = replace(gone, sop_instance_uid="1.2.3")
    with hospital.serve.catalog.begin() as session:
        done = session.scalars(select(Job).where(Job.state == JobState.DONE).order_by(Job.id)).all()
        other = [job for job in done if uid not in {result.sop_instance_uid for result in job.results}]
        other[0].state = JobState.FAILED
        instance = session.scalars(select(Instance).join(Series).where(Series.study_id == other[1].study_id)).first()
        assert instance is not None
        (hospital.folder / "whyray" / "storage" / "instances" / instance.key).unlink()


def test_a_full_disk_is_full(folder: Path) -> None:
    if not may_mount(folder):
        pytest.skip("small disks need root that may mount a tmpfs")
    disk = Disk(folder / "disk", 1 << 20)
    disk.mount()
    try:
        disk.fill()
        with pytest.raises(OSError, match="No space left"):
            (folder / "disk" / "more").write_bytes(bytes(8192))
        disk.free()
        (folder / "disk" / "more").write_bytes(bytes(8192))
    finally:
        disk.unmount()


def test_faults_are_found_by_the_beginning_of_their_names_and_strangers_are_named() -> None:
    assert {fault.name for fault in of_kinds(["kill"])} == {name for name in FAULTS if name.startswith("kill")}
    assert len(of_kinds([])) == len(FAULTS)
    with pytest.raises(SystemExit, match="no fault is called kiil"):
        of_kinds(["kiil"])
    assert {f"poison {name}" for name in POISON} <= set(FAULTS)


@pytest.mark.parametrize("wrong", WRONGS)
def test_one_thing_wrong_is_enough_to_fail(wrong: str) -> None:
    assert Tally().faultless
    assert not Tally(**{wrong: ["something"]}).faultless


def test_a_study_is_whole_when_its_last_instance_is_acknowledged() -> None:
    sent = Sent(films("whole", 2), "pynetdicom")
    first, second = (instance.sop_instance_uid for instance in sent.study.instances)
    sent.acknowledged[first] = 1.0
    assert sent.whole_at is None
    sent.acknowledged[second] = 2.5
    assert sent.whole_at == 2.5


def test_the_command_line_teaches_and_names_each_kind(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        arguments(["--help"])
    told = capsys.readouterr().out
    assert "make chaos CHAOS='--faults 50 --only kill'" in told
    assert [name for name in FAULTS if f"  {name} " not in told] == []
    assert arguments(["--only", "kill", "--only", "stop"]).only == ["kill", "stop"]


def test_the_table_gives_each_kind_with_its_median_and_longest_recovery() -> None:
    struck = [
        Struck("kill worker", "process 1", 1.0, 1.0, in_flight=3, lost=1, recovery=40.0),
        Struck("kill worker", "process 2", 9.0, 9.0, in_flight=2, doubled=1, recovery=60.4),
        Struck("flushall", "", 12.0, 12.0),
    ]
    lines = table(struck).splitlines()
    assert lines[2:] == [
        "| kill −9 of worker | 2 | 5 | 1 | 1 | 50 s (60 s) |",
        "| FLUSHALL of Redis | 1 | 0 | 0 | 0 | – |",
    ]
