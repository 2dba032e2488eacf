"""Values reach a model in the unit that it was trained in, or not at all: PS3.3 C.8.9, QIBA's SUV pseudocode."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from pydicom import Dataset
from pydicom.dataset import FileDataset

import emission
import synthetic
from whyray.base.errors import ImageError
from whyray.imaging import SourceImage, read_images, to_model, values_in_unit, wrap_nifti
from whyray.packages import InputSpec
from whyray.packages.manifest import Intensity

PLANES = synthetic.stack(6, (8, 8), spacing=(4.0, 4.0), distance=4.0)
FDG = 6586.2
HOUR_BEFORE = 70e3 / (370e6 * 0.5 ** (3600 / FDG))
"""SUV by body weight of 1 Bq/ml: 70 kg, 370 MBq of F-18 an hour before the scan."""


def spec(unit: str | None, window: tuple[float, float] = (5.0, 10.0)) -> InputSpec:
    intensity = Intensity(source="modality", window=window, unit=unit)  # type: ignore[arg-type]
    return InputSpec(name="x", layout="NCDHW", kind="volume", shape=(6, 8, 8), intensity=intensity)


def read(made: list[FileDataset]) -> SourceImage:
    (image,) = read_images(made).or_raise()
    return image


def given(image: SourceImage, unit: str | None, window: tuple[float, float] = (5.0, 10.0)) -> float:
    """The value that the model is given for a uniform image, before its window."""
    tensor = to_model(image, spec(unit, window)).tensor
    return float(np.median(tensor)) * window[1] + window[0] - window[1] / 2


def uniform(value: float, **attributes: Any) -> list[FileDataset]:
    return emission.pet(PLANES, lambda points: np.full(points.shape[:-1], value), **attributes)


def tracer_of(data: Dataset) -> Dataset:
    return data.RadiopharmaceuticalInformationSequence[0]  # type: ignore[no-any-return]


def another_tracer(data: Dataset) -> None:
    data.RadiopharmaceuticalInformationSequence = [tracer_of(data)] * 2


def without(keyword: str, of: Callable[[Dataset], Dataset] = lambda data: data) -> Callable[[Dataset], None]:
    return lambda data: delattr(of(data), keyword)


def put(keyword: str, value: object, of: Callable[[Dataset], Dataset] = lambda data: data) -> Callable[[Dataset], None]:
    return lambda data: setattr(of(data), keyword, value)


def test_bq_per_ml_become_suv_by_weight_dose_and_decay() -> None:
    assert given(read(uniform(20000)), "SUVbw") == pytest.approx(20000 * HOUR_BEFORE, rel=1e-4)


def test_a_unit_is_looked_into_once_an_image() -> None:
    """A package is asked whether it takes an image, then for its tensor: each went through all slices."""
    image, intensity = read(uniform(20000)), spec("SUVbw").intensity
    assert values_in_unit(image, intensity) is values_in_unit(image, intensity)
    assert values_in_unit(image, spec("BQML").intensity) is image.modality


def test_suv_as_such_and_bq_per_ml_as_such_are_taken_as_they_are() -> None:
    assert given(read(uniform(4.5, Units="GML")), "SUVbw") == pytest.approx(4.5, rel=1e-4)
    assert given(read(uniform(4.5, Units="GML", SUVType="BW")), "SUVbw") == pytest.approx(4.5, rel=1e-4)
    assert given(read(uniform(20000)), "BQML", (25000, 50000)) == pytest.approx(20000, rel=1e-4)


def test_values_corrected_to_the_injection_are_not_decayed_again() -> None:
    made = uniform(20000, DecayCorrection="ADMIN")
    assert given(read(made), "SUVbw") == pytest.approx(20000 * 70e3 / 370e6, rel=1e-4)


def test_an_injection_before_midnight_is_of_the_day_before() -> None:
    made = uniform(20000, SeriesTime="001500", AcquisitionTime="001500")
    for data in made:
        data.RadiopharmaceuticalInformationSequence[0].RadiopharmaceuticalStartTime = "231500.0"
    assert given(read(made), "SUVbw") == pytest.approx(20000 * HOUR_BEFORE, rel=1e-4)


@pytest.mark.parametrize("half_life", [45720.0, 282240.0, 8640.0])  # Cu-64, Zr-89, and one of 2.4 h
@pytest.mark.parametrize("time", ["091500", "101510", "231500"])
def test_a_time_alone_does_not_say_on_which_day_a_tracer_that_lasts_was_given(half_life: float, time: str) -> None:
    """It was taken for the scan's day or the day before: Zr-89 is scanned up to a week after the injection."""
    made = uniform(20000)
    for data in made:
        tracer_of(data).RadionuclideHalfLife, tracer_of(data).RadiopharmaceuticalStartTime = str(half_life), time
    with pytest.raises(ImageError, match="Radiopharmaceutical Start DateTime"):
        to_model(read(made), spec("SUVbw"))
    for data in made:
        tracer_of(data).RadiopharmaceuticalStartDateTime = f"20251231{time}"
    passed = (datetime(2026, 1, 2, 10, 15) - datetime.strptime(f"20251231{time}", "%Y%m%d%H%M%S")).total_seconds()
    if passed < 10 * half_life:
        wanted = 20000 * 70e3 / (370e6 * 0.5 ** (passed / half_life))
        assert given(read(made), "SUVbw", (50, 100)) == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("half_life", [FDG, 1223.4, 4057.7])  # F-18, C-11, Ga-68
