"""Files are made ready a few ahead of their turn, and what fails does so at its own."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from peers import until
from whyray.delivery import Outgoing, preparation
from whyray.delivery.preparation import AHEAD, Preparation


@pytest.fixture
def files(tmp_path: Path) -> list[Outgoing]:
    made = []
    for number in range(8):
        path = tmp_path / str(number)
        path.write_bytes(bytes(number))
        made.append(Outgoing(path, "1.2", f"1.3.{number}", "1.4"))
    return made


def test_so_many_are_made_ahead_and_no_more(files: list[Outgoing]) -> None:
    begun: set[str] = set()

    def prepare(file: Outgoing) -> str:
        begun.add(file.sop_instance_uid)
        return file.sop_instance_uid

    with Preparation(files, prepare) as ready:
        assert ready.take(0) == "1.3.0"
        until(lambda: len(begun) == 1 + AHEAD, what="those ahead")
        assert ready.take(1) == "1.3.1"
        until(lambda: len(begun) == 2 + AHEAD, what="one more")
        assert ready.take(7) == "1.3.7"  # those between were left out


def test_what_is_large_waits_for_its_turn(files: list[Outgoing], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "LARGEST", 2)
    begun: list[str] = []
    both = threading.Event()

    def prepare(file: Outgoing) -> None:
        begun.append(file.sop_instance_uid)
        if len(begun) == 3:
            both.set()

    with Preparation(files[:5], prepare) as ready:
        ready.take(0)
        assert both.wait(10)
    assert sorted(begun) == ["1.3.0", "1.3.1", "1.3.2"]


def test_what_is_ready_first_goes_first_and_nothing_is_made_twice_or_for_nothing(files: list[Outgoing]) -> None:
    made: list[str] = []
    first_may_end = threading.Event()

    def prepare(file: Outgoing) -> str:
        made.append(file.sop_instance_uid)
        if file is files[0]:
            assert first_may_end.wait(10)
        return file.sop_instance_uid

    def is_ready(file: Outgoing) -> bool:
        return file is files[2]

    with Preparation(files[:5], prepare, is_ready) as ready:
        assert ready.first_ready([0, 2, 3, 4]) == 2, "1 was left out"
        assert ready.take(2) == "1.3.2"
        left = [0, 3, 4]
        for _ in range(2):
            number = ready.first_ready(left)
            left.remove(number)
            assert ready.take(number) == files[number].sop_instance_uid
        assert left == [0], "it is still being made"
        first_may_end.set()
        assert ready.first_ready([0]) == 0
        assert ready.take(0) == "1.3.0"
    assert sorted(made) == ["1.3.0", "1.3.2", "1.3.3", "1.3.4"]


def test_a_failure_comes_at_the_turn_of_its_file(files: list[Outgoing]) -> None:
    def prepare(file: Outgoing) -> str:
        if file.sop_instance_uid == "1.3.1":
            raise ValueError(file.sop_instance_uid)
        return file.sop_instance_uid

    with Preparation(files, prepare) as ready:
        assert ready.take(0) == "1.3.0"
        with pytest.raises(ValueError, match=r"1\.3\.1"):
            ready.take(1)
        assert ready.take(2) == "1.3.2"
