"""A signal that comes while the main thread holds the event's lock still stops what waits for the event."""

from __future__ import annotations

import subprocess
import sys

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
