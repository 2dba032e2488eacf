"""Mammograms, tomosynthesis and projections through a worker: each result lies on the spot, of the frames that show it,
and says the side."""

from __future__ import annotations

from collections.abc import Sequence

import highdicom
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from sqlalchemy import select

from dciodvfy import errors_of
from mammography import ORIENTATIONS, SHAPE, Side, View, breast, mammogram, projections, tomosynthesis, voi_table
from planted import planted_package
from site_under_test import ROUTE, Site
from whyray.catalog import JobState, ResultRow
from whyray.jobs.worker import run_job
from whyray.results import EVERY_KIND

SPOT = (0.3, 0.4)


def results_of(site: Site, instances: Sequence[Dataset], *, volume: bool = False) -> dict[str, list[Dataset]]:
    """What a worker makes of a study, by kind, each valid by dciodvfy."""
    shape, kind = ((8, 82, 64), "volume") if volume else ((82, 64), "planar")
    planted_package(site.folder / "packages", shape=shape, kind=kind, modalities=("MG",), level=0.6)  # type: ignore[arg-type]
    site.configure(routes=[{**ROUTE, "when": {"Modality": "MG"}, "send": {"to": ["pacs"], "as": list(EVERY_KIND)}}])
    site.receive(instances)
    site.router().step()
    (job,) = site.jobs()
    assert run_job(job.id, "worker-1", site.job_context()) is JobState.DONE, site.jobs()[0].error_message
    made: dict[str, list[Dataset]] = {}
    with site.catalog.read() as session:
        for row in session.scalars(select(ResultRow)):
            path = site.storage.root / row.key
            assert errors_of(path.read_bytes()) == [], row.kind
            made.setdefault(row.kind, []).append(dcmread(path))
    return made


def expected(side: Side) -> np.ndarray:
    """(row, column) of the spot's middle, in pixels of the stored frame."""
    return np.argwhere(breast(side, SPOT) > 0.9).mean(axis=0)


def middle(mask: np.ndarray) -> np.ndarray:
    return np.argwhere(mask).mean(axis=0)


def outlined(state: Dataset) -> dict[int, np.ndarray]:
    """(row, column) of the middle of what is outlined on each frame, by frame number; 1 of single-frame images."""
    middles = {}
    for annotation in state.GraphicAnnotationSequence:
        (reference,) = annotation.ReferencedImageSequence
        points = np.concatenate([np.reshape(one.GraphicData, (-1, 2)) for one in annotation.GraphicObjectSequence])
        centre = (points.min(axis=0) + points.max(axis=0)) / 2
        middles[int(reference.get("ReferencedFrameNumber") or 1)] = centre[::-1]
    return middles