def test_a_scan_that_starts_before_the_injection_is_not_one_of_the_next_day(half_life: float) -> None:
    """A dynamic scan is started, then the tracer is given."""
    made = uniform(20000)
    for data in made:
        tracer_of(data).RadionuclideHalfLife = str(half_life)
        tracer_of(data).RadiopharmaceuticalStartTime = "101530"
    with pytest.raises(ImageError, match=r"half-lives after the injection, found one 0\.00833 h before it"):
        to_model(read(made), spec("SUVbw"))


@pytest.mark.parametrize(("injected", "seconds"), [("101500", 0), ("101530", 30), ("101959", 299)])
def test_a_dynamic_scan_that_was_started_before_the_injection_has_suv(injected: str, seconds: float) -> None:
    """All its frames were refused, whose values are corrected to its start: the dose of then is a little more."""
    made = uniform(20000, SeriesType=["DYNAMIC", "IMAGE"])
    for data in made:
        tracer_of(data).RadiopharmaceuticalStartTime = injected
    wanted = 20000 * 70e3 / (370e6 * 2 ** (seconds / FDG))
    assert given(read(made), "SUVbw") == pytest.approx(wanted, rel=1e-4)


def test_no_dynamic_scan_is_started_long_before_the_injection() -> None:
    made = uniform(20000, SeriesType=["DYNAMIC", "IMAGE"])
    for data in made:
        tracer_of(data).RadiopharmaceuticalStartTime = "102001"
    with pytest.raises(ImageError, match=r"found one 0\.0836 h before it"):
        to_model(read(made), spec("SUVbw"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put("RadionuclideTotalDose", "370", tracer_of), "a dose in Bq .*Radionuclide Total Dose"),
        (put("RadionuclideTotalDose", "370000", tracer_of), "for each kg of the patient.*Radionuclide Total Dose"),
        (put("RadionuclideTotalDose", "370E9", tracer_of), "a dose in Bq.*Radionuclide Total Dose"),
        (put("PatientWeight", "70000"), "a weight in kg .*Patient's Weight"),
        (put("PatientWeight", "0.07"), "a weight in kg .*Patient's Weight"),
    ],
)
def test_a_dose_or_a_weight_in_another_unit_makes_no_suv(change: Callable[[Dataset], None], said: str) -> None:
    """A dose in MBq made SUV of millions: each voxel was as bright as the window goes, and the model answered."""
    made = uniform(20000)
    for data in made:
        change(data)
    with pytest.raises(ImageError, match=said):
        to_model(read(made), spec("SUVbw"))


def coded(value: str, half_life: str) -> Callable[[Dataset], None]:
    def change(data: Dataset) -> None:
        nuclide = Dataset()
        nuclide.CodeValue, nuclide.CodingSchemeDesignator, nuclide.CodeMeaning = value, "SCT", "the nuclide"
        tracer_of(data).RadionuclideCodeSequence, tracer_of(data).RadionuclideHalfLife = [nuclide], half_life

    return change


