"""`whyray` as a person types it: `cli("explain", …)` gives exit code and what was printed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from planted import planted_package
from whyray.cli.main import main


@dataclass(frozen=True)
class Said:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def everything(self) -> str:
        """Out and err, without line breaks: a terminal wraps where it likes."""
        return " ".join(f"{self.out} {self.err}".split())

    def refused(self, *words: str) -> None:
        """Assert that the error is told in two lines, with advice, and names these words."""
        assert self.code == 2, self.everything
        lines = self.err.strip().splitlines()
        assert len(lines) == 2, self.err
        for word in words:
            assert word in self.err
        assert "Traceback" not in self.everything


Cli = Callable[..., Said]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    """Runs `whyray` in an empty folder, in this process, with the error handling of the real entry point."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("WHYRAY_LOG_LEVEL", "warning")

    def run(*arguments: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["whyray", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        return Said(int(end.value.code or 0), printed.out, printed.err)

    return run


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A folder with a package that lights up bright spots of radiographs."""
    folder = tmp_path / "packages"
    planted_package(folder, shape=(64, 64), modalities=("CR", "DX"))
    return folder


@pytest.fixture
def planted(packages: Path) -> Path:
    """That package."""
    return packages / "planted" / "1.0.0"


@pytest.fixture
def site(packages: Path, tmp_path: Path) -> Path:
    """A whyray.yaml with one route for chest radiographs."""
    path = tmp_path / "whyray.yaml"
    content = {
        "state": str(tmp_path / "state"),
        "packages": {"folders": [str(packages)]},
        "destinations": {"pacs": {"ae_title": "PACS", "host": "127.0.0.1", "port": 104}},
        "routes": [
            {
                "name": "films [chest]",
                "when": {"Modality": "CR", "BodyPartExamined": "CHEST"},
                "run": "planted@1",
                "send": {"to": ["pacs"]},
            }
        ],
    }
    path.write_text(yaml.safe_dump(content))
    return path
