"""Outlines on the originals, and the slices worth looking at first."""

from __future__ import annotations

import subprocess

import highdicom
import numpy as np
import pytest
from pydicom import Dataset, dcmwrite
from skimage.measure import points_in_poly

import synthetic
from peers import require
from results.answers import CARDIOMEGALY, a_map, answer_about, blob, centre_of, image_of
from results.sources import SOURCES, image_named, read
from results.test_validity import rich_answer
from whyray.quality import Grade
from whyray.results import EVERY_KIND, Finding, build_results, encode
from whyray.results.outlines import outlines


@pytest.fixture
def dcmtk():
    for program in ("dcmpschk", "dcmp2pgm"):
        require(program, "dcmtk")


def enclosed(curves, shape):
    """The pixels whose centres lie inside the outlines, holes left out: the even-odd rule."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    centres = np.column_stack([columns.ravel() + 0.5, rows.ravel() + 0.5])
    inside = np.zeros(len(centres), bool)
    for curve in curves:
        inside ^= points_in_poly(centres, curve)
    return inside.reshape(shape)


def test_outlines_enclose_exactly_the_pixels_of_the_region():
    random = np.random.default_rng(5)
    ring = np.zeros((30, 40), bool)
    ring[4:25, 6:36], ring[10:18, 12:30] = True, False
    edge = np.zeros((9, 7), bool)
    edge[:3, 4:] = edge[8, 0] = True
    for region in (ring, edge, random.random((20, 25)) > 0.6, np.ones((3, 4), bool)):
        np.testing.assert_array_equal(enclosed(outlines(region), region.shape), region)


@pytest.mark.parametrize("source", SOURCES)
def test_presentation_states_and_key_objects_are_valid(source, templates, errors_of):
    image = image_named(source)
    results = build_results(rich_answer(image), EVERY_KIND, templates)
    kinds = [result.kind for result in results]
    assert kinds.count("gsps") == (0 if image.display.ndim == 4 else 2)
    assert kinds.count("ko") == 2
    for result in results:
        if result.kind in ("gsps", "ko"):
            assert errors_of(encode(result.dataset)) == [], (result.kind, result.description)


@pytest.mark.parametrize("source", ["real chest CR", "tilted CT, Japanese", "enhanced MR volume", "DX, Japanese"])
def test_dcmtk_accepts_the_presentation_state(source, templates, dcmtk, tmp_path):
    for result in build_results(rich_answer(image_named(source)), ["gsps"], templates):
        path = tmp_path / "state.dcm"
        path.write_bytes(encode(result.dataset))
        checked = subprocess.run(["dcmpschk", str(path)], capture_output=True, check=False)
        assert b"Test passed" in checked.stdout + checked.stderr


@pytest.mark.parametrize("source", ["real chest CR", "real CT"])
def test_an_image_looks_as_before_under_its_presentation_state(source, templates, dcmtk, tmp_path):
    (path,) = SOURCES[source]()
    (result,) = build_results(answer_about(image_named(source)), ["gsps"], templates)
    state = tmp_path / "state.dcm"
    state.write_bytes(encode(result.dataset))
    for arguments, name in (([], "plain"), (["-p", str(state)], "state")):
        subprocess.run(["dcmp2pgm", *arguments, str(path), str(tmp_path / name)], capture_output=True, check=True)
    plain, with_state = ((tmp_path / name).read_bytes() for name in ("plain", "state"))
    assert len(plain) > 1000
    assert plain == with_state


@pytest.mark.parametrize(
    ("bits", "first", "count"), [(12, 0, 4096), (8, 100, 3000), (16, -1024, 40000), (10, 0, 65536)]
)
def test_an_image_with_a_voi_lut_looks_as_before_under_its_presentation_state(
    bits, first, count, templates, dcmtk, errors_of, tmp_path
):
    """As computed radiography has it: without its table the image is far too dark, or too bright."""
    pixels = np.random.default_rng(4).integers(0, 4095, (60, 40))
    data = synthetic.radiograph(pixels)
    if first < 0:
        data.RescaleSlope, data.RescaleIntercept, data.RescaleType = 1, first, "US"
    entries = (np.minimum(np.arange(count) / 2900, 1) ** 3 * (2**bits - 1)).round().astype("<u2")
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [count % 65536, first, bits])
    item.add_new("LUTData", "OW", entries.tobytes())
    data.VOILUTSequence = [item]
    source, state = tmp_path / "source.dcm", tmp_path / "state.dcm"
    dcmwrite(source, data, enforce_file_format=False)
    (result,) = build_results(answer_about(image_of([source])), ["gsps"], templates)
    state.write_bytes(encode(result.dataset))
    assert errors_of(state.read_bytes()) == []
    checked = subprocess.run(["dcmpschk", str(state)], capture_output=True, check=False)
    assert b"Test passed" in checked.stdout + checked.stderr
    for arguments, name in (([], "plain"), (["-p", str(state)], "state")):
        subprocess.run(["dcmp2pgm", *arguments, str(source), str(tmp_path / name)], capture_output=True, check=True)
    plain, with_state = (np.frombuffer((tmp_path / name).read_bytes()[-2400:], np.uint8) for name in ("plain", "state"))
    assert len(np.unique(plain)) > 50
    np.testing.assert_allclose(with_state.astype(int), plain.astype(int), atol=1)


@pytest.mark.parametrize(("written", "ratio"), [(["2", "1"], [2, 1]), (["4", "6"], [2, 3]), (["1", "1"], [1, 1])])
def test_a_presentation_state_has_the_pixels_of_a_source_that_gives_only_their_ratio(
    written, ratio, templates, dcmtk, tmp_path
):
    data = synthetic.radiograph(np.random.default_rng(3).integers(0, 4095, (60, 40)), spacing=None)
    data.PixelAspectRatio = written
    source, state = tmp_path / "source.dcm", tmp_path / "state.dcm"
    dcmwrite(source, data, enforce_file_format=False)
    (result,) = build_results(answer_about(image_of([source])), ["gsps"], templates)
    (area,) = result.dataset.DisplayedAreaSelectionSequence
    assert list(area.PresentationPixelAspectRatio) == ratio
    assert "PresentationPixelSpacing" not in area
    state.write_bytes(encode(result.dataset))
    checked = subprocess.run(["dcmpschk", str(state)], capture_output=True, check=False)
    assert b"Test passed" in checked.stdout + checked.stderr


def test_outlines_lie_on_the_frames_that_hold_the_region_and_carry_a_label(templates):
    image = image_named("enhanced MR volume")
    heatmap = a_map(image, blob(image, centre_of(image), 0.3), grade=Grade.AMBER)
    answer = answer_about(image, [Finding(CARDIOMEGALY, present=True, probability=0.82, maps=(heatmap,))])
    dataset = read(encode(build_results(answer, ["gsps"], templates)[0].dataset))
    held = [index for index in range(len(image.frames)) if heatmap.region[index].any()]
    assert len(held) > 1
    for annotation, index in zip(dataset.GraphicAnnotationSequence, held, strict=True):
        assert annotation.ReferencedImageSequence[0].ReferencedFrameNumber == image.frames[index].frame_number
        curves = [np.reshape(item.GraphicData, (-1, 2)) for item in annotation.GraphicObjectSequence]
        np.testing.assert_array_equal(enclosed(curves, image.shape[1:]), heatmap.region[index])
        text = annotation.TextObjectSequence[0].UnformattedTextValue
        for part in ("Cardiomegaly 82% (grad-cam)", "LOW RELIABILITY", "Not for diagnostic use"):
            assert part in text


def test_what_is_withheld_has_neither_outline_nor_key_slices(templates):
    image = image_named("tilted CT, Japanese")
    failed = a_map(image, blob(image, centre_of(image)), grade=Grade.RED)
    answer = answer_about(image, [Finding(CARDIOMEGALY, present=True, probability=0.8, maps=(failed,))])
    assert build_results(answer, ["gsps", "ko"], templates) == []


def test_key_objects_name_the_slice_with_the_highest_attribution_first(templates, dsrdump):
    image = image_named("tilted CT, Japanese")
    centre = (6, 20, 20)
    heatmap = a_map(image, blob(image, centre, 0.3))
    answer = answer_about(image, [Finding(CARDIOMEGALY, present=True, probability=0.82, maps=(heatmap,))])
    _, page, selection = build_results(answer, ["sc", "ko"], templates)
    text, *images = selection.dataset.ContentSequence
    assert text.TextValue.startswith("Cardiomegaly 82%: Method: grad-cam. Not for diagnostic use")
    named = [item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in images]
    assert named[0] == image.frames[6].sop_instance_uid
    assert named[-1] == page.dataset.SOPInstanceUID
    assert len(set(named)) == len(named) == templates.layout.volume.key_slices + 1
    assert "Key Object Selection" in dsrdump(encode(selection.dataset))


@pytest.mark.parametrize("source", ["tilted CT, Japanese", "enhanced MR volume"])
def test_highdicom_reads_which_slices_were_selected_and_finds_their_series(source, templates):
    image = image_named(source)
    heatmap = a_map(image, blob(image, (6, 20, 20), 0.3))
    answer = answer_about(image, [Finding(CARDIOMEGALY, present=True, probability=0.82, maps=(heatmap,))])
    _, page, selection = build_results(answer, ["sc", "ko"], templates)
    document = highdicom.ko.KeyObjectSelectionDocument.from_dataset(read(encode(selection.dataset)))
    assert document.content[0].ContinuityOfContent == "SEPARATE"
    first, *_, last = document.content.get_references()
    multi_frame = len(image.headers) == 1
    assert first.referenced_sop_instance_uid == image.frames[6].sop_instance_uid
    assert first.referenced_frame_numbers == ([image.frames[6].frame_number] if multi_frame else None)
    assert last.referenced_sop_instance_uid == page.dataset.SOPInstanceUID
    study = str(image.header.StudyInstanceUID)
    for reference, of in ((first, image.header), (last, page.dataset)):
        uid = str(reference.referenced_sop_instance_uid)
        assert document.resolve_reference(uid) == (study, of.SeriesInstanceUID, uid)
