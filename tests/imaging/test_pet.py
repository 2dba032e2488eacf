"""PET (PS3.3 A.21): each slice by its own slope, and nothing in one volume whose values are not of one kind."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.uid import LegacyConvertedEnhancedMRImageStorage

import emission
import synthetic
from whyray.imaging import NoteKind, read_images

PLANES = synthetic.stack(8, (8, 10), spacing=(4.0, 4.0), distance=3.0)


def test_each_slice_has_its_own_slope() -> None:
    made = emission.pet(PLANES)
    assert len({data.RescaleSlope for data in made}) == 8
    (image,) = read_images(made[::-1]).or_raise()
    wanted = np.stack([emission.rising(plane.points()) for plane in PLANES])
    np.testing.assert_allclose(np.asarray(image.modality), wanted, rtol=1e-4)


def test_a_pet_that_lost_its_slopes_is_refused_since_each_slice_had_its_own() -> None:
    made = emission.pet(PLANES)
    for data in made:
        del data.RescaleSlope, data.RescaleIntercept
    read = read_images(made)
    assert not read.images
    assert "Rescale Slope (0028,1053)" in read.refusals[0].error.message
    assert len(read.refusals[0].sop_instance_uids) == 8


@pytest.mark.parametrize(
    ("keyword", "values"),
    [("Units", ("BQML", "CNTS")), ("DecayCorrection", ("START", "ADMIN")), ("SUVType", ("BW", "LBM"))],
)
def test_values_of_two_kinds_never_make_one_volume(keyword: str, values: tuple[str, str]) -> None:
    made = emission.pet(PLANES)
    for index, data in enumerate(made):
        setattr(data, keyword, values[index // 4])
    images = read_images(made).or_raise()
    assert [image.shape[0] for image in images] == [4, 4]
    assert all(NoteKind.SPLIT_SERIES in [note.kind for note in image.notes] for image in images)


@pytest.mark.parametrize("keyword", ["FrameReferenceTime", "TriggerTime", "AcquisitionTime"])
def test_frames_of_a_dynamic_or_gated_pet_are_volumes_each(keyword: str) -> None:
    made = []
    for time in (1, 2, 3):
        written = f"10150{time}" if keyword == "AcquisitionTime" else str(1000 * time)
        made += emission.pet(PLANES, lambda points, time=time: emission.rising(points) * time, **{keyword: written})  # type: ignore[misc]
        for data in made[-8:]:
            data.SOPInstanceUID += f".{time}"
    images = read_images(made).or_raise()
    means = [float(np.asarray(image.modality).mean()) for image in images]
    np.testing.assert_allclose(means, [means[0], 2 * means[0], 3 * means[0]], rtol=1e-4)


def test_what_a_legacy_converted_instance_could_not_assign_tells_frames_apart() -> None:
    volume = synthetic.volume_of(PLANES, emission.rising)
    data = synthetic.enhanced(volume, PLANES, modality="MR", rescale=(1.0, 0.0))
    data.SOPClassUID = LegacyConvertedEnhancedMRImageStorage
    for index, group in enumerate(data.PerFrameFunctionalGroupsSequence):
        unassigned = Dataset()
        unassigned.EchoTime = 10 if index < 4 else 80
        group.UnassignedPerFrameConvertedAttributesSequence = [unassigned]
    images = read_images([data]).or_raise()
    assert [image.shape[0] for image in images] == [4, 4]
    assert "Echo Time 10" in images[0].notes[0].detail
