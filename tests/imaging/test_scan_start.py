"""To which moment the values of a PET are corrected, where Decay Correction is START: PS3.3 C.8.9.1 and C.8.9.4."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from pydicom.dataset import FileDataset

import emission
import synthetic
from whyray.base.errors import ImageError
from whyray.imaging import SourceImage, read_images, to_model
from whyray.packages import InputSpec
from whyray.packages.manifest import Intensity

PLANES = synthetic.stack(6, (8, 8), spacing=(4.0, 4.0), distance=4.0)
FDG = 6586.2
HOUR_BEFORE = 70e3 / (370e6 * 0.5 ** (3600 / FDG))
"""SUV by body weight of 1 Bq/ml: 70 kg, 370 MBq of F-18 an hour before the scan."""
DYNAMIC = ["DYNAMIC", "IMAGE"]
AN_HOUR_IN = {"SeriesType": DYNAMIC, "AcquisitionTime": "111500", "FrameReferenceTime": "3660000"}
RUBIDIUM = 75.5


def read(made: Sequence[FileDataset]) -> SourceImage:
    (image,) = read_images(made).or_raise()
    return image


def suv(made: Sequence[FileDataset], window: tuple[float, float] = (5.0, 10.0)) -> float:
    intensity = Intensity(source="modality", window=window, unit="SUVbw")
    spec = InputSpec(name="x", layout="NCDHW", kind="volume", shape=(6, 8, 8), intensity=intensity)
    tensor = to_model(read(made), spec).tensor
    return float(np.median(tensor)) * window[1] + window[0] - window[1] / 2


def uniform(value: float, **attributes: object) -> list[FileDataset]:
    return emission.pet(PLANES, lambda points: np.full(points.shape[:-1], value), **attributes)


@pytest.mark.parametrize("made_at", ["101500", "131500"])
def test_a_dynamic_frame_is_corrected_to_the_start_of_its_series_whenever_that_was_made(made_at: str) -> None:
    """Of a series that was reconstructed again, each frame was taken to be corrected to its own start: 46 % more."""
    assert suv(uniform(20000, SeriesTime=made_at, **AN_HOUR_IN)) == pytest.approx(20000 * HOUR_BEFORE, rel=1e-3)


def test_a_frame_is_of_when_its_mean_activity_was_and_that_is_before_its_middle() -> None:
    """Ten minutes of Rb-82, which halves in 75 s: the mean is at 195 s, for a middle of 300 s."""
    made = uniform(
        2000, SeriesTime="131500", SeriesType=DYNAMIC, AcquisitionTime="101700", ActualFrameDuration="600000"
    )
    decay = np.log(2) / RUBIDIUM
    mean = np.log(decay * 600 / (1 - np.exp(-decay * 600))) / decay
    for data in made:
        (tracer,) = data.RadiopharmaceuticalInformationSequence
        tracer.RadionuclideHalfLife, tracer.RadiopharmaceuticalStartTime = str(RUBIDIUM), "101500"
        data.FrameReferenceTime = f"{1000 * (mean + 60):.0f}"
    assert 185 < mean < 200
    wanted = 2000 * 70e3 / (370e6 * 0.5 ** (60 / RUBIDIUM))
    assert suv(made, (0.5, 1.0)) == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize("lacking", ["FrameReferenceTime", "ActualFrameDuration"])
def test_a_dynamic_frame_that_does_not_say_how_far_in_it_is_has_no_suv_once_its_series_was_made_again(
    lacking: str,
) -> None:
    made = uniform(20000, SeriesTime="131500", **AN_HOUR_IN)
    for data in made:
        delattr(data, lacking)
    with pytest.raises(ImageError, match=r"Series Time \(0008,0031\)"):
        suv(made)
    for data in made:
        data.SeriesTime = "101500"
    assert suv(made) == pytest.approx(20000 * HOUR_BEFORE, rel=1e-3)


def test_ge_says_itself_when_the_scan_began() -> None:
    """QIBA's pseudocode takes it where the series was made later than its images."""
    made = uniform(20000, SeriesTime="131500", **AN_HOUR_IN)
    for data in made:
        del data.FrameReferenceTime
        block = data.private_block(0x0009, "GEMS_PETD_01", create=True)
        block.add_new(0x0D, "DT", "20260102101500.00")
    assert suv(made) == pytest.approx(20000 * HOUR_BEFORE, rel=1e-3)
    for data in made:
        data.FrameReferenceTime = "60000"
    with pytest.raises(ImageError, match=r"Frame Reference Time \(0054,1300\)"):
        suv(made)


