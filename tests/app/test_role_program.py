"""What a role's process does around its work, when the one that it works for, or the machine, lets it down."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from whyray.app import role_program
from whyray.jobs.job_process import JobProcess, take_orders

ORPHAN = """
import sys
from pathlib import Path
from whyray.app.role_program import run_jobs
run_jobs(Path("/nowhere/whyray.yaml"), int(sys.argv[1]))
print("whyray.app.job_program" in sys.modules)
"""


def test_the_process_of_jobs_opens_nothing_where_its_worker_is_gone_already() -> None:
    own, its = socket.socketpair()
    own.close()
    with its:
        ended = subprocess.run(
            [sys.executable, "-c", ORPHAN, str(its.fileno())],
            pass_fds=[its.fileno()],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    assert ended.stdout == "False\n"


class Gone:
    """The end of a connection whose other end is closed."""

    def send(self, _: object) -> None:
        raise BrokenPipeError


def test_why_it_can_t_work_is_no_error_where_nobody_is_left_to_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whyray.jobs.job_process.end_with_parent", lambda _: None)
    monkeypatch.setattr("signal.signal", lambda *_: None)

    def open_up() -> tuple[dict[str, str], object]:
        raise ValueError

    take_orders(Gone(), open_up)


def test_a_process_of_jobs_that_can_t_be_started_is_left_to_the_worker_which_tells_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[JobProcess] = []

    def start(_: JobProcess) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(JobProcess, "start", start)
    monkeypatch.setattr(role_program, "light_by_day_and_night", lambda: None)
    monkeypatch.setattr("whyray.app.worker_role.run_worker", lambda _, first: asked.append(first))
    role_program._run_worker(tmp_path / "whyray.yaml")
    assert len(asked) == 1