@pytest.mark.parametrize("code", ["77004003", "C-111A1"])
@pytest.mark.parametrize("half_life", ["6586.2", "6588", "6584.04"])
def test_a_half_life_is_that_of_the_nuclide_that_is_named(code: str, half_life: str) -> None:
    made = uniform(20000)
    for data in made:
        coded(code, half_life)(data)
    assert given(read(made), "SUVbw") == pytest.approx(20000 * HOUR_BEFORE, rel=1e-3)


@pytest.mark.parametrize(("code", "half_life"), [("77004003", "4057.7"), ("35337001", "6586.2"), ("C-111A1", "7000")])
def test_a_half_life_of_another_nuclide_than_the_one_named_makes_no_suv(code: str, half_life: str) -> None:
    made = uniform(20000)
    for data in made:
        coded(code, half_life)(data)
    with pytest.raises(ImageError, match="s of 'the nuclide', found Radionuclide Half Life"):
        to_model(read(made), spec("SUVbw"))


@pytest.mark.parametrize(("zone", "of_scan", "taken"), [("", "", True), ("+0000", "", False), ("+0100", "+0100", True)])
def test_a_zone_of_the_injection_alone_says_nothing_of_how_long_it_was_before_the_scan(
    zone: str, of_scan: str, taken: bool
) -> None:
    made = uniform(20000)
    for data in made:
        tracer_of(data).RadiopharmaceuticalStartDateTime = f"20260102091500{zone}"
        del tracer_of(data).RadiopharmaceuticalStartTime
        if of_scan:
            data.TimezoneOffsetFromUTC = of_scan
    if taken:
        assert given(read(made), "SUVbw") == pytest.approx(20000 * HOUR_BEFORE, rel=1e-4)
    else:
        with pytest.raises(ImageError, match=r"Timezone Offset From UTC"):
            to_model(read(made), spec("SUVbw"))


def test_a_series_made_later_than_its_images_counts_from_the_first_of_these() -> None:
    made = uniform(20000, SeriesTime="180000")
    for number, data in enumerate(made):
        data.AcquisitionTime = f"{1015 + 3 * (number // 2)}00"
    assert given(read(made), "SUVbw") == pytest.approx(20000 * HOUR_BEFORE, rel=1e-4)


def test_a_date_and_time_of_injection_comes_before_a_time_alone() -> None:
    made = uniform(20000)
    for data in made:
        tracer = data.RadiopharmaceuticalInformationSequence[0]
        tracer.RadiopharmaceuticalStartDateTime = "20260102091500.000"
    assert given(read(made), "SUVbw") == pytest.approx(20000 * HOUR_BEFORE, rel=1e-4)


def test_philips_counts_have_a_factor_of_their_own() -> None:
    made = uniform(20000, Units="CNTS")
    for data in made:
        data.private_block(0x7053, "Philips PET Private Group", create=True).add_new(0x00, "DS", "0.0002")
    assert given(read(made), "SUVbw") == pytest.approx(4.0, rel=1e-4)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put("Units", "CNTS"), "Units"),
        (put("Units", "PROPCPS"), "Units"),
        (without("Units"), "Units"),
        (without("PatientWeight"), "Patient's Weight"),
        (put("PatientWeight", "0"), "Patient's Weight"),
        (without("RadionuclideTotalDose", tracer_of), "Radionuclide Total Dose"),
        (without("RadionuclideHalfLife", tracer_of), "Radionuclide Half Life"),
        (put("RadionuclideHalfLife", "1E20", tracer_of), "Start DateTime"),
        (without("RadiopharmaceuticalStartTime", tracer_of), "Radiopharmaceutical Start Time"),
        (put("RadiopharmaceuticalStartDateTime", "20250102091500", tracer_of), "half-lives"),
        (put("RadiopharmaceuticalStartDateTime", "20260102081500", tracer_of), "Start Time"),
        (put("RadiopharmaceuticalStartDateTime", "20260102111500", tracer_of), "Start"),
        (put("CorrectedImage", ["DECY", "SCAT"]), "ATTN"),
        (put("DecayCorrection", "NONE"), "Decay Correction"),
        (another_tracer, "Radiopharmaceutical Information Sequence"),
        (without("RadiopharmaceuticalInformationSequence"), "Radiopharmaceutical Information Sequence"),
        (without("SeriesTime"), ""),
    ],
)
def test_what_suv_can_not_be_computed_of_is_refused_by_what_it_lacks(
    change: Callable[[Dataset], None], said: str
) -> None:
    made = uniform(20000)
    for data in made:
        change(data)
    if not said:
        assert given(read(made), "SUVbw") == pytest.approx(20000 * HOUR_BEFORE, rel=1e-4)
        return
    with pytest.raises(ImageError) as refused:
        to_model(read(made), spec("SUVbw"))
    assert said in refused.value.message


