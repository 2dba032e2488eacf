"""`whyray package onboard`: a file and a folder of images become a package that says what it can give."""

from __future__ import annotations

import html
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.external_data_helper import convert_model_to_external_data
from PIL import Image

from cli.conftest import Cli
from planted import BRIGHT, planted_package
from quality.test_weights_that_learned_nothing import SQUARE, drawn
from quality.test_weights_that_learned_nothing import package as widened_package
from synthetic import radiograph, slices, stack, write
from whyray.base.errors import PackageError
from whyray.cli.onboard import print_report
from whyray.imaging import ModelGrid
from whyray.inference import load_package
from whyray.onboarding import check_package, onboard
from whyray.onboarding.onboarding_page import page
from whyray.packages import install_package, read_package
from whyray.packages.randomisation_report import ALL, HALF, IMAGES, ORDER_KEPT, SIMILARITY, check_outcomes

QUICK = ("-m", "grad-cam", "-m", "occlusion")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Twelve films with a bright square each, whose places boxes.csv and labels.csv tell."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    boxes, labels = ["image,target,x,y,width,height"], [f"image,{BRIGHT}"]
    for number in range(12):
        pixels = rng.integers(0, 60, (100, 80), dtype=np.uint8)
        row, column = (int(coordinate) for coordinate in rng.integers(10, 60, 2))
        pixels[row : row + 15, column : column + 10] = 250
        name = f"film {number:02}.png"
        Image.fromarray(pixels).save(folder / name)
        boxes.append(f"{name},{BRIGHT},{column},{row},10,15")
        boxes.append(f"{name},Something else,0,0,5,5")
        labels.append(f"{name},1")
    (tmp_path / "boxes.csv").write_text("\n".join(boxes))
    (tmp_path / "labels.csv").write_text("\n".join(labels))
    return folder


def test_an_onnx_file_a_manifest_and_pictures_become_an_installed_and_measured_package(
    cli: Cli, planted: Path, pictures: Path, tmp_path: Path
) -> None:
    loose = tmp_path / "loose"
    loose.mkdir()
    shutil.copy(planted / "model.onnx", loose / "MY.onnx")
    shutil.copy(planted / "model.yaml", loose / "my.yaml")
    said = cli(
        *("package", "onboard", loose / "MY.onnx", "--manifest", loose / "my.yaml", "--images", pictures),
        *("--out", tmp_path / "site", "--truth", tmp_path / "boxes.csv", "--labels", tmp_path / "labels.csv", *QUICK),
    )
    assert said.code == 0, said.everything
    folder = tmp_path / "site" / "planted" / "1.0.0"
    report = json.loads((folder / "onboarding" / "report.json").read_text())
    assert report["images"] == 12
    assert report["tier"] == load_package(folder).reported_tier
    assert set(report["methods"]) == {"grad-cam", "occlusion"}
    # The planted model lights the bright square itself: the boxes must have come to the right place.
    localisation = report["methods"]["grad-cam"]["localisation"]
    assert (localisation["hits"], localisation["boxes"], localisation["patients"]) == (12, 12, 12)
    assert localisation["maps"]["iou"]["value"] > 0.5
    assert localisation["ahead"]["IoU"]["difference"]["low"] > 0
    assert "maps of this package hit 12 of 12 boxed findings; the centre of the image hits" in said.everything
    assert report["calibration"][BRIGHT]["positive"] == 12
    assert "Localisation" in (folder / "onboarding" / "report.html").read_text()
    assert "grad-cam" in said.out
    assert "report.json" in said.everything
    assert f"next: whyray package show {folder}" in said.everything
    # the planted model has one weight, which shuffling leaves in its place
    assert "Maps withheld: they hardly change when the network's weights are shuffled" in said.everything
    assert {finding.severity for finding in check_package(folder)} <= {"warning"}


CHECKS: dict[str, tuple[float | None, float, str]] = {
    "hair": (0.226, 0.1, "failed"),
    "empty": (None, 0.0, "not checked"),
    "edges": (0.1, 0.95, "maps withheld"),
    "fine": (0.1, 0.1, "passed"),
}
"""By method, SSIM and rank correlation with other weights, and what is said of them; unrelated maps share 0.219."""


