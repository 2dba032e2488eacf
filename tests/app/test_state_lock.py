"""One supervisor for a state folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from whyray.app.state_lock import StateLock
from whyray.base.errors import ConfigError


def test_a_second_one_is_refused_and_told_who_holds_the_folder(tmp_path: Path) -> None:
    first, second = StateLock(tmp_path / "state"), StateLock(tmp_path / "state")
    first.take()
    first.take()
    with pytest.raises(ConfigError, match=rf"another `whyray serve` \(process {os.getpid()}, since 20") as refused:
        second.take()
    assert "Stop it first" in refused.value.advice
    first.release()
    second.take()
    second.release()


def test_the_end_of_a_process_lets_go_however_it_ends_and_its_children_do_not_hold_on(tmp_path: Path) -> None:
    script = (
        "import subprocess, sys, time; from pathlib import Path; from whyray.app.state_lock import StateLock; "
        "lock = StateLock(Path(sys.argv[1])); lock.take(); "
        "child = subprocess.Popen(['sleep', '600']); print(child.pid, flush=True); time.sleep(600)"
    )
    holder = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    child = int(holder.stdout.readline())
    lock = StateLock(tmp_path)
    with pytest.raises(ConfigError, match=f"process {holder.pid}"):
        lock.take()
    holder.kill()
    holder.wait()
    try:
        lock.take()
        lock.release()
    finally:
        os.kill(child, 9)