def test_slices_of_two_weights_make_no_suv() -> None:
    made = uniform(20000)
    made[3].PatientWeight = "77"
    with pytest.raises(ImageError, match="weight, dose and half-life"):
        to_model(read(made), spec("SUVbw"))


def test_suv_of_another_kind_and_bq_for_suv_are_refused() -> None:
    with pytest.raises(ImageError, match="SUV Type"):
        to_model(read(uniform(4.5, Units="GML", SUVType="LBM")), spec("SUVbw"))
    with pytest.raises(ImageError, match="Units"):
        to_model(read(uniform(4.5, Units="GML")), spec("BQML"))


def test_a_package_that_does_not_say_its_unit_takes_no_pet() -> None:
    with pytest.raises(ImageError, match=r"does not say in input\.intensity\.unit") as refused:
        to_model(read(uniform(20000)), spec(None))
    assert "unit: SUVbw" in refused.value.advice


@pytest.mark.parametrize(("unit", "taken"), [(None, ("", "HU", "US")), ("HU", ("", "HU"))])
def test_ct_that_is_not_in_hounsfield_units_is_no_ct_of_such(unit: str | None, taken: tuple[str, ...]) -> None:
    for written in ("", "HU", "US", "Z_EFF", "MGML"):
        made = synthetic.slices(np.full((6, 8, 8), 5, np.int16), PLANES)
        for data in made:
            data.RescaleType = written
        if written in taken:
            assert given(read(made), unit) == pytest.approx(5, abs=0.01)
        else:
            with pytest.raises(ImageError, match="Rescale Type"):
                to_model(read(made), spec(unit))


def test_an_enhanced_ct_says_its_unit_frame_by_frame() -> None:
    made = synthetic.enhanced(np.full((6, 8, 8), 5, np.int16), PLANES)
    assert given(read([made]), "HU") == pytest.approx(5, abs=0.01)
    for group in made.PerFrameFunctionalGroupsSequence:
        group.PixelValueTransformationSequence[0].RescaleType = "Z_EFF"
    with pytest.raises(ImageError, match="'Z_EFF'"):
        to_model(read([made]), spec(None))


def test_units_are_of_their_modality() -> None:
    ct = read(synthetic.slices(np.full((6, 8, 8), 5, np.int16), PLANES))
    mr = read(synthetic.slices(np.full((6, 8, 8), 5, np.int16), PLANES, modality="MR"))
    assert given(mr, None) == pytest.approx(5, abs=0.01)
    for image, unit in ((ct, "SUVbw"), (mr, "HU"), (mr, "BQML"), (read(uniform(20000)), "HU")):
        with pytest.raises(ImageError, match="expects"):
            to_model(image, spec(unit))


def test_a_volume_that_was_no_dicom_is_given_in_the_packages_unit(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.full((8, 8, 6), 5, np.int16), np.diag([4.0, 4, 4, 1])), tmp_path / "a.nii")
    (image,) = read_images(wrap_nifti(tmp_path / "a.nii", "PT").instances).or_raise()
    assert given(image, "SUVbw") == pytest.approx(5, abs=0.01)


def test_a_unit_is_of_modality_values_alone() -> None:
    with pytest.raises(ValueError, match=r"intensity.unit is for source 'modality'"):
        Intensity(unit="HU")
