"""Several workers share the machine's cores, as its memory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from whyray.config import Workers
from whyray.jobs import cores
from whyray.jobs.cores import threads_of_a_worker


@pytest.mark.parametrize(
    ("count", "threads", "expected"),
    [(1, None, None), (2, None, 8), (3, None, 5), (40, None, 1), (1, 3, 3), (2, 16, 16)],
)
def test_cores_are_shared_among_the_workers_unless_their_threads_are_named(
    count: int, threads: int | None, expected: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cores, "usable_cores", lambda: 16)
    monkeypatch.setattr(cores, "cpu_quota", lambda: None)
    assert threads_of_a_worker(Workers(count=count, threads=threads)) == expected


def test_two_threads_of_a_core_are_one_core_and_processors_of_others_are_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(8):
        folder = tmp_path / f"sys/devices/system/cpu/cpu{number}/topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{number % 4},{number % 4 + 4}\n")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 4, 5, 6})
    assert cores.usable_cores(tmp_path) == 3
    assert cores.usable_cores(tmp_path / "no such machine") == 6


@pytest.mark.parametrize(("quota", "expected"), [("400000 100000", 4), ("250000 100000", 3), ("50000 100000", 1)])
def test_a_container_has_as_many_cores_as_its_quota(
    quota: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for the next period of the quota does nothing: 64 threads of four cores mostly stand still."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    for name, content in (("proc/self/cgroup", "0::/"), ("sys/fs/cgroup/cpu.max", quota)):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(f"{content}\n")
    assert cores.usable_cores(tmp_path) == expected
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    assert cores.usable_cores(tmp_path) == min(expected, 2)


def test_one_worker_is_told_of_a_quota_which_the_libraries_do_not_see(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "usable_cores", lambda: 4)
    monkeypatch.setattr(cores, "cpu_quota", lambda: 3.5)
    assert threads_of_a_worker(Workers()) == 4
    assert threads_of_a_worker(Workers(count=2)) == 2
