"""The same work gives the same objects, once; other work gives others."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

import pytest

from results.answers import AT, PACKAGE, answer_about
from results.test_validity import rich_answer
from whyray.errors import ConfigError
from whyray.results import ALL_KINDS, EVERY_KIND, build_results, encode, load_templates


def uids_of(answer, templates, **options):
    return [result.dataset.SOPInstanceUID for result in build_results(answer, ALL_KINDS, templates, **options)]


def test_the_same_answer_gives_the_same_bytes(tilted_image, dx_image, templates):
    for image in (tilted_image, dx_image):
        first, second = (
            [encode(result.dataset) for result in build_results(rich_answer(image), EVERY_KIND, each)]
            for each in (templates, load_templates())
        )
        assert first == second


def test_no_object_carries_another_time_than_the_answer(dx_image, templates):
    stamp, day = AT.strftime("%H%M%S"), AT.strftime("%Y%m%d")
    for result in build_results(rich_answer(dx_image), ALL_KINDS, templates):
        dataset = result.dataset
        for keyword in ("InstanceCreation", "Content", "Series"):
            assert (dataset[f"{keyword}Date"].value, dataset[f"{keyword}Time"].value) == (day, stamp)
        assert dataset.ContributingEquipmentSequence[0].ContributionDateTime == f"{day}{stamp}+0100"


def test_a_job_done_again_later_gives_the_same_uids(dx_image, templates):
    once = answer_about(dx_image)
    assert uids_of(once, templates) == uids_of(replace(once, at=AT + timedelta(hours=3)), templates)


def test_whatever_a_result_is_made_of_changes_its_uid(dx_image, tilted_image, templates):
    base = answer_about(dx_image)
    finding = base.findings[0]
    other_map = replace(finding.maps[0], parameters={"relu": False})
    variants = [
        answer_about(tilted_image),
        replace(base, package=replace(PACKAGE, digest="f" * 64)),
        replace(base, package=replace(PACKAGE, version="1.2.4")),
        replace(base, route="another route"),
        replace(base, revision=2),
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
    assert not seen & set(uids_of(base, templates, uid_root="1.2.826.0.1.3680043.9999"))


def test_uids_are_valid_and_stay_under_the_root_that_a_site_names(dx_image, templates):
    for root in (None, "1.2.3", "1.2.826.0.1.3680043.10.99999.1234567890123"):
        for result in build_results(answer_about(dx_image), ALL_KINDS, templates, uid_root=root):
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
            each
            for each in build_results(answer, ["pm"], templates)[0].dataset.ContributingEquipmentSequence
            if "DeviceUID" in each
        ]
        return item.DeviceUID

    base = answer_about(dx_image)
    assert device(base) == device(replace(answer_about(tilted_image), route="other", at=AT + timedelta(days=1)))
    assert device(base) != device(replace(base, package=replace(PACKAGE, digest="f" * 64)))
