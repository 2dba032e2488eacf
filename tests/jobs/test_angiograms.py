"""Multi-frame angiography and fluoroscopy through a worker: outlined where it is bright, shown as viewers show it."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from sqlalchemy import select

import synthetic
from dciodvfy import errors_of
from mammography import voi_table
from planted import planted_package
from site_under_test import ROUTE, Site
from whyray.catalog import JobState, ResultRow
from whyray.imaging import read_images
from whyray.jobs.worker import run_job
from whyray.results.softcopy import add_shutter

ANGIOGRAPHY, FLUOROSCOPY = "1.2.840.10008.5.1.4.1.1.12.1", "1.2.840.10008.5.1.4.1.1.12.2"


def run(sop_class: str, *, frames: int = 4, bright: tuple[int, ...] = (2, 3)) -> Dataset:
    """A cine whose Modality LUT, which leads to the beam's intensity, would turn black into white."""
    stored = np.full((frames, 96, 80), 300, np.uint16)
    for number in bright:
        stored[number - 1, 20:30, 50:60] = 4000
    data = synthetic.radiograph(stored[0], window=(2048, 4096), spacing=(0.3, 0.3), body_part="ABDOMEN", view="")
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = sop_class
    data.Modality = "XA" if sop_class == ANGIOGRAPHY else "RF"
    data.PixelIntensityRelationship = "LOG"
    table = voi_table(65535 - 16 * np.arange(4096), bits=16)
    table.ModalityLUTType, table.LUTExplanation = "US", "to the beam's intensity"
    data.ModalityLUTSequence = [table]
    data.EstimatedRadiographicMagnificationFactor = "1.5"
    data.NumberOfFrames, data.FrameTime, data.FrameIncrementPointer = frames, "66", 0x00181063
    data.PixelData = stored.tobytes()
    data.ShutterShape = ["RECTANGULAR", "CIRCULAR"]
    data.ShutterLeftVerticalEdge, data.ShutterRightVerticalEdge = "3", "78"
    data.ShutterUpperHorizontalEdge, data.ShutterLowerHorizontalEdge = "3", "94"
    data.CenterOfCircularShutter, data.RadiusOfCircularShutter = ["48", "40"], "47"
    return data


@pytest.mark.parametrize("sop_class", [ANGIOGRAPHY, FLUOROSCOPY])
def test_a_cine_is_outlined_on_its_frames_under_the_shutter_and_the_window_that_it_has(
    site: Site, sop_class: str
) -> None:
    planted_package(site.folder / "packages", shape=(48, 40), modalities=("XA", "RF"))
    kinds = ["sc", "seg", "sr", "gsps"]
    site.configure(
        routes=[{**ROUTE, "when": {"Modality": {"in": ["XA", "RF"]}}, "send": {"to": ["pacs"], "as": kinds}}]
    )
    site.receive([run(sop_class)])
    site.router().step()
    assert run_job(site.jobs()[0].id, "worker-1", site.job_context()) is JobState.DONE, site.jobs()[0].error_message
    made = {}
    with site.catalog.read() as session:
        for row in session.scalars(select(ResultRow)):
            path = site.storage.root / row.key
            assert errors_of(path.read_bytes()) == [], row.kind
            made[row.kind] = dcmread(path)
    state, segmentation = made["gsps"], made["seg"]
    numbers = [item.ReferencedImageSequence[0].ReferencedFrameNumber for item in state.GraphicAnnotationSequence]
    assert numbers == [2, 3]
    for annotation in state.GraphicAnnotationSequence:
        (curve,) = annotation.GraphicObjectSequence
        points = np.reshape(curve.GraphicData, (-1, 2))
        np.testing.assert_allclose((points.min(axis=0) + points.max(axis=0)) / 2, (55, 25), atol=2)
    assert "ModalityLUTSequence" not in state
    assert "RescaleSlope" not in state
    assert state.SoftcopyVOILUTSequence[0].WindowCenter == 2048
    assert list(state.ShutterShape) == ["RECTANGULAR", "CIRCULAR"]
    assert (state.RadiusOfCircularShutter, state.ShutterPresentationValue) == (47, 0)
    spacing = segmentation.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing
    assert list(spacing) == pytest.approx([0.2, 0.2])


@pytest.mark.parametrize("wrong", [{"ShutterShape": "BITMAP"}, {"RadiusOfCircularShutter": None}])
def test_a_shutter_that_cannot_be_carried_over_is_left_out_whole(wrong: dict[str, object]) -> None:
    data = run(ANGIOGRAPHY)
    for keyword, value in wrong.items():
        setattr(data, keyword, value)
    image = read_images([data]).or_raise()[0]
    state = Dataset()
    add_shutter(state, image, image.frames)
    assert len(state) == 0


def test_a_frames_own_shutter_is_carried_over_in_place_of_the_runs() -> None:
    data, own, groups = run(ANGIOGRAPHY), Dataset(), Dataset()
    own.ShutterShape, own.CenterOfCircularShutter, own.RadiusOfCircularShutter = "CIRCULAR", ["48", "40"], "20"
    groups.FrameDisplayShutterSequence = [own]
    data.SharedFunctionalGroupsSequence = [groups]
    image = read_images([data]).or_raise()[0]
    state = Dataset()
    add_shutter(state, image, image.frames)
    assert (state.ShutterShape, state.RadiusOfCircularShutter) == ("CIRCULAR", 20)
