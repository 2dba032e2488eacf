"""Values by Real World Value Mapping (PS3.3 C.7.6.16.2.11) reach a model in its unit, or the image is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.dataset import FileDataset
from pydicom.uid import EnhancedPETImageStorage, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

import emission
import synthetic
from imaging.test_units import HOUR_BEFORE, PLANES, given, read, spec, uniform
from whyray.base.errors import ImageError
from whyray.imaging import read_images, to_model, values_in_unit
from whyray.packages.manifest import Intensity


def mapping(unit: str, first: float = 0, last: float = 65535, *, of_floats: bool = False, **said: Any) -> Dataset:
    """One item; a line of slope 1 through 0 unless `said` has another."""
    made, code = Dataset(), Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = unit, "UCUM", unit
    made.MeasurementUnitsCodeSequence = [code]
    made.LUTExplanation, made.LUTLabel = "as measured", "MEASURED"
    prefix, vr = ("DoubleFloat", "FD") if of_floats else ("", "SS" if first < 0 else "US")
    made.add_new(f"{prefix}RealWorldValueFirstValueMapped", vr, first)
    made.add_new(f"{prefix}RealWorldValueLastValueMapped", vr, last)
    line = {} if "RealWorldValueLUTData" in said else {"RealWorldValueSlope": 1.0, "RealWorldValueIntercept": 0.0}
    for keyword, value in {**line, **said}.items():
        if value is not None:
            setattr(made, keyword, value)
    return made


def line(unit: str, slope: float, intercept: float = 0.0, first: float = 0, last: float = 65535) -> Dataset:
    return mapping(unit, first, last, RealWorldValueSlope=slope, RealWorldValueIntercept=intercept)


def resonance(*items: Dataset, stored: int = 700) -> list[FileDataset]:
    """MR whose stored values are all `stored`, each slice with these mappings."""
    made = synthetic.slices(np.full((6, 8, 8), stored, np.int16), PLANES, modality="MR")
    for data in made:
        data.RealWorldValueMappingSequence = list(items)
    return made


def enhanced_pet(*, shared: list[Dataset] | None = None, each: list[Dataset] | None = None) -> FileDataset:
    """An Enhanced PET image of 20 000 Bq/ml everywhere, frame by frame with a slope of its own."""
    slopes = [(float(number), 0.0) for number in range(1, 7)]
    made = synthetic.enhanced(np.full((6, 8, 8), 20000, np.int32), PLANES, rescale=slopes)
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = EnhancedPETImageStorage
    made.Modality, made.PatientWeight = "PT", "70"
    made.DecayCorrected = made.AttenuationCorrected = "YES"
    for number, group in enumerate(made.PerFrameFunctionalGroupsSequence):
        group.PixelValueTransformationSequence[0].RescaleType = "US"
        if each is not None:
            group.RealWorldValueMappingSequence = [each[number]]
    if shared is not None:
        made.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence = shared
    return made


SUV = "{SUVbw}g/ml"
OF_EACH = [line(SUV, number * HOUR_BEFORE) for number in range(1, 7)]


def test_an_enhanced_pet_is_given_in_the_suv_that_it_maps_its_frames_to() -> None:
    assert given(read([enhanced_pet(each=OF_EACH)]), "SUVbw") == pytest.approx(20000 * HOUR_BEFORE, rel=1e-3)


def test_a_frames_own_mapping_comes_before_that_of_all_frames() -> None:
    made = enhanced_pet(each=OF_EACH, shared=[line(SUV, 9.0)])
    assert given(read([made]), "SUVbw") == pytest.approx(20000 * HOUR_BEFORE, rel=1e-3)


def test_suv_by_lean_body_mass_is_none_by_weight() -> None:
    lean = [line("{SUVlbm}g/ml", number * HOUR_BEFORE) for number in range(1, 7)]
    with pytest.raises(ImageError, match="Units"):
        to_model(read([enhanced_pet(each=lean)]), spec("SUVbw"))


def test_a_mapping_of_some_frames_is_none_of_the_volume() -> None:
    made = enhanced_pet(each=OF_EACH)
    del made.PerFrameFunctionalGroupsSequence[2].RealWorldValueMappingSequence
    with pytest.raises(ImageError, match="found one of 5 of 6"):
        to_model(read([made]), spec("SUVbw"))


@pytest.mark.parametrize("keyword", ["DecayCorrected", "AttenuationCorrected"])
def test_a_pet_that_is_not_corrected_has_no_suv_whatever_it_maps_to(keyword: str) -> None:
    made = enhanced_pet(each=OF_EACH)
    setattr(made, keyword, "NO")
    with pytest.raises(ImageError, match="corrected for attenuation and decay"):
        to_model(read([made]), spec("SUVbw"))


def test_a_mapping_that_contradicts_dose_and_weight_is_refused_and_one_that_agrees_is_taken() -> None:
    made = uniform(20000)
    for data in made:
        data.RealWorldValueMappingSequence = [line(SUV, float(data.RescaleSlope) * HOUR_BEFORE * 1.01)]
    assert given(read(made), "SUVbw") == pytest.approx(20000 * HOUR_BEFORE * 1.01, rel=1e-3)
    for data in made:
        data.RealWorldValueMappingSequence = [line(SUV, float(data.RescaleSlope) * HOUR_BEFORE * 1.5)]
    with pytest.raises(ImageError, match=r"one value in SUVbw of each pixel, found 8\.\d+ by .* and 5\.\d+ by"):
        to_model(read(made), spec("SUVbw"))


def test_bq_per_ml_by_units_and_by_mapping_have_to_be_the_same() -> None:
    made = uniform(20000)
    for data in made:
        data.RealWorldValueMappingSequence = [line("kBq/ml", float(data.RescaleSlope) / 1000)]
    assert given(read(made), "BQML", (25000, 50000)) == pytest.approx(20000, rel=1e-3)
    for data in made:
        data.RealWorldValueMappingSequence = [line("Bq/ml", float(data.RescaleSlope) / 1000)]
    with pytest.raises(ImageError, match="one value in BQML of each pixel"):
        to_model(read(made), spec("BQML"))


@pytest.mark.parametrize(("code", "slope"), [("mm2/s", 1e-6), ("um2/s", 1.0), ("10-6.mm2/s", 1.0)])
def test_a_map_of_diffusion_coefficients_is_given_in_its_unit(code: str, slope: float) -> None:
    """Its stored values have no unit of their own: 700 was given as 700, or as whatever the slope made of it."""
    image = read(resonance(line(code, slope)))
    assert given(image, "mm2/s", (1e-3, 2e-3)) == pytest.approx(700e-6, rel=1e-3)
    assert given(image, "um2/s", (1000, 2000)) == pytest.approx(700, rel=1e-3)


def test_of_mappings_to_several_units_the_packages_own_is_taken() -> None:
    image = read(resonance(line("ms", 2.0), line("1/s", 0.5)))
    assert given(image, "ms", (1000, 2000)) == pytest.approx(1400, rel=1e-3)
    assert given(image, "1/s", (500, 1000)) == pytest.approx(350, rel=1e-3)
    with pytest.raises(ImageError, match=r"expects values in mm2/s, found no Real World Value Mapping Sequence"):
        to_model(image, spec("mm2/s"))


def test_a_table_and_parts_of_the_range_are_mapped_each_by_its_own() -> None:
    table = mapping("ms", 700, 702, RealWorldValueLUTData=[11.0, 12.0, 17.0])
    made = resonance(line("ms", 0.1, first=0, last=699), table, stored=701)
    assert given(read(made), "ms", (10, 20)) == pytest.approx(12, rel=1e-3)
    assert given(read(resonance(line("ms", 0.1, last=699), table, stored=100)), "ms", (10, 20)) == pytest.approx(10)


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ([line("ms", 2.0, last=699)], "all stored values mapped, found 700"),
        ([line("ms", 2.0), line("ms", 3.0)], "one mapping to ms of each stored value"),
        ([line("ms", 2.0), line("s", 2.0)], "one value in ms of each pixel"),
        ([mapping("ms", RealWorldValueSlope=None)], "Real World Value Slope"),
        ([line("ms", 0.0)], "Real World Value Slope"),
        ([mapping("ms", 700, 702, RealWorldValueLUTData=[1.0, 2.0])], "3 numbers in Real World Value LUT Data"),
        ([mapping("ms", 0, 1, RealWorldValueLUTData=[1.0, 2.0], RealWorldValueSlope=1.0)], "a table or a line"),
        ([line("ms", 2.0, first=900, last=800)], "a range of stored values"),
        (
            [mapping("ms", 699.5, 701.5, of_floats=True, RealWorldValueLUTData=[1.0, 2.0, 3.0])],
            "whole numbers as ends of a table",
        ),
        ([line("ms", 1e39)], "values of up to 3.4e"),
        ([line("ms", 1.0, 1e39)], "values of up to 3.4e"),
        ([mapping("ms", 700, 701, RealWorldValueLUTData=[1.0, 1e39])], "values of up to 3.4e"),
    ],
)
def test_a_mapping_that_can_not_be_applied_is_refused(items: list[Dataset], said: str) -> None:
    with pytest.raises(ImageError, match=said):
        to_model(read(resonance(*items)), spec("ms"))


def test_a_mapping_given_twice_is_one() -> None:
    assert given(read(resonance(line("ms", 2.0), line("ms", 2.0))), "ms", (1000, 2000)) == pytest.approx(1400)


def test_what_is_marked_as_no_image_needs_no_mapping() -> None:
    made = resonance(line("ms", 2.0, first=1))
    for data in made:
        pixels = np.full((8, 8), 700, "<u2")
        pixels[0] = 0
        data.PixelData, data.PixelPaddingValue = pixels.tobytes(), 0
        data["PixelPaddingValue"].VR = "US"
    assert given(read(made), "ms", (1000, 2000)) == pytest.approx(1400)


def test_ct_that_maps_its_values_to_hounsfield_units_has_to_agree_with_its_rescale() -> None:
    made = synthetic.slices(np.full((6, 8, 8), 5, np.int16), PLANES)
    slope, intercept = float(made[0].RescaleSlope), float(made[0].RescaleIntercept)
    for data in made:
        data.RealWorldValueMappingSequence = [line("[hnsf'U]", slope, intercept)]
    assert given(read(made), "HU") == pytest.approx(5, abs=0.01)
    for data in made:
        data.RealWorldValueMappingSequence = [line("[hnsf'U]", slope, intercept - 1024)]
    with pytest.raises(ImageError, match="one value in HU of each pixel"):
        to_model(read(made), spec("HU"))
    for data in made:
        data.RescaleType = "US"
    assert given(read(made), "HU", (-1000, 4000)) == pytest.approx(5 - 1024, abs=0.1)


def scanned_with(stated: str, *of_each: list[Dataset]) -> list[FileDataset]:
    """CT from -976 to 24 HU, of this Rescale Type, each slice with mappings of its own."""
    volume = np.linspace(-976, 24, 6 * 64).round().astype(np.int16).reshape(6, 8, 8)
    made = synthetic.slices(volume, PLANES, shuffled=False)
    for data, items in zip(made, of_each, strict=True):
        data.RescaleType = stated
        if items:
            data.RealWorldValueMappingSequence = items
    return made


HU_OF_A_PART = line("[hnsf'U]", 1.0, -1024.0, first=124, last=4095)
"""From -900 to 3071 HU."""
HU_OF_ALL = line("[hnsf'U]", 1.0, -1024.0)


@pytest.mark.parametrize("stated", ["HU", ""])
@pytest.mark.parametrize(
    "of_each",
    [[[HU_OF_A_PART]] * 6, [[HU_OF_ALL]] * 5 + [[]], [[]] * 3 + [[HU_OF_A_PART]] * 3],
    ids=["a part of the range", "five slices of six", "both"],
)
def test_ct_in_hounsfield_units_needs_no_mapping_of_all_its_values(stated: str, of_each: list[list[Dataset]]) -> None:
    """A mapping may leave values out (C.7.6.16.2.11), and Rescale Type says all of them."""
    image = read(scanned_with(stated, *of_each))
    assert values_in_unit(image, spec("HU").intensity) is image.modality
    assert float(np.asarray(image.modality).min()) == -976


@pytest.mark.parametrize("place", [0, 5])
def test_a_mapping_of_a_part_has_to_agree_with_rescale_where_it_maps(place: int) -> None:
    other = line("[hnsf'U]", 1.0, -924.0, first=1000, last=4095)
    of_each = [[HU_OF_A_PART]] * 6
    of_each[place] = [other]
    image = read(scanned_with("HU", *of_each))
    if place == 0:  # whose values are all below
        assert values_in_unit(image, spec("HU").intensity) is image.modality
        return
    with pytest.raises(ImageError, match="one value in HU of each pixel"):
        values_in_unit(image, spec("HU").intensity)


@pytest.mark.parametrize(
    ("of_each", "said"),
    [([[HU_OF_A_PART]] * 6, "all stored values mapped, found 48"), ([[HU_OF_ALL]] * 5 + [[]], "found one of 5 of 6")],
)
def test_ct_that_states_no_unit_beside_its_mapping_needs_one_of_all_its_values(
    of_each: list[list[Dataset]], said: str
) -> None:
    with pytest.raises(ImageError, match=said):
        values_in_unit(read(scanned_with("US", *of_each)), spec("HU").intensity)


def test_pet_in_bq_per_ml_needs_no_mapping_of_all_its_values() -> None:
    made = uniform(20000)
    for data in made[1:]:
        data.RealWorldValueMappingSequence = [line("Bq/ml", float(data.RescaleSlope), first=0, last=31999)]
    made[1].RealWorldValueMappingSequence = [line("Bq/ml", float(made[1].RescaleSlope))]
    image = read(made)
    assert values_in_unit(image, spec("BQML").intensity) is image.modality
    made[1].RealWorldValueMappingSequence = [line("Bq/ml", float(made[1].RescaleSlope) * 1.1)]
    with pytest.raises(ImageError, match="one value in BQML of each pixel"):
        values_in_unit(read(made), spec("BQML").intensity)


def test_suv_that_can_be_had_of_dose_and_weight_needs_no_mapping_of_all_values() -> None:
    made = uniform(20000)
    made[1].RealWorldValueMappingSequence = [line(SUV, float(made[1].RescaleSlope) * HOUR_BEFORE)]
    assert given(read(made), "SUVbw") == pytest.approx(20000 * HOUR_BEFORE, rel=1e-3)
    made[1].RealWorldValueMappingSequence = [line(SUV, float(made[1].RescaleSlope) * HOUR_BEFORE * 1.5)]
    with pytest.raises(ImageError, match="one value in SUVbw of each pixel"):
        to_model(read(made), spec("SUVbw"))


def test_parts_of_the_range_in_two_multiples_of_a_unit_are_all_of_it() -> None:
    parts = [line("ms", 2.0, last=699), line("s", 0.002, first=700)]
    assert given(read(resonance(*parts)), "ms", (1000, 2000)) == pytest.approx(1400)
    assert given(read(resonance(*parts, stored=600)), "ms", (1000, 2000)) == pytest.approx(1200)


@pytest.mark.parametrize(
    ("items", "wanted"),
    [
        ([line("ms", 1.0, first=-32768, last=0), line("ms", 1.0, first=0, last=32767)], 700.0),
        ([line("ms", 2.0, 4.0, last=800), line("ms", 2.0, 4.0, first=600)], 1404.0),
        ([line("ms", 1.0, first=-32768, last=700), line("ms", 2.0, -700.0, first=700, last=32767)], 700.0),
        ([line("ms", 0.1), mapping("ms", 699, 701, RealWorldValueLUTData=[69.9, 70.0, 70.1])], 70.0),
        ([line("ms", 0.1), mapping("ms", 699, 701, RealWorldValueLUTData=[69.9, 70.0, 70.2])], None),
        ([line("ms", 1.0, first=-32768, last=1), line("ms", 2.0, first=0, last=32767)], None),
        ([line("ms", 1.0, last=800), line("ms", 2.0, -650.0, first=600)], None),  # the same of 650 alone
    ],
)
def test_two_mappings_of_one_stored_value_are_taken_where_they_say_the_same(
    items: list[Dataset], wanted: float | None
) -> None:
    image = read(resonance(*items))
    if wanted is None:
        with pytest.raises(ImageError, match="one mapping to ms of each stored value"):
            values_in_unit(image, spec("ms").intensity)
    else:
        np.testing.assert_allclose(np.asarray(values_in_unit(image, spec("ms").intensity)), wanted, rtol=1e-6)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("of_floats", [False, True])
def test_ends_of_a_range_are_read_as_files_hold_them(tmp_path: Path, syntax: str, of_floats: bool) -> None:
    """Signed or unsigned by the pixels (PS3.5 annex A), where the type is not written."""
    item = mapping("ms", -32768, 32767, of_floats=of_floats, RealWorldValueSlope=2.0)
    made = synthetic.slices(np.full((6, 8, 8), 700, np.int16), PLANES, modality="MR")
    for number, data in enumerate(made):
        data.PixelRepresentation = 1
        data.RealWorldValueMappingSequence = [item]
        data.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian:
            data.PixelData = np.frombuffer(data.PixelData, "<i2").astype(">i2").tobytes()
        dcmwrite(
            tmp_path / f"{number}.dcm",
            data,
            implicit_vr=syntax == ImplicitVRLittleEndian,
            little_endian=syntax != ExplicitVRBigEndian,
        )
    assert dcmread(tmp_path / "0.dcm").RealWorldValueMappingSequence
    (image,) = read_images(sorted(tmp_path.iterdir())).or_raise()
    assert given(image, "ms", (1000, 2000)) == pytest.approx(1400)


@pytest.mark.parametrize(("unit", "meant"), [("hu", "HU"), ("SUV", "SUVbw"), ("g/ml", "SUVbw"), ("Bq/ml", "BQML")])
def test_a_unit_with_a_name_is_written_by_it(unit: str, meant: str) -> None:
    with pytest.raises(ValueError, match=f"write {meant}"):
        Intensity(source="modality", window=(1, 2), unit=unit)
    with pytest.raises(ValueError, match="no UCUM code"):
        Intensity(source="modality", window=(1, 2), unit="mm²/s")


def test_a_volume_larger_than_a_hand_holds_neither_more_activity_than_was_injected_nor_a_thousandth() -> None:
    """Values in kBq/ml that are called Bq/ml, and a dose off by as much, made SUV off by 1000 without a word."""
    planes = synthetic.stack(10, (32, 32), spacing=(12.0, 12.0), distance=12.0)
    for activity, taken in ((5.0, False), (2000.0, True), (500000.0, False)):
        made = emission.pet(planes, lambda points, activity=activity: np.full(points.shape[:-1], activity))  # type: ignore[misc]
        if taken:
            assert given(read(made), "SUVbw") == pytest.approx(activity * HOUR_BEFORE, rel=1e-3)
        else:
            with pytest.raises(ImageError, match="times it: SUV can't be right"):
                to_model(read(made), spec("SUVbw"))


@pytest.mark.parametrize("weight", ["70000", "0", ""])
def test_suv_that_was_computed_elsewhere_needs_no_weight(weight: str) -> None:
    planes = synthetic.stack(10, (32, 32), spacing=(12.0, 12.0), distance=12.0)
    made = emission.pet(planes, lambda points: np.full(points.shape[:-1], 2.0), Units="GML", PatientWeight=weight)
    assert given(read(made), "SUVbw") == pytest.approx(2, rel=1e-3)


def test_suv_of_next_to_no_activity_is_refused_only_where_dose_and_times_were_used() -> None:
    """The first frames of a dynamic series hold next to nothing, and no dose has a say in SUV of the scanner's own."""
    planes = synthetic.stack(10, (32, 32), spacing=(12.0, 12.0), distance=12.0)
    of_the_scanner = emission.pet(planes, lambda points: np.full(points.shape[:-1], 0.002), Units="GML")
    assert given(read(of_the_scanner), "SUVbw", (0.002, 0.01)) == pytest.approx(0.002, rel=1e-3)
    mapped = emission.pet(planes, lambda points: np.full(points.shape[:-1], 5.0))
    with pytest.raises(ImageError, match="Radionuclide Total Dose"):
        to_model(read(mapped), spec("SUVbw"))
    for data in mapped:
        data.RealWorldValueMappingSequence = [line(SUV, float(data.RescaleSlope) * HOUR_BEFORE)]
    assert given(read(mapped), "SUVbw", (0.002, 0.01)) == pytest.approx(5 * HOUR_BEFORE, rel=1e-3)


