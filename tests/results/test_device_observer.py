"""Who observed: a report names the installation that made it, which stays the same and is nobody else's (TID 1004)."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydicom import Dataset

from results.answers import DEVICE_UID, answer_about
from results.sources import read
from whyray.base.identity import IMPLEMENTATION_CLASS_UID
from whyray.catalog import Catalog, installation, sqlite_url
from whyray.jobs.user_device import user_device_uid
from whyray.results import build_results, encode

pytestmark = pytest.mark.usefixtures("real_migrations")


def observer_of(report: Dataset) -> str:
    (uid,) = [
        content_item.UID
        for content_item in report.ContentSequence
        if content_item.ConceptNameCodeSequence[0].CodeMeaning == "Device Observer UID"
    ]
    return str(uid)


def test_a_report_names_the_installation_and_not_the_software(dx_image, templates):
    (report,) = build_results(answer_about(dx_image), ["sr"], templates)
    assert observer_of(read(encode(report.dataset))) == DEVICE_UID
    assert report.dataset.InstanceCreatorUID == IMPLEMENTATION_CLASS_UID


def test_two_installations_never_give_one_sop_instance_uid_to_their_results(dx_image, templates):
    one, other = (
        build_results(answer_about(dx_image, device_uid=uid), ["sr"], templates)[0].dataset
        for uid in ("2.25.1", "2.25.2")
    )
    assert observer_of(one) != observer_of(other)
    assert one.SOPInstanceUID != other.SOPInstanceUID


def test_a_catalog_has_a_device_uid_of_its_own_from_the_first_opening_on(tmp_path):
    def uid(name: str) -> str:
        catalog = Catalog(sqlite_url(tmp_path / name))
        with catalog.read() as session:
            device_uid = installation.device_uid(session)
        catalog.close()
        return device_uid

    first = uid("one.sqlite")
    assert first.startswith("2.25.")
    assert len(first) <= 64
    assert uid("one.sqlite") == first
    assert uid("two.sqlite") != first


def test_processes_that_start_together_are_one_installation(tmp_path):
    def uid(_: int) -> str:
        catalog = Catalog(sqlite_url(tmp_path / "new.sqlite"))
        with catalog.read() as session:
            device_uid = installation.device_uid(session)
        catalog.close()
        return device_uid

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(uid, range(8)))) == 1


def test_a_user_without_a_catalog_keeps_one_device_uid(tmp_path):
    first = user_device_uid(tmp_path / "state")
    assert first.startswith("2.25.")
    assert user_device_uid(tmp_path / "state") == first
    assert user_device_uid(tmp_path / "another") != first
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["device-uid"]


def test_first_runs_at_the_same_time_keep_the_same_device_uid(tmp_path):
    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(lambda _: user_device_uid(tmp_path), range(64)))) == 1


@pytest.mark.parametrize("damage", [b"", b"2.25.", b"\xff\xfe", b"1.2.3\n2.25.4\n"])
def test_a_device_uid_that_was_damaged_is_made_anew_and_kept(damage, tmp_path):
    (tmp_path / "device-uid").write_bytes(damage)
    made = user_device_uid(tmp_path)
    assert made.startswith("2.25.")
    assert user_device_uid(tmp_path) == made


def test_where_nothing_can_be_kept_the_device_uid_still_is_the_same_each_time(tmp_path: Path):
    blocked = tmp_path / "a-file"
    blocked.write_text("no folder can be made below this")
    assert user_device_uid(blocked / "state") == user_device_uid(blocked / "elsewhere")
    assert stat.S_ISREG(blocked.stat().st_mode)
