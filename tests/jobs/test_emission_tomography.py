"""PET and nuclear medicine through a worker: values in the right unit, regions in their place, refusals in words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from sqlalchemy import select

import emission
import synthetic
from planted import planted_package
from site_under_test import ROUTE, Site
from whyray.catalog import Job, JobState, ResultRow
from whyray.jobs.worker import run_job

PLANES = synthetic.stack(14, (24, 28), spacing=(3.0, 3.0), distance=3.5, rotation=(15, 10, 0), centre=(4, -5, 2))
CENTRE, RADIUS = np.array((7.0, -9.0, 4.0)), 9.0
ROUTE_OF = {
    **ROUTE,
    "name": "emission",
    "when": {"Modality": {"in": ["PT", "NM"]}},
    "run": "tracer@1",
    "send": {"to": ["pacs"], "as": ["seg", "pm", "sr"]},
}


def lump(points: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.linalg.norm(points - CENTRE, axis=-1) < RADIUS, 40000.0, 2000.0)


def run(
    site: Site, made: Sequence[Dataset], window: tuple[float, float], unit: str | None = None
) -> tuple[Job, JobState]:
    modality = str(made[0].Modality)
    packages = site.folder / "packages"
    planted_package(
        packages, kind="volume", shape=(16, 32, 32), window=window, unit=unit, modalities=(modality,), name="tracer"
    )
    site.configure(routes=[ROUTE_OF])
    site.receive(made)
    site.router().step()
    (job,) = site.jobs()
    state = run_job(job.id, "worker-1", site.job_context())
    return site.jobs()[0], state


def results(site: Site, kind: str) -> list[Dataset]:
    with site.catalog.read() as session:
        rows = [row for row in session.scalars(select(ResultRow)) if row.kind == kind]
        return [dcmread(Path(site.storage.root / row.key)) for row in rows]


def lit(segmentation: Dataset) -> NDArray[np.float64]:
    """Patient coordinates of the pixels of a segmentation, by its functional groups alone."""
    shared, points = segmentation.SharedFunctionalGroupsSequence[0], []
    for mask, group in zip(segmentation.pixel_array, segmentation.PerFrameFunctionalGroupsSequence, strict=True):
        orientation = (group.get("PlaneOrientationSequence") or shared.PlaneOrientationSequence)[0]
        across, down = np.array(orientation.ImageOrientationPatient, float).reshape(2, 3)
        between = np.array(shared.PixelMeasuresSequence[0].PixelSpacing, float)
        first = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
        for row, column in np.argwhere(mask):
            points.append(first + down * between[0] * row + across * between[1] * column)
    return np.array(points)


def references(made: Dataset) -> list[tuple[str, int]]:
    return [
        (source.ReferencedSOPInstanceUID, int(source.get("ReferencedFrameNumber") or 0))
        for group in made.PerFrameFunctionalGroupsSequence
        for source in group.DerivationImageSequence[0].SourceImageSequence
    ]


def test_a_pet_is_answered_in_suv_and_its_region_lies_on_the_slices_that_show_it(site: Site) -> None:
    made = emission.pet(PLANES, lump)
    # 40 000 Bq/ml are an SUV of 11 an hour after 370 MBq in 70 kg; in Bq/ml all would be beyond the window
    job, state = run(site, made[::-1], (8.0, 8.0), "SUVbw")
    assert state is JobState.DONE
    assert job.findings[0]["present"]
    (segmentation,) = results(site, "seg")
    assert np.linalg.norm(lit(segmentation) - CENTRE, axis=1).max() < RADIUS + 1.5
    assert references(segmentation) == [(data.SOPInstanceUID, 0) for data in made]
    assert segmentation.FrameOfReferenceUID == made[0].FrameOfReferenceUID


def test_the_same_activity_in_a_heavier_patient_is_another_suv(site: Site) -> None:
    job, _ = run(site, emission.pet(PLANES, lump, PatientWeight="15"), (8.0, 8.0), "SUVbw")
    assert not job.findings[0]["present"]


@pytest.mark.parametrize(("lacking", "said"), [("PatientWeight", "Patient's Weight (0010,1030)"), ("Units", "Units")])
def test_a_pet_of_which_no_suv_can_be_computed_fails_by_what_it_lacks(site: Site, lacking: str, said: str) -> None:
    made = emission.pet(PLANES, lump)
    for data in made:
        delattr(data, lacking)
    job, state = run(site, made, (8.0, 8.0), "SUVbw")
    assert state is JobState.FAILED
    assert said in str(job.error_message)
    assert "SUV can't be computed" in str(job.error_message)


def gated() -> Dataset:
    """Two time slots, of which the second alone shows the lump; its frames lie between the first's."""
    order = [(place, time) for place in range(14) for time in (1, 2)]
    frames = [lump(PLANES[place].points()) if time == 2 else np.full((24, 28), 2000.0) for place, time in order]
    vectors = {
        "RRIntervalVector": [1] * 28,
        "TimeSlotVector": [time for _, time in order],
        "SliceVector": [place + 1 for place, _ in order],
    }
    kind = ["ORIGINAL", "PRIMARY", "RECON GATED TOMO", "EMISSION"]
    return emission.nuclear(np.stack(frames), PLANES[0], image_type=kind, between=3.5, vectors=vectors)


def test_a_gated_tomogram_is_answered_time_slot_by_time_slot_and_named_frame_by_frame(site: Site) -> None:
    made = gated()
    job, state = run(site, [made], (20000, 40000))
    assert state is JobState.DONE
    assert [finding["present"] for finding in job.findings] == [False, True]
    (segmentation,) = [one for one in results(site, "seg") if one.pixel_array.any()]
    assert np.linalg.norm(lit(segmentation) - CENTRE, axis=1).max() < RADIUS + 1.5
    assert references(segmentation) == [(made.SOPInstanceUID, number) for number in range(2, 29, 2)]


def test_a_tomogram_without_a_place_fails_by_saying_what_it_lacks(site: Site) -> None:
    made = gated()
    del made.SpacingBetweenSlices
    job, state = run(site, [made], (20000, 40000))
    assert state is JobState.FAILED
    assert "the package takes a volume" in str(job.error_message)
    assert "Spacing Between Slices (0018,0088)" in str(job.error_message)
