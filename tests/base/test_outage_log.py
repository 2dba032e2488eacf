"""The log has both ends of an outage, and not each of the rounds between them."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import pytest

from whyray.base.errors import PeerUnreachable, StorageUnavailable
from whyray.base.outage_log import OutageLog

LOG = logging.getLogger("whyray.test")


@dataclass
class Seconds:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def outage(seconds: Seconds) -> OutageLog:
    return OutageLog(LOG, "the schedule", seconds=seconds)


def test_an_outage_is_told_when_it_begins_and_when_it_is_over(
    outage: OutageLog, seconds: Seconds, caplog: pytest.LogCaptureFixture
) -> None:
    outage.well()
    for _ in range(600):
        outage.failed(PeerUnreachable("the catalog is away"))
        seconds.now += 0.5
    assert outage.lasts
    outage.well()
    outage.well()
    assert caplog.messages == [
        "the schedule: PeerUnreachable: the catalog is away",
        "the schedule: well again, after 600 failures within 5 min",
    ]
    assert not outage.lasts


@pytest.mark.parametrize(
    ("failures", "told"),
    [(1, "after 1 failure"), (2, "after 2 failures within 1 s"), (5, "after 5 failures within 40 s")],
)
def test_the_time_until_the_next_occasion_is_not_told_as_an_outage(
    outage: OutageLog, seconds: Seconds, caplog: pytest.LogCaptureFixture, failures: int, told: str
) -> None:
    """What is done when a transfer ends failed at 18:00, and was done again, and well, at 06:00."""
    for number in range(failures):
        seconds.now += 0 if failures == 2 else 10 * bool(number)
        outage.failed(PeerUnreachable("the catalog is locked"))
    seconds.now += 12 * 3600
    outage.well()
    assert caplog.messages[-1] == f"the schedule: well again, {told}"


def test_each_outage_is_measured_by_itself(
    outage: OutageLog, seconds: Seconds, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        for _ in range(3):
            outage.failed(PeerUnreachable("the catalog is away"))
            seconds.now += 30
        outage.well()
        seconds.now += 3600
    assert [words for words in caplog.messages if "well again" in words] == [
        "the schedule: well again, after 3 failures within 60 s"
    ] * 2


def test_another_reason_is_told_and_the_first_not_again(outage: OutageLog, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(5):
        outage.failed(PeerUnreachable("the catalog is away"), "job 1")
        outage.failed(StorageUnavailable("storage is away"), "job 2")
    assert caplog.messages == [
        "the schedule, job 1: PeerUnreachable: the catalog is away",
        "the schedule, job 2: StorageUnavailable: storage is away",
    ]


def test_what_comes_and_goes_is_told_once_a_minute(
    outage: OutageLog, seconds: Seconds, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(120):
        outage.failed(PeerUnreachable("the catalog is away"))
        outage.well()
        seconds.now += 1
    assert len(caplog.messages) == 4, "two outages, with both ends"


def test_what_was_held_back_is_told_once_it_lasts(
    outage: OutageLog, seconds: Seconds, caplog: pytest.LogCaptureFixture
) -> None:
    outage.failed(PeerUnreachable("the catalog is away"))
    outage.well()
    caplog.clear()
    for _ in range(120):
        outage.failed(PeerUnreachable("the catalog is away"))
        seconds.now += 1
    outage.well()
    assert len(caplog.messages) == 2
    assert "120 failures within 119 s" in caplog.messages[1]


def test_reasons_that_never_repeat_do_not_flood(outage: OutageLog, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(1000):
        outage.failed(StorageUnavailable(f"{number} MiB are free"))
    assert len(caplog.messages) == 10


def test_a_defect_is_told_with_the_way_that_led_there_and_without_its_text(
    outage: OutageLog, caplog: pytest.LogCaptureFixture
) -> None:
    try:
        raise KeyError("Doe^Jane")
    except KeyError as error:
        typed = outage.failed(error)
    assert typed.code == "InternalError"
    assert "KeyError at " in caplog.text
    assert "Doe" not in caplog.text