def checked_entry(similarity: float | None, kept: float) -> dict[str, object]:
    stages = {HALF: None if similarity is None else kept, ALL: None if similarity is None else kept}
    sanity = {
        SIMILARITY: dict.fromkeys(stages, similarity),
        ORDER_KEPT: stages,
        IMAGES: 4,
        "SSIM of unrelated maps": 0.219,
    }
    sanity["passed"] = similarity is not None and similarity <= 0.219
    grades = {"green": 1, "amber": 0, "red": 0}
    entry = {"tier": "T0", "seconds": 1.0, "forward passes": 1, "grades": grades, "refusals": [], "parameters": {}}
    return {**entry, "sanity": sanity}


def test_maps_by_few_shuffled_weights_alone_are_no_check(planted: Path) -> None:
    """With all of them shuffled no map was made: the check was not passed, whatever a former stage says."""
    entry = checked_entry(0.1, 0.1)
    entry["sanity"] |= {SIMILARITY: {"25% of the weights": 0.1, HALF: None, ALL: None}, "passed": True}
    outcomes = check_outcomes({"methods": {"grad-cam": entry}}, read_package(planted))
    assert outcomes["grad-cam"] == "not checked"


@pytest.mark.parametrize("entry", [{"sanity": {SIMILARITY: {ALL: 0.1}}}, {"sanity": {SIMILARITY: 1}}, {"sanity": 1}, 1])
def test_a_report_that_is_not_as_this_version_writes_it_is_refused_as_such(entry: object, planted: Path) -> None:
    with pytest.raises(PackageError, match="the randomisation check of grad-cam is not as this version writes it"):
        check_outcomes({"methods": {"grad-cam": entry}}, read_package(planted))


