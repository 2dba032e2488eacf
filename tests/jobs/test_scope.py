"""An image unlike those that a package was made for gets neither finding nor map: an outcome, told on every way out."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import yaml
from pydicom import Dataset, dcmread
from sqlalchemy import select

import mammography
from planted import planted_package
from planted_scope import planted_scope, with_scope
from site_under_test import ROUTE, Site, film
from synthetic import radiograph, slices, stack
from whyray.admin.describe import job_detail
from whyray.catalog import Event, Job, JobState, ResultRow
from whyray.catalog.attention import attention
from whyray.catalog.shortages import Disks
from whyray.imaging import read_images
from whyray.inference import load_package
from whyray.jobs.explanation_request import ExplanationRequest
from whyray.jobs.files import explain_files
from whyray.jobs.scope import stated_scope
from whyray.jobs.worker import run_job
from whyray.packages import ScopeSpec
from whyray.quality import Grade
from whyray.results import EVERY_KIND, load_templates

WORDS = "This image is unlike those the model was made for: no statement."


@pytest.fixture
def demanding(site: Site) -> Site:
    """A site whose package demands that an image is compared with ordinary ones."""
    planted_scope(site.folder / "packages")
    with_scope(site.folder / "packages" / "planted" / "1.0.0")
    return site


def inverted(number: int = 1, **options: object) -> Dataset:
    """The film with black and white exchanged."""
    return radiograph(4095 - film().pixel_array, number=number, **options)  # type: ignore[arg-type]


def worked(site: Site, image: Dataset) -> Job:
    site.receive([image])
    site.router().step()
    assert run_job(site.jobs()[-1].id, "worker-1", site.job_context()) is JobState.DONE
    with site.catalog.read() as session:
        job = session.scalars(select(Job)).one()
        _ = job.study, [result.deliveries for result in job.results]
        return job


def texts(dataset: Dataset) -> list[str]:
    """All texts of a report."""
    return ([str(dataset.TextValue)] if "TextValue" in dataset else []) + [
        text for item in dataset.get("ContentSequence", ()) for text in texts(item)
    ]


def test_an_ordinary_image_is_answered_about_and_what_was_measured_of_it_is_kept(demanding: Site) -> None:
    job = worked(demanding, film())
    assert job.no_statement == []
    assert [finding["present"] for finding in job.findings] == [True]


def test_an_image_unlike_those_of_the_package_ends_its_job_well_with_neither_finding_nor_map(demanding: Site) -> None:
    demanding.configure(routes=[{**ROUTE, "send": {"to": ["pacs"], "as": list(EVERY_KIND)}}])
    job = worked(demanding, inverted())
    assert job.findings == []
    (unanswered,) = job.no_statement
    assert unanswered["reasons"][0] == "inverted"
    assert unanswered["images"] == [inverted().SOPInstanceUID]
    assert {measurement["name"]: measurement["grade"] for measurement in unanswered["measurements"]}[
        "likeness to ordinary images"
    ] == "red"
    assert sorted(result.kind for result in job.results) == ["pdf", "sc", "sr"]


def test_page_and_report_say_so_and_name_no_finding(demanding: Site) -> None:
    job = worked(demanding, inverted())
    made = {result.kind: dcmread(demanding.storage.root / result.key) for result in job.results}
    said = texts(made["sr"])
    assert WORDS in said
    assert "Black and white seem to be exchanged." in said
    assert not any("Bright spot" in str(dataset) for dataset in made.values())
    picture = next(result.picture_key for result in job.results if result.kind == "sc")
    assert picture is not None


def test_administrators_see_it_as_an_outcome_that_wants_a_look(demanding: Site) -> None:
    worked(demanding, inverted())
    with demanding.catalog.read() as session:
        job = session.scalars(select(Job)).one()
        told = job_detail(job, [], {})
        entries = attention(session, demanding.clock(), destinations=["pacs", "archive"], disks=Disks())
        event = session.scalars(select(Event).where(Event.kind == "job.no-statement")).one()
    assert (told.state, told.error, told.no_statement) == (JobState.DONE, None, 1)
    assert told.unanswered[0].words == WORDS
    assert "inverted" in event.message
    assert [entry.kind for entry in entries if entry.kind == "job.no-statement"]


def test_what_the_package_demands_and_cannot_be_measured_is_no_silence(site: Site) -> None:
    planted_scope(site.folder / "packages", artefact=False)
    with_scope(site.folder / "packages" / "planted" / "1.0.0")
    (unanswered,) = worked(site, film()).no_statement
    assert unanswered["reasons"] == ["unchecked"]


def test_a_package_that_is_not_there_is_no_silence_either(site: Site) -> None:
    with_scope(site.folder / "packages" / "planted" / "1.0.0", "nowhere@1")
    (unanswered,) = worked(site, film()).no_statement
    assert unanswered["reasons"] == ["unchecked"]


@pytest.mark.parametrize(
    ("body_part", "view", "reasons"),
    [
        ("CHEST", "PA", []),
        ("", "", []),
        ("Thorax a.p.", "steep", []),
        ("KNEE", "AP", ["body_part"]),
        ("CHEST", "LL", ["view"]),
    ],
)
def test_what_the_header_says_counts_where_it_uses_the_standards_terms(
    site: Site, body_part: str, view: str, reasons: list[str]
) -> None:
    planted_scope(site.folder / "packages")
    with_scope(site.folder / "packages" / "planted" / "1.0.0", body_parts=["CHEST"], views=["PA", "AP"])
    job = worked(site, film(1, body_part=body_part, view=view))
    assert [reason for statement in job.no_statement for reason in statement["reasons"]] == reasons


@pytest.mark.parametrize(
    ("region", "view", "reasons"),
    [
        (("43799004", "SCT", "Chest"), ("399348003", "SCT", "antero-posterior"), []),
        (("T-D8700", "SRT", "Hand"), ("R-10214", "SRT", "postero-anterior"), ["body_part"]),
        (("43799004", "SCT", "Chest"), ("399173006", "SCT", "left lateral"), ["view"]),
        (("43799004", "SCT", "Chest"), ("R-102CD", "SRT", "lateral"), ["view"]),
    ],
)
def test_what_digital_x_ray_says_in_codes_counts_where_it_says_no_terms(
    site: Site, region: tuple[str, str, str], view: tuple[str, str, str], reasons: list[str]
) -> None:
    planted_scope(site.folder / "packages")
    with_scope(site.folder / "packages" / "planted" / "1.0.0", body_parts=["CHEST"], views=["PA", "AP"])
    image = film(1, modality="DX", body_part="", view="")
    image.AnatomicRegionSequence, image.ViewCodeSequence = [_code(*region)], [_code(*view)]
    job = worked(site, image)
    assert [reason for statement in job.no_statement for reason in statement["reasons"]] == reasons


@pytest.mark.parametrize(
    ("make", "view", "reasons"),
    [
        (mammography.mammogram, "CC", []),
        (mammography.mammogram, "MLO", ["view"]),
        (mammography.projections, "CC", []),
        (mammography.projections, "MLO", ["view"]),
    ],
)
def test_a_package_for_one_view_of_a_breast_says_nothing_of_another(
    site: Site, make: Callable[..., Dataset], view: str, reasons: list[str]
) -> None:
    path = planted_package(site.folder / "packages", shape=(48, 48), modalities=("MG",)) / "model.yaml"
    scope = {"body_parts": ["BREAST"], "views": ["CC"]}
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "scope": scope}))
    site.configure(routes=[{**ROUTE, "when": {"Modality": "MG"}}])
    job = worked(site, make("R", view))
    assert {reason for statement in job.no_statement for reason in statement["reasons"]} == set(reasons)


SPOT, MAGNIFIED = ("399055006", "SCT", "spot"), ("R-102D6", "SRT", "magnification")
DISPLACED = ("399209000", "SCT", "implant displaced")


@pytest.mark.parametrize(
    ("views", "modifiers", "magnification", "reasons"),
    [
        (["CC"], (), None, []),
        (["CC"], (), 1.1, []),
        (["CC"], (SPOT,), None, ["view"]),
        (["CC"], (MAGNIFIED,), 1.8, ["view"]),
        (["CC"], (), 1.8, ["view"]),
        (["CC"], (DISPLACED,), None, ["view"]),
        (["CC", "CC ID"], (DISPLACED,), None, []),
        (["CC", "m cc"], (), 1.8, []),
        ([], (SPOT,), 1.8, []),
    ],
)
def test_a_package_for_whole_breasts_says_nothing_of_a_spot_or_a_magnification(
    views: list[str], modifiers: list[tuple[str, str, str]], magnification: float | None, reasons: list[str]
) -> None:
    """A magnified spot is a CC view by its View Position: it was answered about as a whole breast."""
    image = mammography.mammogram("R", "CC", modifiers=modifiers, magnification=magnification)
    assert stated_reasons(image, views=views) == reasons


@pytest.mark.parametrize(
    ("present", "modifiers", "reasons"),
    [
        ("NO", (), []),
        ("", (), []),
        ("YES", (), ["implant"]),
        ("", (DISPLACED,), ["implant"]),
        ("YES", (DISPLACED,), ["implant"]),
    ],
)
def test_a_package_that_takes_no_implants_says_nothing_of_a_breast_with_one(
    present: str, modifiers: list[tuple[str, str, str]], reasons: list[str]
) -> None:
    image = mammography.mammogram("R", "CC", modifiers=modifiers)
    image.BreastImplantPresent = present
    assert stated_reasons(image, implants=False) == reasons
    assert stated_reasons(image) == []


@pytest.mark.parametrize(("partial", "reasons"), [("YES", ["partial_view"]), ("NO", []), (None, [])])
def test_a_package_for_whole_parts_says_nothing_of_a_partial_view(partial: str | None, reasons: list[str]) -> None:
    image = mammography.mammogram("R", "CC")
    if partial is not None:
        image.PartialView = partial
    assert stated_reasons(image, partial_views=False) == reasons
    assert stated_reasons(image) == []


def stated_reasons(data: Dataset, **scope: object) -> list[str]:
    """Why a package of this scope says nothing of an image, by its header alone."""
    (image,) = read_images([data]).or_raise()
    stated = stated_scope(image, ScopeSpec(**scope))  # type: ignore[arg-type]
    return [reason for measurement, reason in stated if measurement.grade is Grade.RED]


@pytest.mark.parametrize("keyword", ["QualityControlImage", "QualityControlSubject"])
def test_a_phantom_is_refused_in_words(site: Site, keyword: str) -> None:
    image = film(1)
    setattr(image, keyword, "YES")
    job = worked_on(site, [image])
    assert job.state is JobState.FAILED
    assert "the image is of a phantom and of no patient (Quality Control" in str(job.error_message)


@pytest.mark.parametrize("taken", [[], ["subtraction"], ["projection"]])
def test_a_projection_through_slices_is_given_to_packages_that_say_so_alone(site: Site, taken: list[str]) -> None:
    """A MIP of a head CT is in Hounsfield units, and no slice of it is one: a model of slices answered about it."""
    planes = stack(8, (24, 24), spacing=(2.0, 2.0), distance=2.0)
    made = slices(np.full((8, 24, 24), 40, np.int16), planes)
    for data in made:
        data.ImageType = ["DERIVED", "SECONDARY", "AXIAL", "MIP"]
    path = planted_package(site.folder / "packages", kind="volume", shape=(8, 24, 24), modalities=("CT",))
    manifest = yaml.safe_load((path / "model.yaml").read_text())
    manifest["input"]["computed"] = taken
    (path / "model.yaml").write_text(yaml.safe_dump(manifest))
    site.configure(routes=[{**ROUTE, "when": {"Modality": "CT"}}])
    job = worked_on(site, made)
    assert job.state is (JobState.DONE if taken == ["projection"] else JobState.FAILED)
    if job.state is JobState.FAILED:
        assert "as a projection through slices (Image Type (0008,0008) 'MIP')" in str(job.error_message)


def test_the_difference_of_two_energies_is_no_mammogram(site: Site) -> None:
    """Contrast enhanced mammography sends it beside the ordinary image, as the same kind of object and view."""
    image = mammography.mammogram("R", "CC")
    image.ImageType = ["DERIVED", "PRIMARY", "", "RECOMBINED"]
    planted_package(site.folder / "packages", shape=(48, 48), modalities=("MG",))
    site.configure(routes=[{**ROUTE, "when": {"Modality": "MG"}}])
    job = worked_on(site, [image])
    assert job.state is JobState.FAILED
    assert "as a difference of two images (Image Type (0008,0008) 'RECOMBINED')" in str(job.error_message)


def test_values_that_viewers_show_in_colours_are_refused_in_words(site: Site) -> None:
    image = film(1)
    image.PixelPresentation, image.RedPaletteColorLookupTableDescriptor = "MIXED", [256, 3000, 8]
    image["RedPaletteColorLookupTableDescriptor"].VR = "US"
    job = worked_on(site, [image])
    assert job.state is JobState.FAILED
    assert "viewers show some values in colours (0008,9205)" in str(job.error_message)


@pytest.mark.parametrize("mode", ["SUB", "NAT", None])
def test_an_angiogram_that_viewers_show_subtracted_is_refused_in_words(site: Site, mode: str | None) -> None:
    """Its bones and bowel would have been taken for what a reader sees, who sees vessels alone."""
    image = film(1)
    if mode is not None:
        image.RecommendedViewingMode = mode
    job = worked_on(site, [image])
    assert job.state is (JobState.FAILED if mode == "SUB" else JobState.DONE)
    if mode == "SUB":
        assert "viewers subtract a mask from the image (0028,1090)" in str(job.error_message)


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


@pytest.mark.parametrize(
    ("sop_class", "intent"),
    [
        ("1.2.840.10008.5.1.4.1.1.1.1.1", "FOR PROCESSING"),
        ("1.2.840.10008.5.1.4.1.1.1.1.1", ""),
        ("1.2.840.10008.5.1.4.1.1.1.2.1", None),
        ("1.2.840.10008.5.1.4.1.1.1.3.1", None),
        ("1.2.840.10008.5.1.4.1.1.13.1.5", None),
        ("1.2.840.10008.5.1.4.1.1.1.1", "FOR PROCESSING"),
    ],
)
def test_the_raw_image_of_a_detector_is_none_to_be_looked_at(site: Site, sop_class: str, intent: str | None) -> None:
    """It comes beside the one for presentation, or alone; what such an image shows has no meaning for a reader."""
    raw = film(2, modality="DX", series="raw", study="both")
    raw.SOPClassUID = raw.file_meta.MediaStorageSOPClassUID = sop_class
    if intent is None:
        raw.pop("PresentationIntentType", None)
    else:
        raw.PresentationIntentType = intent
    shown = film(1, modality="DX", study="both")
    job = worked_on(site, [shown, raw])
    assert job.state is JobState.DONE
    assert {uid for finding in job.findings for uid in finding["images"]} == {shown.SOPInstanceUID}

    raw.StudyInstanceUID, raw.SOPInstanceUID = "1.2.3.4", "1.2.3.4.5"
    job = worked_on(site, [raw])
    assert (job.state, job.error_code) == (JobState.FAILED, "ImageError")
    assert "nothing in it is for planted@1.0.0: the image is for processing" in str(job.error_message)


def worked_on(site: Site, images: list[Dataset]) -> Job:
    site.clock.tick(1)
    site.receive(images)
    site.router().step()
    run_job(site.jobs()[-1].id, "worker-1", site.job_context())
    return site.jobs()[-1]


def test_the_command_line_says_so_in_its_report_and_writes_no_map(demanding: Site, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    inverted().save_as(buffer, enforce_file_format=True)
    path = tmp_path / "film.dcm"
    path.write_bytes(buffer.getvalue())
    report = explain_files(
        [path],
        load_package("planted", search=[demanding.folder / "packages"]),
        ExplanationRequest(methods={"grad-cam": {}}),
        tmp_path / "out",
        templates=load_templates(),
        at=datetime(2026, 11, 1, tzinfo=UTC),
        progress=lambda *_: None,
    )
    assert report.findings == ()
    kept = json.loads((tmp_path / "out" / "report.json").read_text())
    assert kept["no_statement"][0]["words"] == WORDS
    assert sorted(path.name[:2] for path in (tmp_path / "out" / "dicom").iterdir()) == ["sc", "sr"]


def test_most_frames_of_an_instance_decide_for_all_of_them() -> None:
    from whyray.jobs.scope import frames_to_check, scope_of_instance
    from whyray.quality import ScopeCheck

    assert frames_to_check(1) == [0]
    assert frames_to_check(5) == [0, 1, 2, 3, 4]
    assert len(frames_to_check(300)) == 16
    strange, usual = ScopeCheck(reasons=("another",)), ScopeCheck()
    assert scope_of_instance([strange, strange, usual]).refused
    assert not scope_of_instance([strange, usual]).refused


def test_results_of_no_statement_are_the_same_bytes_each_time(demanding: Site) -> None:
    first = {result.sop_instance_uid: result.sha256 for result in worked(demanding, inverted()).results}
    assert len(first) == 2
    with demanding.catalog.begin() as session:
        from whyray.catalog import jobs

        jobs.retry(session, demanding.jobs()[0].id, demanding.clock(), actor="admin")
    assert run_job(demanding.jobs()[0].id, "worker-2", demanding.job_context()) is JobState.DONE
    with demanding.catalog.read() as session:
        assert {result.sop_instance_uid: result.sha256 for result in session.scalars(select(ResultRow))} == first


def test_a_dark_image_of_the_wrong_shape_is_farther_than_ordinary_ones(demanding: Site) -> None:
    pixels = np.full((96, 80), 300, np.uint16)
    pixels[70:95, 2:30] = 4000
    (unanswered,) = worked(demanding, radiograph(pixels)).no_statement
    assert unanswered["reasons"] == ["far"]
