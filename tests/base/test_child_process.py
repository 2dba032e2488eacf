"""A child ends with the thread that has started it: whoever starts one keeps that thread."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from whyray.base.child_process import end_with_parent

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parents")


def started() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "60"], preexec_fn=end_with_parent)


def test_a_child_ends_with_the_thread_that_has_started_it_though_the_program_goes_on() -> None:
    with ThreadPoolExecutor(1) as thread:
        child = thread.submit(started).result()
    assert child.wait(30) == -signal.SIGTERM


def test_a_child_lives_as_long_as_the_thread_that_has_started_it() -> None:
    goes_on = threading.Event()
    with ThreadPoolExecutor(1) as thread:
        child = thread.submit(started).result()
        thread.submit(goes_on.wait, 30)
        assert child.poll() is None
        child.kill()
        assert child.wait(30) == -signal.SIGKILL
        goes_on.set()
