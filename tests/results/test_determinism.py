"""The same work gives the same objects, once; other work gives others."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from pydicom import dcmread

import synthetic
from results.answers import AT, FOUR_KINDS, PACKAGE, answer_about, card, image_of
from results.sources import tilted
from results.test_validity import rich_answer
from whyray.base.errors import ConfigError
from whyray.base.frame_array import FrameArray, PackedMask
from whyray.imaging import ModelGrid, Note, NoteKind
from whyray.quality import Grade
from whyray.results import EVERY_KIND, EarlierResult, build_results, encode, grouped_results, load_templates
from whyray.results.checksums import checksums_of
from whyray.results.fingerprint import fingerprint


def uids_of(answer, templates, **options):
    return [result.dataset.SOPInstanceUID for result in build_results(answer, FOUR_KINDS, templates, **options)]


def test_the_same_answer_gives_the_same_bytes(tilted_image, dx_image, templates):
    for image in (tilted_image, dx_image):
        first, second = (
            [encode(result.dataset) for result in build_results(rich_answer(image), EVERY_KIND, loaded)]
            for loaded in (templates, load_templates())
        )
        assert first == second


@pytest.mark.parametrize("kinds", [EVERY_KIND, ("sc", "seg", "sr")])
def test_what_is_told_as_finished_is_every_result_as_it_is_in_the_end(kinds, tilted_image, dx_image, templates):
    for image in (tilted_image, dx_image):
        told = {}

        def finished(result, told=told):
            encoded = encode(result.dataset)
            assert told.setdefault(result.dataset.SOPInstanceUID, encoded) == encoded

        ((_, results),) = grouped_results([rich_answer(image)], kinds, templates, finished=finished)
        assert told == {result.dataset.SOPInstanceUID: encode(result.dataset) for result in results}


def test_no_object_carries_another_time_than_the_answer(dx_image, templates):
    stamp, day = AT.strftime("%H%M%S"), AT.strftime("%Y%m%d")
    for result in build_results(rich_answer(dx_image), FOUR_KINDS, templates):
        dataset = result.dataset
        for keyword in ("InstanceCreation", "Content", "Series"):
            assert (dataset[f"{keyword}Date"].value, dataset[f"{keyword}Time"].value) == (day, stamp)
        assert dataset.ContributingEquipmentSequence[0].ContributionDateTime == f"{day}{stamp}+0100"


def test_a_job_done_again_gives_the_same_uids_and_one_of_another_time_others(dx_image, templates):
    once = answer_about(dx_image)
    assert uids_of(once, templates) == uids_of(answer_about(dx_image), templates)
    assert not set(uids_of(once, templates)) & set(uids_of(replace(once, at=AT + timedelta(hours=3)), templates))


def test_whatever_a_result_is_made_of_changes_its_uid(dx_image, tilted_image, templates):
    base = answer_about(dx_image)
    finding = base.findings[0]
    other_values = finding.maps[0].values * np.float32(0.5)
    other_map = replace(finding.maps[0], parameters={"relu": False})
    variants = [
        answer_about(tilted_image),
        replace(base, package=replace(PACKAGE, digest="f" * 64)),
        replace(base, package=replace(PACKAGE, version="1.2.4")),
        replace(base, route="another route"),
        replace(base, revision=2),
        replace(base, findings=(replace(finding, probability=0.83), base.findings[1])),
        replace(base, findings=(replace(finding, maps=(replace(finding.maps[0], values=other_values),)),)),
        replace(base, findings=(replace(finding, maps=(replace(finding.maps[0], card=card(Grade.AMBER)),)),)),
        replace(base, image=replace(dx_image, notes=(Note(NoteKind.GAP, "a slice is missing"),))),
        replace(base, findings=(replace(finding, maps=(other_map,)), base.findings[1])),
        replace(base, findings=(replace(finding, maps=(replace(finding.maps[0], method="rise"),)), base.findings[1])),
    ]
    seen = set(uids_of(base, templates))
    for variant in [*variants]:
        uids = uids_of(variant, templates)
        assert not seen & set(uids)
        seen |= set(uids)
    assert not seen & set(uids_of(base, replace(templates, version="edited")))
    assert not seen & set(uids_of(base, templates, language="de"))
    assert not seen & set(uids_of(base, templates, previous=[EarlierResult("1.2", "1.3", "1.4")]))
    assert not seen & {result.dataset.SOPInstanceUID for result in build_results(base, ["sr"], templates)}
    assert not seen & set(uids_of(base, templates, uid_root="1.2.826.0.1.3680043.9999"))


def test_a_map_with_a_grid_is_told_by_its_grid(dx_image, templates):
    base = answer_about(dx_image)
    (lit,) = base.findings[0].maps

    def uids(on_grid, to_reference):
        grid = ModelGrid((2, 2), np.asarray(to_reference, np.float64))
        finding = replace(base.findings[0], maps=(replace(lit, on_grid=np.float32([on_grid]), grid=grid),))
        return set(uids_of(replace(base, findings=(finding, base.findings[1])), templates))

    once = uids([[0, 1], [2, 3]], np.diag([20, 20, 1]))
    assert uids([[0, 1], [2, 3]], np.diag([20, 20, 1])) == once
    assert not uids([[0, 1], [2, 4]], np.diag([20, 20, 1])) & once
    assert not uids([[0, 1], [2, 3]], np.diag([20, 21, 1])) & once


@pytest.mark.parametrize("known", [True, False])
def test_what_a_map_says_in_the_source_is_told_to_the_last_bit_though_its_grid_is_the_same(dx_image, known):
    """Products of matrices round otherwise on another processor, and a threshold may lie between the two."""
    (lit,) = answer_about(dx_image).findings[0].maps
    lit = replace(lit, values=np.asarray(lit.values), region=np.asarray(lit.region), covered=np.asarray(lit.covered))
    grid = ModelGrid((2, 2), np.diag([20.0, 20.0, 1.0]))

    def of(**other):
        made = replace(lit, on_grid=np.float32([[[0, 1], [2, 3]]]), grid=grid, **other)
        return fingerprint(replace(made, checksums=checksums_of(made.values) if known else None))

    def flipped(mask):
        other = mask.copy()
        other[0, 3, 5] ^= True
        return other

    values = lit.values.copy()
    values[0, 3, 5] = np.nextafter(values[0, 3, 5], np.float32(9))
    assert of() == of(values=lit.values.copy(), region=PackedMask.of(lit.region, lit.region.shape))
    others = [of(values=values), of(region=flipped(lit.region)), of(covered=flipped(lit.covered))]
    assert len({of(), *others}) == 4


def test_a_map_whose_values_have_checksums_is_told_without_making_them(dx_image):
    def never(_):
        raise AssertionError("made")

    (lit,) = answer_about(dx_image).findings[0].maps
    values = FrameArray(lit.values.shape, np.float32, never)
    grid = ModelGrid((2, 2), np.diag([20.0, 20.0, 1.0]))
    known = {"grid": grid, "checksums": np.zeros(len(values), np.uint32)}
    assert fingerprint(replace(lit, values=values, on_grid=np.zeros((1, 2, 2), np.float32), **known))


def test_what_was_known_of_other_frames_is_refused(dx_image):
    (lit,) = answer_about(dx_image).findings[0].maps
    for known in ({"strengths": np.zeros((2, 3))}, {"checksums": np.zeros(2, np.uint32)}):
        with pytest.raises(ValueError, match="frames"):
            replace(lit, **known)


@pytest.mark.parametrize("shift", [0.0, -0.3, -2.0])
def test_the_largest_value_of_a_map_is_the_same_where_its_extremes_are_known(dx_image, shift):
    (lit,) = answer_about(dx_image).findings[0].maps
    plain = replace(lit, values=lit.values + np.float32(shift), signed=True)
    known = replace(plain, extremes=(float(plain.values.min()), float(plain.values.max())))
    assert (known.top, known.largest) == (plain.top, plain.largest)


def test_a_mask_has_one_fingerprint_however_it_is_kept():
    mask = np.random.default_rng(0).random((4, 7, 9)) > 0.5
    mask[1], mask[2] = True, False
    other = mask.copy()
    other[3, 6, 8] ^= True
    assert fingerprint(mask) == fingerprint(PackedMask.of(mask, mask.shape))
    assert fingerprint(mask) != fingerprint(other)
    assert fingerprint(mask) != fingerprint(mask.reshape(4, 9, 7))
    small = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)[:, :7].astype(bool).reshape(256, 1, 1, 7)
    assert len({fingerprint(value) for value in small}) == 128


def test_uids_are_valid_and_stay_under_the_root_that_a_site_names(dx_image, templates):
    for root in (None, "1.2.3", "1.2.826.0.1.3680043.10.99999.1234567890123"):
        for result in build_results(answer_about(dx_image), FOUR_KINDS, templates, uid_root=root):
            for uid in (result.dataset.SOPInstanceUID, result.dataset.SeriesInstanceUID):
                assert re.fullmatch(r"[0-2](\.(0|[1-9]\d*))+", uid)
                assert len(uid) <= 64
                assert uid.startswith("2.25." if root is None else root + ".")


@pytest.mark.parametrize("root", ["", "1.2.", "1.02", "abc", "1." + "2" * 60])
def test_a_root_that_is_no_uid_is_refused(root, dx_image, templates):
    with pytest.raises(ConfigError, match="UID root"):
        build_results(answer_about(dx_image), ["sc"], templates, uid_root=root)


def test_the_device_uid_changes_with_the_package_and_with_nothing_else(dx_image, tilted_image, templates):
    def device(answer):
        (item,) = [
            equipment
            for equipment in build_results(answer, ["pm"], templates)[0].dataset.ContributingEquipmentSequence
            if "DeviceUID" in equipment
        ]
        return item.DeviceUID

    base = answer_about(dx_image)
    assert device(base) == device(replace(answer_about(tilted_image), route="other", at=AT + timedelta(days=1)))
    assert device(base) != device(replace(base, package=replace(PACKAGE, digest="f" * 64)))


def test_an_image_with_other_bytes_under_the_same_uids_gives_results_of_other_uids(templates, tmp_path):
    def uids(name, change=lambda data: None):
        source = synthetic.radiograph(np.arange(60 * 40).reshape(60, 40), modality="CR")
        change(source)
        (path,) = synthetic.write([source], tmp_path / name)
        return set(uids_of(answer_about(image_of([path])), templates))

    def other_pixel(data):
        data.PixelData = data.PixelData[:-2] + b"\x01\x00"

    def other_header(data):
        data.StudyDescription = "Corrected"

    once = uids("once")
    assert uids("again") == once
    assert not uids("pixel", other_pixel) & once
    assert not uids("header", other_header) & once


def test_one_slice_with_other_pixels_gives_a_volumes_results_other_uids(templates, tmp_path):
    once = set(uids_of(answer_about(image_of(synthetic.write(tilted(), tmp_path / "once"))), templates))
    sources = tilted()
    sources[4].PixelData = sources[4].PixelData[:-2] + b"\x01\x00"
    other = answer_about(image_of(synthetic.write(sources, tmp_path / "other")))
    assert not set(uids_of(other, templates)) & once


def test_every_frame_of_an_instance_knows_its_digest_which_is_that_of_the_stored_file(tmp_path):
    (path,) = synthetic.write(tilted()[:1], tmp_path)
    image = image_of([path])
    assert image.digests == {image.header.SOPInstanceUID: hashlib.sha256(path.read_bytes()).hexdigest()}


def test_a_data_set_has_one_digest_whether_its_values_have_been_looked_at_or_not(tmp_path):
    (path,) = synthetic.write(tilted()[:1], tmp_path)
    fresh, read_over, other = (dcmread(path) for _ in range(3))
    str(read_over)
    other.PatientID = "SOMEBODY-ELSE"
    (of_fresh,), (of_read,), (of_other,) = (
        image_of([dataset]).digests.values() for dataset in (fresh, read_over, other)
    )
    assert of_fresh == of_read != of_other


def test_a_fingerprint_tells_contents_apart_and_not_the_objects_that_hold_them():
    values = {"b": np.arange(6, dtype=np.float32), "a": (1, 1.0, "1", None, True)}
    assert fingerprint(values) == fingerprint({"a": [1, 1.0, "1", None, True], "b": np.arange(6, dtype=np.float32)})
    others = [
        {"b": np.arange(6, dtype=np.float64), "a": (1, 1.0, "1", None, True)},
        {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": (1, 1.0, "1", None, True)},
        {"b": np.arange(6, dtype=np.float32), "a": (1, 1.0, "1", None)},
        {"b": np.arange(6, dtype=np.float32), "a": ("1", 1.0, "1", None, True)},
    ]
    assert len({fingerprint(value) for value in [values, *others]}) == 5
