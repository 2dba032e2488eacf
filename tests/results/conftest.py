"""Images to make results about, and the outside programs that judge the results."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from peers import require
from results.sources import SOURCES, image_named
from whyray.imaging import SourceImage
from whyray.results import Templates, load_templates


@pytest.fixture(params=SOURCES)
def any_image(request: pytest.FixtureRequest) -> SourceImage:
    return image_named(request.param)


@pytest.fixture(scope="session")
def templates() -> Templates:
    return load_templates()


@pytest.fixture(scope="session")
def tilted_image() -> SourceImage:
    return image_named("tilted CT, Japanese")


@pytest.fixture(scope="session")
def dx_image() -> SourceImage:
    return image_named("DX, Japanese")


@pytest.fixture
def errors_of(tmp_path: Path) -> Callable[[bytes], list[str]]:
    """What dciodvfy calls an error in a DICOM file."""
    require("dciodvfy", "dicom3tools")

    def check(file: bytes) -> list[str]:
        path = tmp_path / "object.dcm"
        path.write_bytes(file)
        completed = subprocess.run(["dciodvfy", str(path)], capture_output=True, check=False)
        lines = (completed.stdout + completed.stderr).decode(errors="replace").splitlines()
        assert lines, "dciodvfy says at least which IOD it took the object for"
        return [line for line in lines if line.startswith("Error")]

    return check


@pytest.fixture
def dsrdump(tmp_path: Path) -> Callable[[bytes], str]:
    """What dcmtk's dsrdump prints of a report; fails where it can't read it."""
    require("dsrdump", "dcmtk")

    def dump(file: bytes) -> str:
        path = tmp_path / "report.dcm"
        path.write_bytes(file)
        completed = subprocess.run(["dsrdump", "+Pu", str(path)], capture_output=True, check=False)
        complaints = [
            line
            for line in completed.stderr.decode(errors="replace").splitlines()
            # dcmtk 3.6.7 says what it can't check: some character sets, and TID 2010
            if line.startswith(("E:", "F:", "W:")) and "haracter" not in line and "not yet supported" not in line
        ]
        assert completed.returncode == 0, completed.stderr
        assert not complaints
        return completed.stdout.decode(errors="replace")

    return dump
