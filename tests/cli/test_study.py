"""`whyray study` as a person types it: from explained pictures to a report."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cli.conftest import Cli
from planted import BRIGHT
from whyray.catalog import Catalog, sqlite_url
from whyray.reader_study import reading


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """Six pictures; the planted package sees the spot in every second."""
    folder = tmp_path / "films"
    folder.mkdir()
    for number in range(6):
        pixels = np.full((64, 64), 40 + number, np.uint8)
        pixels[10:18, 8 * number + 4 : 8 * number + 14] = 255 if number % 2 == 0 else 181
        Image.fromarray(pixels).save(folder / f"film{number}.png")
    return folder


@pytest.fixture
def explained(cli: Cli, films: Path, planted: Path, tmp_path: Path) -> list[Path]:
    """Each picture explained into a folder of its own."""
    folders = []
    for film in sorted(films.iterdir()):
        folders.append(tmp_path / f"out-{film.stem}")
        said = cli("explain", film, "-p", planted, "-t", "all", "-o", folders[-1])
        assert said.code in (0, 1), said.everything
    return folders


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    path = tmp_path / "truth.csv"
    path.write_text("case,truth\n" + "".join(f"film{n},{int(n != 5 and n != 2)}\n" for n in range(6)))
    return path


def export(cli: Cli, explained: list[Path], films: Path, truth: Path, *more: object):  # type: ignore[no-untyped-def]
    folders = [part for folder in explained for part in ("--explained", folder)]
    return cli(
        *("study", "export", "-t", BRIGHT, "--truth", truth, *folders, "--images", films),
        *("--readers", 2, "--name", "spots", "-o", "kit", *more),
    )


def test_from_explained_pictures_to_a_report(
    cli: Cli, explained: list[Path], films: Path, truth: Path, site: Path, tmp_path: Path
) -> None:
    said = export(cli, explained, films, truth)
    assert said.code == 0, said.everything
    assert "6 cases for 2 readers" in said.out
    assert not (tmp_path / "kit" / "kit.truth.json").exists()
    manifest = (tmp_path / "kit" / "study.json").read_text("utf-8")
    assert "film" not in manifest
    at = ("--config", site)
    assert cli("study", "import", "kit", "-r", "R1=ada", "-r", "R2=grace", *at).code == 0
    cli("study", "import", "kit", "-r", "R1=ada", "-r", "R2=grace", *at).refused("'spots' is there already", "--name")
    assert cli("study", "show", "spots", *at).code == 1
    assert cli("study", "open", "spots", *at).code == 0

    catalog = Catalog(sqlite_url(tmp_path / "state" / "catalog.sqlite"))
    answered(catalog, "ada", follows=True)
    partial = cli("study", "analyse", "spots", "--truth", "kit.truth.json", "-o", "early", *at)
    assert partial.code == 1
    assert "6 of 12 answers are missing" in partial.out
    answered(catalog, "grace", follows=False)
    catalog.close()
    assert "6 of 6" in cli("study", "show", "spots", *at).everything
    assert cli("study", "close", "spots", *at).code == 0
    said = cli("study", "analyse", "spots", "--truth", "kit.truth.json", "-o", "report", "--draws", 100, *at)
    assert said.code == 0, said.everything
    report = json.loads((tmp_path / "report" / "report.json").read_text("utf-8"))
    assert report["readings"] == {"with": 6, "without": 6}
    over_reliance = {
        reader["reader"]: reader["over_reliance"] for reader in report["readers"] if reader["over_reliance"] is not None
    }
    assert over_reliance == {"R1": 1.0, "R2": 0.0}
    assert report["differences"]["seconds"]["value"] == pytest.approx(1.0, rel=0.01)
    page = (tmp_path / "report" / "report.html").read_text("utf-8")
    for words in ("Krippendorff", "over-reliance", "Not for diagnostic use", "no difference shown"):
        assert words in page
    for name in ("ada", "grace", "http"):
        assert name not in page
    again = cli(
        "study",
        "analyse",
        tmp_path / "report" / "answers.json",
        "--truth",
        "kit.truth.json",
        "-o",
        "again",
        "--draws",
        100,
    )
    assert again.code == 0
    second = json.loads((tmp_path / "again" / "report.json").read_text("utf-8"))
    assert second["conditions"] == report["conditions"]


def answered(catalog: Catalog, user: str, *, follows: bool) -> None:
    """A reader who always answers as the model, or never."""
    now = datetime(2026, 5, 1, tzinfo=UTC)
    while True:
        with catalog.begin() as session:
            place = reading.place_of(session, "spots", user, now)
            reading.consent(place, now)
        with catalog.begin() as session:
            place = reading.place_of(session, "spots", user, now)
            if place.where == "finished":
                return
            shown = reading.show_next(session, place, now)
            says = "not present" not in place.manifest.case(shown.case).said
            now += timedelta(seconds=8)
            answer = "present" if says == follows else "absent"
            reading.answer(place, shown.position, reading.SubmittedAnswer(answer, 4, "", 7000), now)


def test_cases_out_of_the_catalog_need_results_in_it(cli: Cli, site: Path, truth: Path) -> None:
    said = cli("study", "export", "-t", BRIGHT, "--truth", truth, "-o", "kit", "--config", site)
    said.refused("at least, found 0")


def test_the_truth_can_not_lie_in_the_kit(cli: Cli, explained: list[Path], films: Path, truth: Path) -> None:
    export(cli, explained, films, truth, "--keep-truth", "kit/truth.json").refused("may not lie in the kit")


def test_a_case_without_truth_is_left_out_by_name(cli: Cli, explained: list[Path], films: Path, truth: Path) -> None:
    truth.write_text(truth.read_text("utf-8").replace("film3,1\n", ""))
    said = export(cli, explained, films, truth)
    assert said.code == 1
    assert "left out: film3: the list of truths does not name it" in said.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("show", "nothing"), ("no reader study 'nothing'",)),
        (("import", "nowhere", "-r", "R1=a"), ("study.json",)),
        (("analyse", "x.json", "--truth", "none.json", "-o", "r"), ("none.json",)),
    ],
)
def test_what_is_not_there_is_named(cli: Cli, site: Path, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    cli("study", *arguments, "--config", site).refused(*words)