@pytest.mark.parametrize("methods", [("hair", "empty", "fine"), tuple(CHECKS)])
def test_the_randomisation_check_is_told_alike_by_command_page_and_show(
    methods: tuple[str, ...], cli: Cli, planted: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A check that was failed by a hair, or that nothing was put to, says not that maps show the image."""
    assert cli("package", "onboard", planted, "-i", pictures, "-m", "grad-cam", "--most", "1").code == 0
    path = planted / "onboarding" / "report.json"
    report = json.loads(path.read_text())
    report["methods"] = {name: checked_entry(*CHECKS[name][:2]) for name in methods}
    path.write_text(json.dumps(report))
    package = read_package(planted)
    for name in methods:
        assert check_outcomes(report, package)[name] == CHECKS[name][2]
        assert f"<td>{name}<td>" in page(report, package)
        cell = page(report, package).split(f"<td>{name}<td>")[1].split("</tr>")[0]
        assert f">{CHECKS[name][2]}<br>" in cell
        assert "None" not in cell
    capsys.readouterr()
    print_report(report, package, [])
    told = " ".join(capsys.readouterr().out.split())
    assert ("show the image rather than the model" in told) is ("edges" in methods)
    shown = " ".join(cli("package", "show", planted, "--no-card").out.split())
    passed = "Randomisation check: 1 of 2 methods passed; failed: hair; not checked: empty"
    if "edges" in methods:
        passed = "Randomisation check: 1 of 3 methods passed; failed: hair; not checked: empty; maps withheld: edges"
    assert passed in shown


def test_a_package_is_onboarded_on_dicom_where_it_lies_and_refused_images_are_told(
    cli: Cli, planted: Path, tmp_path: Path
) -> None:
    rng = np.random.default_rng(1)
    films = [radiograph(rng.integers(0, 4000, (70, 60)).astype(np.uint16)) for _ in range(2)]
    for number, film in enumerate(films):
        film.SOPInstanceUID = film.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
    files = write(films, tmp_path / "films")
    (tmp_path / "films" / "broken.dcm").write_bytes(files[0].read_bytes()[:900])
    said = cli("package", "onboard", planted, "-i", tmp_path / "films", "-m", "grad-cam", "--no-keep-images")
    assert said.code == 1
    assert "refused" in said.everything
    report = json.loads((planted / "onboarding" / "report.json").read_text())
    assert report["images"] == 2
    assert not (planted / "onboarding" / "references.npy").exists()


def test_slices_of_a_series_are_one_volume(cli: Cli, tmp_path: Path) -> None:
    package = planted_package(
        tmp_path / "packages", kind="volume", shape=(8, 16, 16), window=(0, 2000), modalities=("CT",)
    )
    planes = stack(10, (20, 24))
    rng = np.random.default_rng(2)
    write(slices(rng.integers(-900, 900, (10, 20, 24)).astype(np.int16), planes), tmp_path / "series")
    said = cli("package", "onboard", package, "-i", tmp_path / "series", "-m", "grad-cam", "-o", tmp_path / "copy")
    assert said.code == 0, said.everything
    report = json.loads((tmp_path / "copy" / "planted" / "1.0.0" / "onboarding" / "report.json").read_text())
    assert report["images"] == 1
    assert not (package / "onboarding").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("model.onnx",), "needs --manifest and --out"),
        (("model.onnx", "--manifest", "model.yaml"), "needs --manifest and --out"),
        ((".", "--manifest", "model.yaml"), "has its manifest already"),
        ((".", "-m", "grad-kam"), "no explanation method 'grad-kam'"),
        ((".", "--truth", "model.yaml"), "expected the columns image, target"),
        ((".", "--images", "nowhere"), "no file or folder nowhere"),
    ],
)
def test_wishes_that_can_not_be_met_are_refused_before_anything_is_written(
    cli: Cli, planted: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch, change: tuple[str, ...], words: str
) -> None:
    monkeypatch.chdir(planted)
    reference = str(planted) if change[0] == "." else change[0]
    before = sorted(planted.rglob("*"))
    cli("package", "onboard", reference, "--images", pictures, *change[1:]).refused(words)
    assert sorted(planted.rglob("*")) == before


def test_a_version_that_is_installed_is_not_overwritten_and_nothing_is_left_of_a_failure(
    planted: Path, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    folder = install_package(planted / "model.onnx", planted / "model.yaml", site)
    with pytest.raises(PackageError, match="is there already"):
        install_package(planted / "model.onnx", planted / "model.yaml", site)
    assert (folder / "MODEL_CARD.md").is_file()
    (planted / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(PackageError, match="not a readable ONNX graph"):
        install_package(planted / "model.onnx", planted / "model.yaml", tmp_path / "other")
    assert not list((tmp_path / "other").rglob("*.*"))


def test_weights_beside_the_graph_come_along_and_weights_elsewhere_are_refused(planted: Path, tmp_path: Path) -> None:
    proto = onnx.load(planted / "model.onnx")
    convert_model_to_external_data(proto, location="weights.bin", size_threshold=0)
    onnx.save(proto, planted / "model.onnx")
    folder = install_package(planted / "model.onnx", planted / "model.yaml", tmp_path / "site")
    x = np.random.default_rng(0).random((1, 1, 64, 64)).astype(np.float32)
    assert np.isfinite(load_package(folder).predict(x)).all()
    (planted / "weights.bin").rename(tmp_path / "weights.bin")
    with pytest.raises(PackageError, match="not a file in the graph's folder"):
        install_package(planted / "model.onnx", planted / "model.yaml", tmp_path / "second")


def test_boxes_lie_on_the_grid_as_on_the_film() -> None:
    from whyray.onboarding.images import _on_grid

    twice = ModelGrid((10, 10), np.array([[2.0, 0, 0.5], [0, 2.0, 0.5], [0, 0, 1]]))
    mask = _on_grid([(4, 8, 6, 2)], twice)
    assert np.argwhere(mask).tolist() == [[4, 2], [4, 3], [4, 4]]
    assert _on_grid([(4.1, 8.1, 0.2, 0.2)], twice).sum() == 1


def test_labels_that_are_not_there_are_told_with_what_the_file_holds(cli: Cli, planted: Path, tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    cli("package", "onboard", planted, "-i", "films", "--labels", "nowhere.csv").refused(
        "there is no file nowhere.csv", "columns image"
    )


def test_an_untrained_network_is_told_by_exit_code_report_and_show_and_withheld_though_it_was_onboarded(
    cli: Cli, pictures: Path, tmp_path: Path
) -> None:
    untrained = widened_package(tmp_path / "untrained", drawn(*SQUARE))
    film = next(pictures.glob("*.png"))
    said = cli("package", "onboard", untrained, "-i", pictures, "-m", "occlusion", "--explained", "1")
    assert said.code == 3, said.everything
    words = "100% of the weights that can be told are as random as if they had learned nothing: every explanation"
    assert f"warning: {words}" in said.everything
    assert words in (untrained / "onboarding" / "report.html").read_text()
    shown = cli("package", "show", untrained, "--no-card")
    assert f"Warning: {words}" in shown.everything
    explained = cli("explain", film, "-p", untrained, "-m", "occlusion", "-o", tmp_path / "out")
    assert explained.code == 3, explained.everything
    assert "as random as if it had learned nothing" in explained.everything


def test_answers_that_are_the_wrong_way_round_are_warned_of_and_one_class_claims_nothing(
    cli: Cli, planted: Path, pictures: Path, tmp_path: Path
) -> None:
    labels = [f"image,{BRIGHT},patient"]
    for number, film in enumerate(sorted(pictures.glob("*.png"))):
        if number % 2:
            Image.fromarray(np.full((100, 80), 30 + number, np.uint8)).save(film)
        labels.append(f"{film.name},{number % 2},{number // 2}")  # an image with and one without of each patient
    (tmp_path / "labels.csv").write_text("\n".join(labels))
    run = ("package", "onboard", planted, "-i", pictures, "--labels", tmp_path / "labels.csv", "-m", "grad-cam")
    said = cli(*run)
    assert said.code == 0, said.everything
    told = f"{BRIGHT}: AUC 0.00 (95 % interval 0.00 to 0."
    assert told in said.everything
    assert "6 images with it, 6 without, 6 patients" in said.everything
    assert f"warning: {BRIGHT}: answers are the wrong way round, AUC 0.00" in said.everything
    assert told in (planted / "onboarding" / "report.html").read_text()
    assert f"Onboarding: {told}" in cli("package", "show", planted, "--no-card").everything
    (tmp_path / "labels.csv").write_text("\n".join([labels[0], *(line.replace(",0,", ",1,") for line in labels[1:])]))
    again = cli(*run).everything
    assert f"{BRIGHT}: no AUC, it needs images with the finding and without: 12 images with it, 0 without" in again
    assert "AUC 0." not in again


def test_onboarding_tells_of_each_map_that_it_makes(planted: Path) -> None:
    told: list[str] = []
    x = np.zeros((1, 1, 64, 64), np.float32)
    onboard(
        load_package(planted), [x, x + 0.5], only=["occlusion"], progress=lambda done, total, words: told.append(words)
    )
    assert [words for words in told if "map " in words] == ["occlusion: map 1 of 2", "occlusion: map 2 of 2"]
    assert "occlusion: randomisation check" in told


def test_grades_at_onboarding_are_said_to_be_of_faithfulness_alone(cli: Cli, planted: Path, pictures: Path) -> None:
    """They were called green and amber, as pages' are; but pages ask for a scope and boxes, too."""
    said = cli("package", "onboard", planted, "-i", pictures, "-m", "grad-cam", "--explained", "2")
    written = (planted / "onboarding" / "report.html").read_text()
    report = json.loads((planted / "onboarding" / "report.json").read_text())
    for told in (said.everything, " ".join(html.unescape(written).split())):
        assert "faithful" in told
        assert "green" not in told
        assert "without boxes and a scope, explanations are to be used with caution at best" in told
    assert set(report["methods"]["grad-cam"]["grades"]) == {"green", "amber", "red"}


def test_a_network_without_a_large_layer_is_told_not_to_have_been_checked_for_learned_weights(
    cli: Cli, planted: Path, pictures: Path
) -> None:
    """A small network whose weights were drawn passed without a word."""
    words = "whether the weights learned anything can't be told: no layer has 32,768 weights or more"
    said = cli("package", "onboard", planted, "-i", pictures, "-m", "grad-cam", "--explained", "1")
    assert said.code == 0
    assert words in said.everything
    assert words in html.unescape((planted / "onboarding" / "report.html").read_text())
    assert words in cli("package", "show", planted, "--no-card").everything
    assert "of 32,768 weights or more" in cli("package", "onboard", "--help").everything


def test_onboarding_tells_what_the_check_of_the_package_warns_of(cli: Cli, planted: Path, pictures: Path) -> None:
    """That nothing keeps the package from answering about a leg was told by `whyray package check` alone."""
    (planted / "MODEL_CARD.md").unlink()
    said = cli("package", "onboard", planted, "-i", pictures, "-m", "grad-cam", "--explained", "1")
    assert said.code == 0
    assert "warning: no model card at MODEL_CARD.md" in said.everything
    assert "without a companion scope: nothing checks whether an image is one that the package was made for" in (
        said.everything
    )
    assert "not onboarded" not in said.everything
