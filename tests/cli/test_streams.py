"""Where the output goes: into a pipe that is closed, onto a terminal without colours or with another character set."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

COLOUR = re.compile(r"\x1b\[[0-9;]*(?:3|4|9|10)\d")


def whyray(*arguments: str, folder: Path, **environment: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "whyray", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("command", ["config schema", "package list", "--help"])
def test_a_reader_that_goes_away_gets_no_trace(command: str, tmp_path: Path) -> None:
    running = whyray(*command.split(), folder=tmp_path)
    assert running.stdout is not None
    assert running.stderr is not None
    running.stdout.close()
    said = running.stderr.read().decode()
    running.stderr.close()
    running.wait()
    assert said == ""


@pytest.mark.parametrize("command", ["package methods", "package show cxr-findings", "config example", "--help"])
def test_a_terminal_of_another_character_set_shows_all_there_is(command: str, tmp_path: Path) -> None:
    ascii_only = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""}
    running = whyray(*command.split(), folder=tmp_path, **ascii_only)
    out, err = running.communicate()
    assert running.returncode == 0, err
    assert out.isascii()
    assert err == b""


def test_no_color_is_obeyed(tmp_path: Path) -> None:
    shown = {}
    for wish in ("", "1"):
        running = whyray("package", "check", "nowhere", folder=tmp_path, NO_COLOR=wish, FORCE_COLOR="1", TERM="xterm")
        shown[wish] = running.communicate()[1].decode()
        assert running.returncode == 2
    assert COLOUR.search(shown[""])
    assert not COLOUR.search(shown["1"])
