"""A signal that comes while the main thread holds the event's lock still stops what waits for the event."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import signal
from whyray.app.stop_signals import set_by_signals
stop = set_by_signals()
with stop._cond:  # where a second signal finds a process that handles the first
    signal.raise_signal(signal.SIGTERM)
assert stop.wait(30)
"""


def test_a_signal_within_the_handling_of_another_does_not_wait_for_itself() -> None:
    subprocess.run([sys.executable, "-c", SCRIPT], check=True, timeout=60)


HUNG_UP = """
import signal
from whyray.app.stop_signals import set_by_signals
{before}
stop = set_by_signals()
signal.raise_signal(signal.SIGHUP)
assert stop.wait({within}) is {stopped}
"""


@pytest.mark.parametrize(
    ("before", "within", "stopped"), [("", 30, True), ("signal.signal(signal.SIGHUP, signal.SIG_IGN)", 0, False)]
)
def test_who_is_hung_up_stops_in_order_and_who_is_to_outlive_that_goes_on(
    before: str, within: float, stopped: bool
) -> None:
    script = HUNG_UP.format(before=before, within=within, stopped=stopped)
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