def with_ge_time(made: list[FileDataset], moment: str) -> list[FileDataset]:
    for data in made:
        del data.FrameReferenceTime
        data.private_block(0x0009, "GEMS_PETD_01", create=True).add_new(0x0D, "DT", moment)
    return made


def test_ges_own_time_that_contradicts_the_series_makes_no_suv() -> None:
    """Series Time was believed, of when the patient was positioned: 25 % less."""
    made = with_ge_time(uniform(20000, SeriesTime="093000"), "20260102101500.00")
    with pytest.raises(ImageError, match="GE's own time"):
        suv(made)


def test_ges_own_time_that_is_later_than_an_image_is_no_start() -> None:
    """It was believed where Series Time was not, and SUV doubled."""
    made = with_ge_time(uniform(20000, SeriesTime="180000"), "20260102121500.00")
    assert suv(made) == pytest.approx(20000 * HOUR_BEFORE, rel=1e-4)


@pytest.mark.parametrize("kind", ["DYNAMIC", "STATIC"])
@pytest.mark.parametrize("after", ["60000", "7260000"])
def test_a_start_that_the_frames_contradict_makes_no_suv(kind: str, after: str) -> None:
    """An hour late or early is 46 % of SUV: Series Time is then of something else, as of the patient's arrival."""
    made = uniform(20000, **{**AN_HOUR_IN, "SeriesType": [kind, "IMAGE"], "FrameReferenceTime": after})
    with pytest.raises(ImageError, match=r"Frame Reference Time \(0054,1300\)"):
        suv(made)


def test_frames_made_again_are_no_longer_before_their_scan_than_they_say() -> None:
    """A static one that says it is an hour in, and was acquired at once: one of both is not so."""
    made = uniform(20000, SeriesTime="180000", FrameReferenceTime="3660000")
    with pytest.raises(ImageError, match=r"Frame Reference Time \(0054,1300\)"):
        suv(made)


@pytest.mark.parametrize("after", ["0", "-60000", ""])
def test_a_frame_reference_time_of_nothing_says_nothing(after: str) -> None:
    made = uniform(20000, SeriesTime="180000", FrameReferenceTime=after)
    assert suv(made) == pytest.approx(20000 * HOUR_BEFORE, rel=1e-4)
    with pytest.raises(ImageError, match="Series Time"):
        suv(uniform(20000, **{**AN_HOUR_IN, "SeriesTime": "180000", "FrameReferenceTime": after}))


def test_beds_that_count_from_their_own_start_are_of_the_first_beds() -> None:
    for made_at in ("101500", "180000"):
        made = uniform(20000, SeriesTime=made_at)
        for number, data in enumerate(made):
            data.AcquisitionTime = f"{1015 + 9 * (number // 2)}00"
        assert suv(made) == pytest.approx(20000 * HOUR_BEFORE, rel=1e-4)


def test_a_series_time_that_is_rounded_up_is_not_later_than_its_images() -> None:
    made = uniform(20000, SeriesType=DYNAMIC, SeriesTime="101500.000000", AcquisitionTime="101459.999985")
    for data in made:
        del data.FrameReferenceTime
    assert suv(made) == pytest.approx(20000 * HOUR_BEFORE, rel=1e-4)


def test_slices_of_series_times_far_apart_make_no_suv() -> None:
    """The first one's was taken, whichever that was."""
    made = uniform(20000)
    for data in made[:3]:
        data.SeriesTime = "093000"
    with pytest.raises(ImageError, match="Series Time"):
        suv(made)


def test_without_times_of_the_images_a_series_time_may_be_that_of_any_reconstruction() -> None:
    made = uniform(20000)
    for data in made:
        del data.AcquisitionTime
    with pytest.raises(ImageError, match=r"Acquisition Time \(0008,0032\)"):
        suv(made)
    for data in made:
        data.DecayCorrection = "ADMIN"
    assert suv(made) == pytest.approx(20000 * 70e3 / 370e6, rel=1e-4)


@pytest.mark.parametrize("day", ["00010101", "99991231"])
def test_a_day_at_the_end_of_the_calendar_is_none(day: str) -> None:
    made = uniform(20000, SeriesDate=day, AcquisitionDate=day, FrameReferenceTime="10000000000")
    with pytest.raises(ImageError, match="Acquisition Date"):
        suv(made)
