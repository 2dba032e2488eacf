"""`whyray explain --out`: a folder holds the results of one run, and nothing that WhyRay did not write is removed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import whyray.jobs.files
from cli.conftest import Cli
from synthetic import radiograph, write
from whyray.base.errors import ConfigError
from whyray.jobs.results_folder import UNFINISHED, results_folder


def film_of(folder: Path, row: int) -> Path:
    pixels = np.full((64, 56), 300, np.uint16)
    pixels[row : row + 10, 30:40] = 4000
    (path,) = write([radiograph(pixels, window=(2048, 4096))], folder)
    return path


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return film_of(tmp_path / "film", 20)


@pytest.fixture
def other(tmp_path: Path) -> Path:
    return film_of(tmp_path / "other", 40)


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def listed_in(folder: Path) -> set[str]:
    return {*json.loads((folder / "report.json").read_text("utf-8"))["files"], "report.json"}


def test_a_folder_with_results_is_refused_and_left_as_it_is(
    cli: Cli, planted: Path, film: Path, other: Path, tmp_path: Path
) -> None:
    assert cli("explain", film, "-p", planted, "-o", "out").code == 0
    before = files_in(tmp_path / "out")
    assert before.keys() == listed_in(tmp_path / "out")
    cli("explain", other, "-p", planted, "-o", "out").refused("ConfigError", "results of an earlier run", "--overwrite")
    assert files_in(tmp_path / "out") == before


def test_overwriting_removes_what_the_earlier_report_lists_and_no_foreign_file(
    cli: Cli, planted: Path, film: Path, other: Path, tmp_path: Path
) -> None:
    cli("explain", film, "-p", planted, "-o", "out", "-m", "grad-cam", "-m", "occlusion")
    before = listed_in(tmp_path / "out")
    (tmp_path / "out" / "my notes.txt").write_text("mine")
    said = cli("explain", other, "-p", planted, "-o", "out", "--overwrite")
    assert said.code == 0, said.everything
    after = listed_in(tmp_path / "out")
    assert files_in(tmp_path / "out").keys() == after | {"my notes.txt"}
    assert after & before == {"report.json"}


def test_overwriting_a_folder_with_nothing_in_it_is_harmless(cli: Cli, planted: Path, film: Path) -> None:
    assert cli("explain", film, "-p", planted, "-o", "out", "--overwrite").code == 0


@pytest.mark.parametrize("options", [(), ("--overwrite",)])
def test_files_where_results_go_that_no_report_lists_are_neither_removed_nor_mixed_with(
    options: tuple[str, ...], cli: Cli, planted: Path, film: Path, tmp_path: Path
) -> None:
    foreign = tmp_path / "out" / "dicom" / "mine.dcm"
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"mine")
    cli("explain", film, "-p", planted, "-o", "out", *options).refused("dicom/mine.dcm", "move these files away")
    assert files_in(tmp_path / "out") == {"dicom/mine.dcm": b"mine"}


@pytest.mark.parametrize("content", ["[]", "{", '{"files": ["../precious"], "whyray": "1"}', '{"files": []}'])
def test_a_report_that_is_not_ours_removes_nothing(
    content: str, cli: Cli, planted: Path, film: Path, tmp_path: Path
) -> None:
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.json").write_text(content)
    cli("explain", film, "-p", planted, "-o", "out", "--overwrite").refused("report.json", "another folder")
    assert (tmp_path / "precious").read_text() == "mine"
    assert (tmp_path / "out" / "report.json").read_text() == content


def test_a_run_that_fails_leaves_the_earlier_results(cli: Cli, planted: Path, film: Path, tmp_path: Path) -> None:
    cli("explain", film, "-p", planted, "-o", "out")
    before = files_in(tmp_path / "out")
    (tmp_path / "torn.dcm").write_bytes(b"\0" * 128 + b"DICM")
    cli("explain", tmp_path / "torn.dcm", "-p", planted, "-o", "out", "--overwrite").refused("torn.dcm")
    assert files_in(tmp_path / "out") == before


def test_a_run_that_fails_leaves_no_new_folder(cli: Cli, planted: Path, tmp_path: Path) -> None:
    (tmp_path / "torn.dcm").write_bytes(b"\0" * 128 + b"DICM")
    cli("explain", tmp_path / "torn.dcm", "-p", planted, "-o", "new/out").refused("torn.dcm")
    assert not (tmp_path / "new").exists()


def test_ctrl_c_while_results_are_written_leaves_nothing_half_written(
    cli: Cli, planted: Path, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(whyray.jobs.files, "write_picture", interrupted)
    said = cli("explain", film, "-p", planted, "-o", "out")
    assert said.code == 130, said.everything
    assert "Traceback" not in said.everything
    assert not (tmp_path / "out").exists()


def test_what_a_killed_run_had_begun_is_cleared_away_by_the_next(
    cli: Cli, planted: Path, film: Path, tmp_path: Path
) -> None:
    begun = tmp_path / "out" / UNFINISHED / "dicom" / "half.dcm"
    begun.parent.mkdir(parents=True)
    begun.write_bytes(b"half")
    assert cli("explain", film, "-p", planted, "-o", "out").code == 0
    assert files_in(tmp_path / "out").keys() == listed_in(tmp_path / "out")


def test_a_run_killed_while_it_moved_its_results_is_told_and_can_be_overwritten(
    cli: Cli, planted: Path, film: Path, other: Path, tmp_path: Path
) -> None:
    cli("explain", film, "-p", planted, "-o", "out")
    out, making = tmp_path / "out", tmp_path / "out" / UNFINISHED
    making.mkdir()
    (out / "report.json").rename(making / "report.json")
    (out / "pictures").rename(making / "pictures")
    cli("explain", other, "-p", planted, "-o", "out").refused("interrupted run", "--overwrite")
    assert cli("explain", other, "-p", planted, "-o", "out", "--overwrite").code == 0
    assert files_in(out).keys() == listed_in(out)


def test_two_runs_at_once_into_one_folder_are_one_too_many(tmp_path: Path) -> None:
    with (
        results_folder(tmp_path / "out"),
        pytest.raises(ConfigError, match="at this moment"),
        results_folder(tmp_path / "out", overwrite=True),
    ):
        pass


def test_results_within_the_folder_of_the_images_are_not_explained_in_their_turn(
    cli: Cli, planted: Path, film: Path, tmp_path: Path
) -> None:
    cli("explain", film.parent, "-p", planted, "-o", film.parent)
    said = cli("explain", film.parent, "-p", planted, "-o", film.parent, "--overwrite")
    assert said.code == 0, said.everything
    report = json.loads((film.parent / "report.json").read_text("utf-8"))
    assert [image["sop_instance_uids"] for image in report["images"]] == [[film.stem]]
    assert not any("passed over" in note for note in report["notes"])


def test_a_file_that_would_be_removed_is_not_taken_as_an_image(
    cli: Cli, planted: Path, film: Path, tmp_path: Path
) -> None:
    cli("explain", film, "-p", planted, "-o", "out")
    picture = next((tmp_path / "out" / "pictures").iterdir())
    cli("explain", picture, "-p", planted, "-o", "out", "--overwrite").refused(picture.name, "another folder")
    assert picture.is_file()


@pytest.mark.parametrize("kind", ["dicom", "picture"])
def test_results_of_an_earlier_run_among_the_images_are_not_explained_into_another_folder(
    kind: str, cli: Cli, planted: Path, film: Path, tmp_path: Path
) -> None:
    """Pages of an earlier run were taken for images; beside pictures they were all that was taken."""
    if kind == "picture":
        cli("explain", film, "-p", planted, "-o", "made")
        picture = next((tmp_path / "made" / "pictures").iterdir())
        Image.fromarray(np.asarray(Image.open(picture).convert("L"))).save(film.with_suffix(".png"))
        film.unlink()
    for name in ("one", "two"):
        said = cli("explain", film.parent, "-p", planted, "-o", film.parent / name)
        assert said.code in (0, 3), said.everything
    report = json.loads((film.parent / "two" / "report.json").read_text("utf-8"))
    assert len(report["images"]) == 1
    assert any("result of WhyRay" in note for note in report["notes"])


def test_pages_that_come_with_a_study_out_of_the_pacs_are_passed_over(
    cli: Cli, planted: Path, film: Path, tmp_path: Path
) -> None:
    cli("explain", film, "-p", planted, "-o", "out")
    for page in (tmp_path / "out" / "dicom").glob("sc-*.dcm"):
        page.rename(film.parent / page.name)
    cli("explain", film.parent, "-p", planted, "-o", "again")
    report = json.loads((tmp_path / "again" / "report.json").read_text("utf-8"))
    assert [image["sop_instance_uids"] for image in report["images"]] == [[film.stem]]


@pytest.mark.parametrize("kind", ["dicom", "picture"])
def test_what_another_run_is_still_making_is_not_taken_for_an_image(
    kind: str, cli: Cli, planted: Path, film: Path, tmp_path: Path
) -> None:
    """Half-made results have no report.json beside them that tells them."""
    making = film.parent / "out" / UNFINISHED
    cli("explain", film, "-p", planted, "-o", "made")
    making.mkdir(parents=True)
    for folder in ("dicom", "pictures"):
        (tmp_path / "made" / folder).rename(making / folder)
    if kind == "picture":
        picture = next((making / "pictures").iterdir())
        Image.fromarray(np.asarray(Image.open(picture).convert("L"))).save(film.with_suffix(".png"))
        film.unlink()
    said = cli("explain", film.parent, "-p", planted, "-o", "again")
    assert said.code in (0, 3), said.everything
    report = json.loads((tmp_path / "again" / "report.json").read_text("utf-8"))
    assert len(report["images"]) == 1
    assert not report["refused"]
    assert not any("passed over" in note for note in report["notes"])
