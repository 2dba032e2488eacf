"""Kits made of real results: blinded, complete, the truth apart, and refused where something is wrong."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from sqlalchemy import delete

from reader_study.afternoons import TARGET, Explained, explained, spotted
from site_under_test import Site
from whyray.base.errors import ConfigError, ImageError, NotFound
from whyray.catalog import Instance, ResultRow
from whyray.imaging import read_images
from whyray.jobs.worker import run_job
from whyray.reader_study import (
    Kit,
    MaterialFilter,
    Order,
    make_kit,
    read_kit,
    read_truth,
    read_truths,
    write_kit,
    write_truth,
)
from whyray.reader_study.material import from_catalog
from whyray.reader_study.pictures import plain_picture

AT = datetime(2026, 11, 2, tzinfo=UTC)
ORDER = Order(name="spots", title="Spots on films", target=TARGET, readers=4, seed=5)


def kit_of(read_only: Explained, order: Order = ORDER, truths: dict[str, bool] | None = None) -> Kit:
    with read_only.site.catalog.read() as session:
        gathered = from_catalog(session, read_only.site.storage, MaterialFilter(TARGET))
    assert gathered.left_out == ()
    return make_kit(gathered.material, read_only.truths if truths is None else truths, order, at=AT)


def test_a_kit_shows_every_explained_study_and_keeps_the_truth_apart(read_only: Explained, tmp_path: Path) -> None:
    truths = read_only.truths
    kit = kit_of(read_only)
    assert len(kit.manifest.cases) == 8
    assert {case.source: case.truth for case in kit.truth.cases} == truths
    folder, secret = tmp_path / "kit", tmp_path / "kit.truth.json"
    write_kit(folder, kit.manifest, kit.pictures)
    write_truth(secret, kit.truth)
    manifest, pictures = read_kit(folder)
    assert (manifest, pictures) == (kit.manifest, dict(kit.pictures))
    assert read_truth(secret) == kit.truth
    assert secret.stat().st_mode & 0o077 == 0
    text = (folder / "study.json").read_text("utf-8")
    assert "truth" not in json.loads(text)
    for named in ("2.25.", "Secret", "SECRET", "PatientName", "1.2.840", *truths):
        assert named not in text
        assert not any(named in path.name for path in folder.rglob("*"))


def test_pictures_of_a_kit_carry_nothing_but_pixels(read_only: Explained) -> None:
    for name, png in kit_of(read_only).pictures.items():
        chunks = set(re.findall(rb"[a-zA-Z]{4}", png)) & {b"tEXt", b"iTXt", b"zTXt", b"eXIf", b"tIME", b"iCCP"}
        assert chunks == set(), name
        assert b"Secret" not in png


def test_a_page_looks_the_same_whenever_it_was_made(site: Site) -> None:
    explained(site, 2)
    film = spotted(2, bright=True)
    (first,) = (case for case in gathered(site) if case.source == film.StudyInstanceUID)
    site.clock.tick(86400 * 40)
    late = Site(site.folder, site.clock, site.catalog, site.storage, site.config)
    # the same picture, made 40 days later for another study
    film.StudyInstanceUID, film.SeriesInstanceUID, film.SOPInstanceUID = "2.25.901", "2.25.902", "2.25.903"
    film.file_meta.MediaStorageSOPInstanceUID = "2.25.903"
    late.receive([film])
    late.router().step()
    run_job(late.jobs()[-1].id, "worker-1", late.job_context())
    (again,) = (case for case in gathered(late) if case.source == "2.25.901")
    assert again.pages == first.pages


def gathered(site: Site):  # type: ignore[no-untyped-def]
    with site.catalog.read() as session:
        return from_catalog(session, site.storage, MaterialFilter(TARGET)).material


def test_the_plain_picture_is_the_image_as_a_viewer_shows_it() -> None:
    image = read_images([spotted(3, bright=True)]).images[0]
    with Image.open(io.BytesIO(plain_picture(image, [0]))) as picture:
        shown = np.asarray(picture)
    assert shown.shape == (96, 80)
    assert np.abs(shown.astype(float) - image.display[0] * 255).max() <= 1


def test_an_image_with_burned_in_text_becomes_no_case() -> None:
    film = spotted(1, bright=True)
    film.BurnedInAnnotation = "YES"
    image = read_images([film]).images[0]
    with pytest.raises(ImageError, match="burned"):
        plain_picture(image, [0])


def test_cases_can_be_chosen_so_that_the_model_is_wrong_in_some(read_only: Explained) -> None:
    kit = kit_of(read_only, replace(ORDER, wrong=0.5))
    wrong = [case.truth != case.model_says for case in kit.truth.cases]
    assert sum(wrong) * 2 == len(wrong) == 4


def test_the_same_seed_gives_the_same_kit_and_another_another_order(read_only: Explained) -> None:
    one, same, other = (kit_of(read_only, replace(ORDER, seed=seed)) for seed in (5, 5, 6))
    assert one.manifest == same.manifest
    assert one.pictures == same.pictures
    assert one.truth.cases != other.truth.cases


def test_studies_without_truth_are_left_out_by_name(read_only: Explained) -> None:
    truths = dict(read_only.truths)
    missing = truths.popitem()[0]
    kit = kit_of(read_only, truths=truths)
    assert len(kit.truth.cases) == 7
    assert kit.left_out == (f"{missing}: the list of truths does not name it",)


def test_a_cine_is_no_page_of_a_kit(site: Site) -> None:
    explained(site, 2)
    with site.catalog.begin() as session:
        row = session.query(ResultRow).filter_by(kind="sc", finding=TARGET).first()
        assert row is not None
        page = dcmread(site.storage.root / row.key)
        page.NumberOfFrames = 9
        buffer = io.BytesIO()
        page.save_as(buffer, enforce_file_format=True)
        row.key = site.storage.put_bytes(buffer.getvalue(), suffix=".dcm")
    with site.catalog.read() as session:
        collected = from_catalog(session, site.storage, MaterialFilter(TARGET))
    assert len(collected.material) == 1
    assert "no page that may be shown" in collected.left_out[0]


def test_a_page_that_a_later_run_of_its_job_replaced_is_in_no_kit(site: Site) -> None:
    explained(site, 1)
    before = gathered(site)
    columns = [column.name for column in ResultRow.__table__.columns if column.name != "id"]
    with site.catalog.begin() as session:
        for row in session.query(ResultRow).all():
            copy = {name: getattr(row, name) for name in columns}
            uid = f"{row.sop_instance_uid}.1"
            session.add(ResultRow(**copy | {"sop_instance_uid": uid, "superseded": True}))
    assert gathered(site) == before


def test_a_study_whose_instances_are_gone_is_left_out_by_name(site: Site) -> None:
    explained(site, 2)
    with site.catalog.begin() as session:
        session.execute(delete(Instance).where(Instance.id == 1))
    with site.catalog.read() as session:
        collected = from_catalog(session, site.storage, MaterialFilter(TARGET))
    assert len(collected.material) == 1
    assert "no longer in the catalog" in collected.left_out[0]


def test_a_list_of_truths_says_which_line_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "truth.csv"
    path.write_text("case,truth\nA,present\nB,0\n")
    assert read_truths(path) == {"A": True, "B": False}
    path.write_text("case,truth\nA,present\nB,perhaps\n")
    with pytest.raises(ConfigError, match="line 3"):
        read_truths(path)


def test_a_kit_that_was_tampered_with_is_refused(read_only: Explained, tmp_path: Path) -> None:
    kit = kit_of(read_only)
    write_kit(tmp_path / "kit", kit.manifest, kit.pictures)
    with pytest.raises(ConfigError, match="not empty"):
        write_kit(tmp_path / "kit", kit.manifest, kit.pictures)
    file = tmp_path / "kit" / "study.json"
    written = json.loads(file.read_text("utf-8"))
    written["readers"][0]["sessions"][0].pop()
    file.write_text(json.dumps(written))
    with pytest.raises(ConfigError, match="does not see each case once"):
        read_kit(tmp_path / "kit")
    written = json.loads(kit.manifest.model_dump_json())
    written["cases"][0]["image"] = ["../kit.truth.json"]
    file.write_text(json.dumps(written))
    with pytest.raises(ConfigError, match="picture"):
        read_kit(tmp_path / "kit")
    with pytest.raises(NotFound):
        read_kit(tmp_path / "nothing")


def test_washout_and_crossover_are_in_the_manifest(read_only: Explained) -> None:
    kit = kit_of(read_only, replace(ORDER, crossover=True, washout_days=21))
    assert kit.manifest.washout_days == 21
    assert all(len(reader.sessions) == 2 for reader in kit.manifest.readers)
    assert timedelta(days=kit.manifest.washout_days) == timedelta(weeks=3)
