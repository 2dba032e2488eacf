"""`whyray explain`: files in; DICOM, pictures and a report out; or a refusal that says what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import nibabel
import numpy as np
import pytest
import yaml
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field
from pydicom import Dataset, dcmread

from cli.conftest import Cli
from dciodvfy import errors_of
from planted import BRIGHT, planted_package
from synthetic import LATIN, ball, cine, radiograph, slices, stack, volume_of, write


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Measurement(_Strict):
    name: str
    aspect: str
    value: float | None
    baseline: float | None
    grade: str
    rule: str
    source: str


class Trust(_Strict):
    level: Literal["reliable", "caution", "not_shown"]
    name: str
    sentence: str | None
    record: str | None


class Quality(_Strict):
    trust: Trust
    grade: Literal["green", "amber", "red"]
    reasons: list[str]
    forwards: int = Field(ge=0)
    measurements: list[Measurement] = Field(min_length=1)


class Region(_Strict):
    rule: str
    share_of_image: float = Field(ge=0, le=1)


class TypedExplanation(BaseModel):
    """Fields of its own come with each type."""

    model_config = ConfigDict(extra="allow")

    method: str
    title: str
    type: str
    parameters: dict[str, Any]
    withheld: bool
    quality: Quality


class Explanation(_Strict):
    method: str
    title: str
    part: str | None
    layer: str | None
    parameters: dict[str, Any]
    unit: str
    signed: bool
    withheld: bool
    quality: Quality
    drift_numbers: dict[str, float]
    region: Region | None = None
    largest_value: float | None = None


class ImageNote(_Strict):
    kind: str
    detail: str


class Agreement(_Strict):
    value: float = Field(ge=0, le=1)
    methods: list[str]
    pairs: int
    by_chance: float


class Finding(_Strict):
    schema_version: Literal[1]
    finding: str
    frame: int | None
    frames_explained: list[int] | None
    code: dict[str, str] | None
    present: bool
    probability: float | None = Field(ge=0, le=1)
    threshold: float
    prevalence: dict[str, float] | None
    value: float | None
    unit: str | None
    explanations: list[Explanation]
    typed_explanations: list[TypedExplanation]
    refused: dict[str, str]
    agreement: Agreement | None
    package: dict[str, str]
    study: str
    images: list[str]
    results: list[str]
    notes: list[ImageNote]
    route: str
    at: str
    revision: int


class ReadImage(_Strict):
    series_instance_uid: str
    sop_instance_uids: list[str]
    frame: int | None
    kind: Literal["planar", "volume"]
    shape: list[int]
    notes: list[str]


class Stage(_Strict):
    stage: str
    own_s: float
    total_s: float
    times: int


class ReportFile(_Strict):
    """report.json, as scripts may rely on it."""

    notice: Literal["Not for diagnostic use."]
    whyray: str
    package: str
    digest: str
    at: str
    notes: list[str]
    images: list[ReadImage]
    findings: list[Finding]
    refused: list[str]
    withheld: list[str]
    no_statement: list[dict[str, object]]
    files: list[str]
    stages: list[Stage]


def report_in(folder: Path) -> ReportFile:
    text = (folder / "report.json").read_text("utf-8")
    report = ReportFile.model_validate(json.loads(text))
    assert LATIN.name not in text
    assert LATIN.identifier not in text
    for file_name in report.files:
        assert (folder / file_name).is_file()
    return report


def pixels() -> np.ndarray:
    film = np.full((64, 56), 300, np.uint16)
    film[20:30, 30:40] = 4000
    return film


@pytest.fixture
def film(tmp_path: Path) -> Path:
    (path,) = write([radiograph(pixels(), window=(2048, 4096))], tmp_path / "film")
    return path


def test_a_file_gives_dicom_pictures_and_a_report(cli: Cli, planted: Path, film: Path, tmp_path: Path) -> None:
    said = cli("explain", film, "--package", planted, "--out", "out")
    assert said.code == 0, said.everything
    assert BRIGHT in said.out
    assert "Not for diagnostic use" in said.out
    report = report_in(tmp_path / "out")
    assert report.package == "planted@1.0.0"
    assert report.refused == []
    (finding,) = report.findings
    assert (finding.finding, finding.present) == (BRIGHT, True)
    assert [explanation.method for explanation in finding.explanations] == ["grad-cam"]
    (image,) = report.images
    assert image.sop_instance_uids == finding.images == [film.stem]
    datasets = [dcmread(tmp_path / "out" / name) for name in report.files if name.endswith(".dcm")]
    assert {dataset.Modality for dataset in datasets} >= {"SEG", "SR"}
    assert {dataset.PatientID for dataset in datasets} == {LATIN.identifier}
    assert any(name.endswith(".png") for name in report.files)


def test_a_report_says_where_the_time_went_and_the_terminal_when_asked(
    cli: Cli, planted: Path, film: Path, tmp_path: Path
) -> None:
    said = cli("explain", film, "-p", planted, "-o", "out", "--timings")
    stages = {stage.stage: stage for stage in report_in(tmp_path / "out").stages}
    assert {"reading", "forward passes", "grad-cam", "evaluation", "drawing", "DICOM encoding"} <= set(stages)
    assert all(stage in said.out for stage in stages)
    # each second is in one stage's own time, to the rounding of what is written
    assert sum(stage.own_s for stage in stages.values()) == pytest.approx(stages["anything else"].total_s, abs=0.01)


def test_a_prevalence_moves_probability_and_threshold_and_calls_the_same_present(
    cli: Cli, planted: Path, film: Path, tmp_path: Path
) -> None:
    manifest = yaml.safe_load((planted / "model.yaml").read_text())
    cli("explain", film, "-p", planted, "-o", "out", "--prevalence", f"{BRIGHT}=2%").refused(BRIGHT, "states no")
    manifest["targets"][0] |= {"calibration": [1.0, 0.0], "prevalence": 0.2}
    (planted / "model.yaml").write_text(yaml.safe_dump(manifest))
    cli("explain", film, "-p", planted, "-o", "out", "--prevalence", f"{BRIGHT}=2").refused("2% or 0.02")
    said = cli("explain", film, "-p", planted, "-o", "out", "--prevalence", f"{BRIGHT}=2%")
    assert said.code == 0, said.everything
    (finding,) = report_in(tmp_path / "out").findings
    assert finding.present
    assert finding.threshold == pytest.approx(4 * 0.02 / 0.98 / (1 + 4 * 0.02 / 0.98))
    assert finding.prevalence is not None
    assert (finding.prevalence["value"], finding.prevalence["stated"]) == (0.02, 0.2)
    assert "20 %" in cli("package", "show", planted, "--no-card").out


def test_several_methods_with_parameters_and_seed_are_all_there(
    cli: Cli, planted: Path, film: Path, tmp_path: Path
) -> None:
    methods = ("-m", "grad-cam", "-m", "rise", "-m", "occlusion")
    parameters = ("--param", "rise.masks=40", "--param", "rise.centred=false", "--param", "occlusion.fill=zero")
    said = cli("explain", film, "-p", planted, "-o", "out", *methods, *parameters, "--seed", 7, "-t", BRIGHT)
    assert said.code == 0, said.everything
    finding = report_in(tmp_path / "out").findings[0]
    explanations = {explanation.method: explanation for explanation in finding.explanations}
    assert set(explanations) == {"grad-cam", "rise", "occlusion"}
    rise = explanations["rise"].parameters
    assert (rise["masks"], rise["centred"], rise["seed"]) == (40, False, 7)
    assert explanations["occlusion"].parameters["fill"] == "zero"
    agreed = finding.agreement
    shown = [name for name, explanation in explanations.items() if not explanation.withheld]
    assert agreed is not None
    assert (agreed.methods, agreed.pairs, agreed.by_chance) == (shown, len(shown) * (len(shown) - 1) // 2, 0.1)
    words = f"the strongest tenths of {len(shown)} maps overlap by {agreed.value:.0%} (by chance 10%)"
    assert words in " ".join(said.everything.split())


def test_a_folder_is_searched_for_dicom_files_and_other_files_are_left_alone(
    cli: Cli, planted: Path, film: Path, tmp_path: Path
) -> None:
    (film.parent / "notes.txt").write_text("not DICOM")
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(film.parent / "thumbnail.png")
    assert cli("explain", film.parent, "-p", planted, "-o", "out").code == 0
    assert report_in(tmp_path / "out").images[0].sop_instance_uids == [film.stem]


def test_a_volume_is_explained(cli: Cli, tmp_path: Path) -> None:
    package = planted_package(
        tmp_path / "packages",
        name="planted-volume",
        kind="volume",
        shape=(16, 32, 32),
        spacing=(2.0, 1.0, 1.0),
        window=(-350.0, 1300.0),
    )
    planes = stack(12, (40, 36), distance=2.0)
    write(slices(volume_of(planes, ball((0, 0, 0), 6.0)), planes), tmp_path / "scan")
    assert cli("explain", tmp_path / "scan", "-p", package, "-o", "out").code == 0
    (image,) = report_in(tmp_path / "out").images
    assert (image.kind, image.shape) == ("volume", [12, 40, 36])


def test_a_nifti_volume_is_explained_as_the_series_that_it_was(cli: Cli, tmp_path: Path) -> None:
    name = "scan.nii.gz"
    package = planted_package(
        tmp_path / "packages",
        name="planted-volume",
        kind="volume",
        shape=(16, 32, 32),
        spacing=(2.0, 1.0, 1.0),
        window=(-350.0, 1300.0),
    )
    planes = stack(12, (40, 36), distance=2.0, rotation=(10.0, -5.0, 20.0), centre=(30.0, -20.0, 50.0))
    values = volume_of(planes, ball((31.0, -20.0, 50.0), 6.0))
    write(slices(values, planes), tmp_path / "scan")
    rows, columns = planes[0].spacing
    steps = [np.multiply(planes[0].row, columns), np.multiply(planes[0].column, rows)]
    steps += [np.subtract(planes[1].position, planes[0].position), np.asarray(planes[0].position)]
    affine = np.diag([-1.0, -1, 1, 1]) @ np.vstack([np.column_stack(steps), [0, 0, 0, 1]])
    nibabel.save(nibabel.Nifti1Image(values.transpose(2, 1, 0), affine), tmp_path / name)

    cli("explain", tmp_path / name, "-p", package, "-o", "none").refused("ImageError", name, "--modality CT")
    named = cli("explain", tmp_path / "scan", "--modality", "CT", "-p", package, "-o", "none")
    named.refused("ImageError", "no NIfTI volume", "Leave --modality out")
    (tmp_path / "folder").mkdir()
    (tmp_path / name).rename(tmp_path / "folder" / name)
    said = cli("explain", tmp_path / "folder", "--modality", "CT", "-p", package, "-o", "nifti", "--as", "seg")
    assert said.code == 0, said.everything
    assert "taken as CT of nobody, placed by its sform" in said.everything
    assert cli("explain", tmp_path / "scan", "-p", package, "-o", "dicom", "--as", "seg").code == 0
    one, other = (report_in(tmp_path / folder).findings[0] for folder in ("nifti", "dicom"))
    assert one.probability == pytest.approx(other.probability, rel=1e-4)
    marked = {folder: next((tmp_path / folder / "dicom").glob("seg-*.dcm")) for folder in ("nifti", "dicom")}
    assert errors_of(marked["nifti"].read_bytes()) == []
    centres = [_centre(dcmread(path)) for path in marked.values()]
    np.testing.assert_allclose(centres[0], centres[1], atol=0.05)
    np.testing.assert_allclose(centres[0], (31.0, -20.0, 50.0), atol=3.0)
    assert not dcmread(marked["nifti"]).PatientName


def _centre(segmentation: Dataset) -> np.ndarray:
    """Of a segmentation's marked pixels, in mm of the patient, by its own functional groups."""
    shared = segmentation.SharedFunctionalGroupsSequence[0]
    orientation = np.asarray(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float).reshape(2, 3)
    spacing = np.asarray(shared.PixelMeasuresSequence[0].PixelSpacing, float)
    places = []
    for frame, groups in zip(segmentation.pixel_array, segmentation.PerFrameFunctionalGroupsSequence, strict=True):
        corner = np.asarray(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        for row, column in np.argwhere(frame):
            places.append(corner + orientation[0] * column * spacing[1] + orientation[1] * row * spacing[0])
    return np.mean(places, axis=0)


@pytest.mark.parametrize("name", ["film.png", "film.jpg"])
def test_a_picture_is_explained_without_inventing_a_patient(name: str, cli: Cli, planted: Path, tmp_path: Path) -> None:
    Image.fromarray((pixels() // 16).astype(np.uint8)).save(tmp_path / name)
    said = cli("explain", tmp_path / name, "-p", planted, "-o", "out")
    assert said.code == 0, said.everything
    assert "a picture, not DICOM" in said.everything
    report = report_in(tmp_path / "out")
    assert report.findings[0].present
    assert any(note.startswith(f"{name}: a picture, not DICOM") for note in report.notes)
    for file_name in report.files:
        if file_name.endswith(".dcm"):
            result = dcmread(tmp_path / "out" / file_name)
            assert not result.PatientName
            assert not result.PatientID
            assert errors_of((tmp_path / "out" / file_name).read_bytes()) == []


def test_sixteen_bit_pictures_of_a_folder_are_each_explained(cli: Cli, planted: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in (1, 2):
        Image.fromarray(pixels() * 10 + number).save(folder / f"{number}.png")
    said = cli("explain", folder, "-p", planted, "-o", "out")
    assert said.code == 0, said.everything
    report = report_in(tmp_path / "out")
    assert len({image.series_instance_uid for image in report.images}) == 2
    assert "image" in said.out


def test_what_a_package_cannot_give_is_refused_in_the_report_and_by_exit_code_1(
    cli: Cli, planted: Path, film: Path, tmp_path: Path
) -> None:
    said = cli("explain", film, "-p", planted, "-o", "out", "-m", "grad-cam", "-m", "seg-grad-cam")
    assert said.code == 1
    assert "refused: seg-grad-cam" in said.everything
    report = report_in(tmp_path / "out")
    assert any("seg-grad-cam explains segmentation" in words for words in report.refused)
    assert [explanation.method for explanation in report.findings[0].explanations] == ["grad-cam"]


def test_a_file_that_cannot_be_read_beside_good_ones_is_refused_by_name(
    cli: Cli, planted: Path, film: Path, tmp_path: Path
) -> None:
    (tmp_path / "torn.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\1\2\3")
    said = cli("explain", film, tmp_path / "torn.dcm", "-p", planted, "-o", "out")
    assert said.code == 1
    assert any("torn.dcm" in words for words in report_in(tmp_path / "out").refused)


def test_an_explanation_that_fails_its_measurements_is_withheld_and_said_to_be(
    cli: Cli, planted: Path, tmp_path: Path
) -> None:
    """An image without the spot gives a map that is zero everywhere."""
    (empty,) = write([radiograph(np.full((64, 56), 300, np.uint16), window=(2048, 4096))], tmp_path / "empty")
    said = cli("explain", empty, "-p", planted, "-o", "out", "-t", BRIGHT)
    assert said.code == 3, "all was made, and an evaluation withholds it"
    assert "not shown" in said.out
    report = report_in(tmp_path / "out")
    (explanation,) = report.findings[0].explanations
    assert explanation.withheld
    assert explanation.region is None
    (words,) = report.withheld
    assert words.endswith("Not shown: the method highlighted nothing.")
    assert any("zero everywhere" in reason for reason in explanation.quality.reasons)
    assert report.refused == []
    assert "withheld: Grad-CAM of " in said.everything
    kinds = {dcmread(tmp_path / "out" / name).Modality for name in report.files if name.endswith(".dcm")}
    assert "SEG" not in kinds, "there is no region to show"


REFUSALS = {
    "unknown method": (("-m", "grad-cma"), ("ConfigError", "grad-cma", "Did you mean 'grad-cam'?")),
    "method like no other": (("-m", "nope"), ("ConfigError", "nope", "`whyray package methods` shows")),
    "unknown kind of result": (("--as", "sgg"), ("sgg", "seg")),
    "unknown target": (("-t", "Mass"), ("ModelOutputError", "Mass", BRIGHT)),
    "unknown parameter": (("-m", "rise", "--param", "rise.mask=4"), ("ConfigError", "mask", "masks")),
    "wrong value": (("-m", "rise", "--param", "rise.masks=many"), ("ConfigError", "masks")),
    "misshapen parameter": (("--param", "masks=4"), ("ConfigError", "METHOD.NAME=VALUE")),
    "parameter of another method": (("--param", "rise.masks=4"), ("rise is not asked for", "--method rise")),
    "parameter of no method": (("--param", "rice.masks=4"), ("rice", "Did you mean 'rise'?")),
    "unknown language": (("--language", "tlh"), ("ConfigError", "tlh", "en")),
    "no such configuration": (("--config", "nowhere.yaml"), ("ConfigError", "nowhere.yaml")),
    "a GPU that is not there": (("--device", "cuda"), ("cuda",)),
}


@pytest.mark.parametrize("options", REFUSALS.values(), ids=REFUSALS)
def test_a_wish_that_cannot_be_met_is_refused_in_two_lines_and_nothing_is_written(
    options: tuple[tuple[str, ...], tuple[str, ...]], cli: Cli, planted: Path, film: Path, tmp_path: Path
) -> None:
    wish, words = options
    said = cli("explain", film, "-p", planted, "-o", "out", *wish)
    said.refused(*words)
    assert "line named" not in said.err, "there is no file, and no line"
    assert not (tmp_path / "out").exists()


def test_an_unknown_package_is_refused_with_the_nearest(cli: Cli, film: Path) -> None:
    cli("explain", film, "-p", "cxr-finding", "-o", "out").refused("NotFound", "cxr-finding", "cxr-findings")


def test_paths_that_hold_nothing_usable_are_refused(cli: Cli, planted: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("not DICOM")
    colour = np.zeros((8, 8, 3), np.uint8)
    colour[..., 0] = 200
    Image.fromarray(colour).save(tmp_path / "colour.png")
    cli("explain", "nowhere.dcm", "-p", planted, "-o", "out").refused("NotFound", "nowhere.dcm")
    cli("explain", tmp_path / "empty", "-p", planted, "-o", "out").refused("ImageError", "no DICOM file, PNG or JPEG")
    cli("explain", tmp_path / "notes.txt", "-p", planted, "-o", "out").refused("DecodeError", "DICOM")
    cli("explain", tmp_path / "colour.png", "-p", planted, "-o", "out").refused("ImageError", "colour.png")


def test_a_study_that_is_not_for_the_package_is_refused(cli: Cli, planted: Path, tmp_path: Path) -> None:
    planes = stack(6, (16, 16))
    scan = write(slices(volume_of(planes, ball((0, 0, 0), 4.0)), planes), tmp_path / "scan")
    cli("explain", *scan, "-p", planted, "-o", "out").refused("ImageError", "study 2.25.", "planted@1.0.0", "volume")


def test_a_model_that_answers_with_nan_is_refused(cli: Cli, packages: Path, film: Path) -> None:
    planted_package(packages, shape=(64, 64), broken="nan")
    cli("explain", film, "-p", packages / "planted", "-o", "out").refused("ModelOutputError", "study 2.25.", "NaN")


def test_a_folder_that_cannot_be_written_is_told_without_a_trace(
    cli: Cli, planted: Path, film: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").write_text("a file, where a folder should be")
    cli("explain", film, "-p", planted, "-o", "out").refused("out")


def test_a_cine_gives_one_object_a_kind_and_says_which_frames_are_explained(cli: Cli, tmp_path: Path) -> None:
    planted = planted_package(tmp_path / "ultrasound", modalities=("US",))
    stored = np.full((18, 64, 56), 20, np.uint8)
    stored[7:9, 20:30, 30:40] = 250
    write([cine(stored)], tmp_path / "cine")
    said = cli("explain", tmp_path / "cine", "--package", planted, "--out", "out")
    assert said.code == 0, said.everything
    report = report_in(tmp_path / "out")
    assert [image.frame for image in report.images] == list(range(1, 19))
    assert [finding.frame for finding in report.findings if finding.present] == [8, 9]
    explained = {finding.frame for finding in report.findings if finding.explanations}
    assert explained == {8, 9}
    (note,) = (note for note in report.notes if note.startswith("Explained: "))
    assert note.startswith("Explained: 2 of 18 frames, those with the clearest answers (8-9)")
    assert note in said.out.replace("\n", "")
    assert sorted(name.split("/")[1].split("-")[0] for name in report.files if name.endswith(".dcm")) == [
        "sc",
        "sc",
        "seg",
        "sr",
    ]
    assert "frame 8" in said.out
