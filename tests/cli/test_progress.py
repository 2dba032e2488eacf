"""What the screen says: how far long work is, by a bar on a terminal and by lines in a log, and what was measured."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from threading import Event

import pytest

from whyray.cli import progress_lines
from whyray.cli.progress_lines import ProgressLines, told_by_lines
from whyray.cli.screen import print_report, progress_bar
from whyray.jobs.file_report import Report
from whyray.results import load_templates


def test_a_line_says_how_long_how_far_and_what_is_in_hand() -> None:
    now, lines = [100.0], []
    progress = ProgressLines(lines.append, lambda: now[0])
    progress.tell()
    progress.show(0.345, "measuring rise")
    now[0] += 75
    progress.tell()
    assert lines == ["0:00 0% starting", "1:15 34% measuring rise"]


def test_lines_come_while_one_step_goes_on_and_end_with_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_lines, "EVERY", 0.0)
    lines: list[str] = []
    told = Event()

    def write(line: str) -> None:
        lines.append(line)
        if "one step" in line:
            told.set()

    with told_by_lines(write) as show:
        show(0.5, "one step")
        assert told.wait(30)
    assert "50% one step" in lines[-1]


def test_without_a_terminal_short_work_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar() as show:
        show(0.5, "short")
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "")


def test_a_volume_is_told_in_its_unit_and_not_as_a_power_of_ten(capsys: pytest.CaptureFixture[str]) -> None:
    finding = {
        **{"finding": "brain", "present": True, "value": 4120.8458, "unit": "ml", "frame": None, "agreement": None},
        **{"explanations": [], "typed_explanations": [], "images": ["2.25.1"]},
    }
    report = Report("p@1.0.0", "0", datetime(2026, 1, 1, tzinfo=UTC), (), (), (finding,), (), (), (), ())
    print_report(report, Path("out"), load_templates().wording("en"))
    assert "4120 ml" in capsys.readouterr().out