@pytest.mark.parametrize("correction", ["START", "ADMIN"])
@pytest.mark.parametrize("lacking", [None, "FrameReferenceTime"])
@pytest.mark.parametrize(
    ("kind", "began", "taken"),
    [
        ("DYNAMIC", "101500", True),
        ("DYNAMIC", "101654", True),
        ("DYNAMIC", "102455", False),
        ("STATIC", "101500", False),
    ],
)
def test_a_frame_of_a_dynamic_series_may_hold_next_to_nothing_until_the_tracer_is_there(
    kind: str, began: str, taken: bool, lacking: str | None, correction: str
) -> None:
    """The first ones were refused as values in another unit than they say: then those corrected to the injection."""
    planes = synthetic.stack(10, (32, 32), spacing=(12.0, 12.0), distance=12.0)
    made = emission.pet(planes, lambda points: np.full(points.shape[:-1], 5.0), SeriesType=[kind, "IMAGE"])
    for data in made:
        data.RadiopharmaceuticalInformationSequence[0].RadiopharmaceuticalStartTime = "101500"
        data.DecayCorrection, data.AcquisitionTime, data.ActualFrameDuration = correction, began, "10000"
        data.FrameReferenceTime = str(1000 * (60 * (int(began[2:4]) - 15) + int(began[4:]) + 5))
        if lacking:
            delattr(data, lacking)
    if taken:
        wanted = 5 * 70e3 / 370e6
        assert given(read(made), "SUVbw", (0.0005, 0.002)) == pytest.approx(wanted, rel=1e-3)
    else:
        with pytest.raises(ImageError, match="times it: SUV can't be right"):
            to_model(read(made), spec("SUVbw"))


def test_more_than_was_injected_is_refused_of_any_suv_and_dose_is_named_only_where_it_was_used() -> None:
    planes = synthetic.stack(10, (32, 32), spacing=(12.0, 12.0), distance=12.0)
    made = emission.pet(planes, lambda points: np.full(points.shape[:-1], 500.0), Units="GML")
    with pytest.raises(ImageError, match="times it: SUV can't be right") as refused:
        to_model(read(made), spec("SUVbw"))
    assert "Radionuclide Total Dose" not in refused.value.message


def test_what_is_no_mapping_at_all_is_none() -> None:
    made = resonance()
    for data in made:
        data.add_new("RealWorldValueMappingSequence", "LO", "rubbish")
    with pytest.raises(ImageError, match="found no Real World Value Mapping Sequence"):
        to_model(read(made), spec("ms"))