def sources(segmentation: Dataset) -> list[int]:
    """Frame numbers of the source, one for each frame of a segmentation that is not empty."""
    frames = segmentation.pixel_array.reshape(-1, *SHAPE)
    numbers = []
    for frame, groups in zip(frames, segmentation.PerFrameFunctionalGroupsSequence, strict=True):
        (reference,) = groups.DerivationImageSequence[0].SourceImageSequence
        if frame.any():
            numbers.append(int(reference.ReferencedFrameNumber))
    return numbers


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("shown_by", ["window", "sigmoid", "tables"])
def test_four_views_of_a_screening_each_have_their_own_overlay_and_side(
    site: Site, photometric: str, shown_by: str
) -> None:
    films = [
        mammogram(side, view, SPOT, photometric=photometric, number=number)  # type: ignore[arg-type]
        for number, (side, view) in enumerate(ORIENTATIONS, 1)
    ]
    for film in films:
        if shown_by == "sigmoid":
            film.VOILUTFunction = "SIGMOID"
            film.WindowCenter, film.WindowWidth = ["2048", "3000"], ["2400", "900"]
            film.WindowCenterWidthExplanation = ["NORMAL", "HARDER"]
        if shown_by == "tables":
            ramp = np.arange(4096) * 16
            film.VOILUTSequence = [voi_table(ramp, bits=16), voi_table(65535 - ramp, "SOFTER", bits=16)]
    made = results_of(site, films)
    sides = {film.SOPInstanceUID: film.ImageLaterality for film in films}
    assert len(made["gsps"]) == len(made["seg"]) == len(made["pm"]) == 4
    for state in made["gsps"]:
        (uid,) = {item.ReferencedSOPInstanceUID for item in state.GraphicAnnotationSequence[0].ReferencedImageSequence}
        assert state.Laterality == sides[uid]
        np.testing.assert_allclose(outlined(state)[1], expected(sides[uid]), atol=2.5)
        assert state.PresentationLUTShape == ("INVERSE" if photometric == "MONOCHROME1" else "IDENTITY")
        (shown,) = state.SoftcopyVOILUTSequence
        assert ("VOILUTSequence" in shown, shown.get("VOILUTFunction")) == (
            shown_by == "tables",
            "SIGMOID" if shown_by == "sigmoid" else None,
        )
    for segmentation in made["seg"]:
        reference = segmentation.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
        side = sides[reference.ReferencedSOPInstanceUID]
        np.testing.assert_allclose(middle(segmentation.pixel_array.reshape(SHAPE)), expected(side), atol=2.5)
        region = segmentation.SegmentSequence[0].AnatomicRegionSequence[0]
        assert region.CodeMeaning == "Breast"
        assert region.AnatomicRegionModifierSequence[0].CodeMeaning == {"R": "Right", "L": "Left"}[side]


@pytest.mark.parametrize(("tables", "against_normal"), [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize(("side", "view"), ORIENTATIONS)
def test_tomosynthesis_is_outlined_on_the_slices_that_show_the_spot(
    site: Site, side: Side, view: View, tables: bool, against_normal: bool
) -> None:
    data = tomosynthesis(side, view, SPOT, spot_slices=(1, 2), tables=tables, against_normal=against_normal)
    made = results_of(site, [data], volume=True)
    (state,), (segmentation,), (parametric,) = made["gsps"], made["seg"], made["pm"]
    places = outlined(state)
    assert sorted(places) == sorted(sources(segmentation)) == [2, 3]
    for place in places.values():
        np.testing.assert_allclose(place, expected(side), atol=2.5)
    volume = highdicom.seg.Segmentation.from_dataset(segmentation).get_volume(combine_segments=True)
    in_patient = volume.map_indices_to_reference(np.argwhere(volume.array > 0)).mean(axis=0)
    planes = [groups.PlanePositionSequence[0] for groups in data.PerFrameFunctionalGroupsSequence]
    (orientation,) = data.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
    cosines = np.array(orientation.ImageOrientationPatient, float)
    row, column = expected(side)
    origin = np.mean([np.array(planes[index].ImagePositionPatient, float) for index in (1, 2)], axis=0)
    np.testing.assert_allclose(in_patient, origin + 0.5 * (column * cosines[:3] + row * cosines[3:]), atol=1.5)
    for result in (state, segmentation, parametric):
        assert result.get("FrameOfReferenceUID", data.FrameOfReferenceUID) == data.FrameOfReferenceUID
    assert {result.Laterality for kind in ("sc", "sr", "gsps") for result in made[kind]} == {side}
    assert ("VOILUTSequence" in state.SoftcopyVOILUTSequence[0]) == tables


@pytest.mark.parametrize("side", ["R", "L"])
def test_projections_of_tomosynthesis_are_answered_frame_by_frame(site: Site, side: Side) -> None:
    made = results_of(site, [projections(side, "MLO", SPOT, spot_frames=(1, 3))])
    (state,), (segmentation,) = made["gsps"], made["seg"]
    assert sorted(outlined(state)) == sorted(sources(segmentation)) == [2, 4]
    for place in outlined(state).values():
        np.testing.assert_allclose(place, expected(side), atol=2.5)
    page = next(page for page in made["sc"] if "NumberOfFrames" in page)
    assert list(page.PatientOrientation) == list(ORIENTATIONS[side, "MLO"])
    assert page.Laterality == side
