"""The README's first command, as a test: the demo on the embedded archive, from nothing to results."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from pydicom import dcmread

from dciodvfy import errors_of


def test_the_demo_brings_every_expected_result_back_and_exits_with_zero(tmp_path: Path) -> None:
    call = [sys.executable, "-m", "whyray", "demo", "--once", "--pacs", "archive", "--port", "0", "--within", "540"]
    done = subprocess.run([*call, "--out", str(tmp_path)], capture_output=True, text=True, check=False, timeout=590)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Not for diagnostic use." in done.stdout
    assert "superuser" not in (tmp_path / "whyray.log").read_text(), "Celery warns who runs it as root"
    assert "cxr-findings" in done.stdout
    kinds: dict[str, set[str]] = {}
    for path in sorted((tmp_path / "dicom").rglob("*.dcm")):
        kinds.setdefault(path.parent.name, set()).add(path.name.split("-")[0])
        dataset = dcmread(path, stop_before_pixels=True)
        assert dataset.SOPInstanceUID
        assert errors_of(path.read_bytes()) == []
    assert set(kinds) == {"chest", "leg", "head"}
    for name, study_kinds in kinds.items():
        assert {"sc", "sr"} <= study_kinds, name
    assert kinds["head"] >= {"sc", "seg", "sr"}
    assert kinds["leg"] == {"sc", "sr"}
    assert "no statement" in " ".join(done.stdout.split())
    pictures = list((tmp_path / "pictures").glob("*.png"))
    assert len(pictures) >= 3


def test_ctrl_c_ends_the_demo_at_any_time_without_talk_of_a_defect(tmp_path: Path) -> None:
    call = [sys.executable, "-m", "whyray", "demo", "--pacs", "archive", "--port", "0", "--out", str(tmp_path)]
    with subprocess.Popen(
        call, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as demo:
        assert demo.stdout is not None
        first = demo.stdout.readline()
        assert first.startswith("admin page, with a link that logs in: http://127.0.0.1:")
        os.killpg(demo.pid, signal.SIGINT)
        said = demo.stdout.read()
        assert demo.wait(120) == 1
    assert "Ended before the results were back." in said
    assert "Error" not in said
    assert "did not start" not in said
