"""`whyray concepts`: from a folder of films and a table to an artefact that methods find."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from cli.conftest import Cli
from explain.concepts.planted_concepts import CELL, CELLS, GRID, concept_package, images
from whyray.explain import explain
from whyray.explain.concepts import find_bank
from whyray.inference import load_package
from whyray.packages import read_artefact

FAST = ("--copies", 4, "--random", 20)
COUNT = 60


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    return concept_package(tmp_path / "packages", named=False, head="curved")


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """Sixty films whose cells of concepts are bright or dark, and labels.csv beside them."""
    folder = tmp_path / "films"
    folder.mkdir()
    rng = np.random.default_rng(4)
    lines = ["image,alpha,beta,rare,level [%],ward,first,patient"]
    for number in range(COUNT):
        levels = rng.uniform(0.2, 0.8, (GRID, GRID))
        pixels = (levels.repeat(CELL, axis=0).repeat(CELL, axis=1) * 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02}.png")
        alpha, beta = (levels.reshape(-1)[CELLS[name]] for name in ("alpha", "beta"))
        seen = [int(alpha > 0.5), int(beta > 0.5), int(number < 3), f"{alpha * 100:.1f}", "west", int(alpha > beta)]
        lines.append(",".join(map(str, [f"{number:02}.png", *seen, number // 2])))
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    return folder


def test_films_and_a_table_become_an_artefact_in_the_onboarding_folder(
    cli: Cli, cells: Path, films: Path, tmp_path: Path
) -> None:
    said = cli("concepts", "fit", cells, "-i", films, "-l", tmp_path / "labels.csv", *FAST)
    assert said.code == 1, "two columns were left out"
    assert "left out: rare needs 10 images with it and 10 without, found 3 and 57" in said.everything
    assert "left out: column 'ward'" in said.everything
    assert "AUC" in said.out
    assert "R²" in said.out
    artefact = read_artefact(cells / "onboarding" / "concepts.npz")
    assert artefact.facts.count == COUNT
    names = [concept["name"] for concept in artefact.facts.details["concepts"]]
    assert names[:4] == ["alpha", "beta", "level", "first"]
    assert "brightness" in names
    assert next(e["unit"] for e in artefact.facts.details["concepts"] if e["name"] == "level") == "%"
    explanation = explain(load_package(cells), images(1)[0], target="first", method="tcav")
    assert {concept.name for concept in explanation.concepts} >= {"alpha", "beta"}  # type: ignore[union-attr]


def test_only_the_columns_asked_for_are_taken_and_nothing_is_left_out_then(
    cli: Cli, cells: Path, films: Path, tmp_path: Path
) -> None:
    said = cli(
        *("concepts", "fit", cells, "-i", films, "-l", tmp_path / "labels.csv", "--concept", "alpha"),
        *("--patient", "patient", "--no-image-measures", "--source", "films of a test", *FAST),
    )
    assert said.code == 0, said.everything
    artefact = read_artefact(cells / "onboarding" / "concepts.npz")
    assert [concept["name"] for concept in artefact.facts.details["concepts"]] == ["alpha"]
    assert artefact.facts.source == "films of a test"


def test_a_sites_folder_of_artefacts_is_written_and_read(cli: Cli, cells: Path, films: Path, tmp_path: Path) -> None:
    site = tmp_path / "whyray.yaml"
    site.write_text(
        yaml.safe_dump(
            {
                "state": str(tmp_path / "state"),
                "packages": {"folders": [str(tmp_path / "packages")], "artefacts": str(tmp_path / "artefacts")},
                "destinations": {"pacs": {"ae_title": "PACS", "host": "127.0.0.1", "port": 104}},
                "routes": [
                    {"name": "all", "when": {"Modality": "CR"}, "run": "cells@1", "send": {"to": ["pacs"]}},
                ],
            }
        )
    )
    labels = tmp_path / "labels.csv"
    said = cli("concepts", "fit", "cells", "-i", films, "-l", labels, "-c", site, "--concept", "alpha", *FAST)
    assert said.code == 0, said.everything
    assert (tmp_path / "artefacts" / "cells" / "1.0.0" / "concepts.npz").is_file()
    assert not (cells / "onboarding").exists()
    shown = cli("concepts", "show", "cells", "--config", site)
    assert shown.code == 0, shown.everything
    assert "alpha" in shown.out
    assert "post-hoc-concepts" in shown.out


def test_a_package_without_concepts_says_how_to_make_them(cli: Cli, cells: Path) -> None:
    cli("concepts", "show", cells).refused("ArtefactMissing", "concepts", "whyray concepts fit")


def test_the_images_are_found_by_file_name_and_others_are_told(
    cli: Cli, cells: Path, films: Path, tmp_path: Path
) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text(labels.read_text().replace("05.png", "gone.png"))
    said = cli("concepts", "fit", cells, "-i", films, "-l", labels, "--concept", "alpha", *FAST)
    assert said.code == 0, said.everything
    assert read_artefact(cells / "onboarding" / "concepts.npz").facts.count == COUNT - 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--concept", "ward"), "column 'ward' holds no numbers only"),
        (("--concept", "rare"), "too few examples of every concept: rare needs 10 images with it and 10 without"),
        (("--concept", "nobody"), "found no nobody"),
        (("--layer", "nowhere", "--concept", "alpha"), "'nowhere'"),
    ],
)
def test_wishes_that_can_not_be_met_are_refused_and_nothing_is_written(
    cli: Cli, cells: Path, films: Path, tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    said = cli("concepts", "fit", cells, "-i", films, "-l", tmp_path / "labels.csv", *options, *FAST)
    assert said.code == 2
    assert words in said.everything
    assert not (cells / "onboarding").exists()


def test_a_folder_without_a_labelled_image_is_refused(cli: Cli, cells: Path, films: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("image,alpha\nother.png,1\nanother.png,0")
    said = cli("concepts", "fit", cells, "-i", films, "-l", labels, *FAST)
    assert said.code == 2
    assert "no image is in labels.csv" in said.everything


def test_the_chest_package_learns_from_real_films_how_they_were_taken(
    cli: Cli, shared_data: Path, tmp_path: Path
) -> None:
    import csv
    import shutil

    from whyray.packages import BUNDLED

    package = tmp_path / "cxr-findings" / "1.0.0"
    shutil.copytree(BUNDLED / "cxr-findings" / "1.0.0", package)
    rows = list(csv.DictReader((shared_data / "nih-cxr" / "labels.csv").open()))
    chosen = [row for row in rows if row["View Position"] == "AP"][:25]
    chosen += [row for row in rows if row["View Position"] == "PA"][:35]
    films = [shared_data / "nih-cxr" / "images" / row["Image Index"] for row in chosen]
    lines = [f"{row['Image Index']},{int(row['View Position'] == 'AP')},{row['Patient Age']}" for row in chosen]
    (tmp_path / "labels.csv").write_text("\n".join(["image,portable,age [a]", *lines]))
    options = [part for film in films for part in ("-i", film)]
    said = cli("concepts", "fit", package, *options, "-l", tmp_path / "labels.csv", *FAST)
    assert said.code == 0, said.everything
    bank = find_bank(load_package(package))
    assert bank is not None
    assert bank.directions is not None
    known = dict(zip([concept.name for concept in bank.concepts], bank.directions.held_out, strict=True))
    assert known["portable"] > 0.8
    assert known["contrast"] > 0.3
    assert "cardiothoracic ratio" in known
