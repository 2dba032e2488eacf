"""The brake on guessing lets go after a minute, also where the clock is set back meanwhile."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from whyray.base.guess_brake import MOST_FAILURES, GuessBrake

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def braked() -> tuple[GuessBrake, list[datetime]]:
    now = [NOON]
    brake = GuessBrake(lambda: now[0])
    for _ in range(MOST_FAILURES):
        assert not brake.blocked("10.0.0.7")
        brake.failed("10.0.0.7")
    assert brake.blocked("10.0.0.7")
    return brake, now


def test_it_lets_go_after_a_minute() -> None:
    brake, now = braked()
    now[0] += MINUTE - timedelta(seconds=1)
    assert brake.blocked("10.0.0.7")
    now[0] += timedelta(seconds=1)
    assert not brake.blocked("10.0.0.7")


def test_a_sender_is_not_kept_out_for_as_long_as_the_clock_was_set_back_by() -> None:
    brake, now = braked()
    now[0] -= timedelta(hours=1)
    assert not brake.blocked("10.0.0.7")
    assert brake.admits("10.0.0.7")
