"""Corrected studies: compared with what is in use, told of without naming anybody, and used where that is safe."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable

import pytest
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import ImplicitVRLittleEndian, JPEGLSLossless
from sqlalchemy import select
from sqlalchemy.orm import Session

from site_under_test import ROUTE, Site, film
from whyray.app.compare_contents import ContentComparer
from whyray.base.errors import PeerUnreachable
from whyray.catalog import (
    Conflict,
    Event,
    Job,
    JobState,
    PixelComparison,
    ResultRow,
    conflicts,
    contents,
    revisions,
)
from whyray.jobs.worker import run_job

SECRETS = ("DOE", "JANE", "P-77", "A-1", "WRONG")


def comparer(site: Site) -> ContentComparer:
    return ContentComparer(site.catalog, lambda: site.config, site.storage.open)


def of_another_patient(image: Dataset) -> Dataset:
    """The same image, as a PACS sends it after its patient was corrected."""
    corrected = copy.deepcopy(image)
    corrected.PatientID, corrected.PatientName, corrected.AccessionNumber = "P-77", "DOE^JANE", "A-1"
    return corrected


def changed(image: Dataset, **attributes: object) -> Dataset:
    other = copy.deepcopy(image)
    for keyword, value in attributes.items():
        setattr(other, keyword, value)
    return other


def events(site: Site, kind: str) -> list[str]:
    with site.catalog.read() as session:
        return list(session.scalars(select(Event.message).where(Event.kind == kind).order_by(Event.id)))


def the_conflict(site: Site) -> Conflict:
    with site.catalog.read() as session:
        return session.scalars(select(Conflict)).one()


def asking(site: Site) -> None:
    site.configure(listener={"corrected": "ask"})


def test_a_corrected_study_is_used_without_asking_and_its_routes_run_anew(site: Site) -> None:
    site.receive([film(1), film(2)])
    router, compare = site.router(), comparer(site)
    assert router.step() == 1
    (first,) = site.jobs()
    assert run_job(first.id, "worker", site.job_context()) is JobState.DONE
    site.receive([of_another_patient(film(1))])
    assert (compare.step(), router.step()) == (1, 0)  # half a study is nothing that is beyond doubt
    site.receive([of_another_patient(film(2))])
    assert (compare.step(), router.step()) == (1, 1)
    first, second = site.jobs()
    assert (first.state, second.state, second.revision) == (JobState.SUPERSEDED, JobState.QUEUED, 2)
    assert run_job(second.id, "worker", site.job_context()) is JobState.DONE
    with site.catalog.read() as session:
        rows = session.scalars(select(ResultRow).order_by(ResultRow.id)).all()
        for row in rows:
            with site.storage.open(row.key) as file:
                assert (dcmread(file).PatientID == "P-77") is (row.job_id == second.id)
            assert (row.withdrawn_at is None) is (row.job_id == second.id)
    assert len({row.sop_instance_uid for row in rows}) == len(rows)


def test_events_and_logs_name_attributes_and_never_their_values(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    site.receive([film()])
    site.receive([of_another_patient(film())])
    comparer(site).step()
    (said,) = events(site, "content.identification")
    assert said == (
        "1 instance came again with another identification of patient or order (PatientID, PatientName, "
        "AccessionNumber): the pixel data are the same"
    )
    (used,) = events(site, "content.used")
    with site.catalog.read() as session:
        everything = "".join(session.scalars(select(Event.message))) + caplog.text + used
    assert not any(secret in everything for secret in SECRETS)


@pytest.mark.parametrize(
    ("change", "identification", "others", "pixels"),
    [
        (lambda image: changed(image, PatientName=f"{image.PatientName}^^ "), "", "", PixelComparison.SAME),
        (lambda image: changed(image, StudyDescription="another"), "", "StudyDescription", PixelComparison.SAME),
        (lambda image: changed(image, PatientSex="O"), "PatientSex", "", PixelComparison.SAME),
        (lambda image: changed(image, IssuerOfPatientID="X"), "IssuerOfPatientID", "", PixelComparison.SAME),
        (lambda image: changed(image, PixelData=bytes(len(image.PixelData))), "", "", PixelComparison.OTHER),
        (
            lambda image: changed(image, Rows=image.Columns, Columns=image.Rows),
            "",
            "Rows, Columns",
            PixelComparison.OTHER,
        ),
        (lambda image: _implicit(image), "", "", PixelComparison.SAME),
        (lambda image: _compressed(image), "", "", PixelComparison.NOT_COMPARED),
    ],
    ids=["padding", "description", "sex", "issuer", "pixels", "size", "implicit VR", "compressed"],
)
def test_contents_are_told_apart_by_what_differs(
    site: Site, change: Callable[[Dataset], Dataset], identification: str, others: str, pixels: PixelComparison
) -> None:
    asking(site)
    image = film()
    site.receive([image])
    site.receive([change(image)])
    assert comparer(site).step() == 1
    row = the_conflict(site)
    assert (row.identification, row.others, row.pixels) == (identification, others, pixels)
    assert len(events(site, "content.identification" if identification else "content.differs")) == 1


def _implicit(image: Dataset) -> Dataset:
    other = copy.deepcopy(image)
    other.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    rewritten = Dataset()
    rewritten.update(other)
    rewritten.file_meta = other.file_meta
    return rewritten


def _compressed(image: Dataset) -> Dataset:
    other = copy.deepcopy(image)
    uid = other.SOPInstanceUID
    other.compress(JPEGLSLossless, generate_instance_uid=False)
    assert other.SOPInstanceUID == uid
    return other


def test_fragments_are_the_content_and_their_offset_table_is_not(site: Site) -> None:
    asking(site)
    image = _compressed(film())
    frames = list(generate_frames(image.PixelData, number_of_frames=1))
    site.receive([image])
    site.receive([changed(image, PixelData=encapsulate(frames, has_bot=False), PatientID="P-77")])
    comparer(site).step()
    assert the_conflict(site).pixels is PixelComparison.SAME


@pytest.mark.parametrize("case", ["asked for", "another sender", "other pixels", "two patients", "decided before"])
def test_what_is_not_beyond_doubt_is_left_to_an_administrator(site: Site, case: str) -> None:
    if case == "asked for":
        asking(site)
    site.receive([film(1), film(2)])
    if case == "decided before":
        site.receive([of_another_patient(film(1)), of_another_patient(film(2))])
        comparer(site).step()
    corrected = [of_another_patient(film(number)) for number in (1, 2)]
    if case == "other pixels":
        corrected[1].PixelData = bytes(len(corrected[1].PixelData))
    elif case == "two patients":
        corrected[1].PatientID = "P-78"
    elif case == "decided before":
        corrected = [film(1), film(2)]
    site.receive(corrected, calling_ae="MODALITY" if case == "another sender" else "PACS")
    router, compare = site.router(), comparer(site)
    assert [compare.step() for _ in range(2)] == [2, 0]
    assert len(events(site, "content.used")) == (1 if case == "decided before" else 0)
    with site.catalog.begin() as session:
        (open_study,) = conflicts.unidentified(session)
        assert open_study.instances == 2
        contents.use_newest(session, open_study.study_instance_uid, site.clock(), actor="eva")
        assert conflicts.unidentified(session) == []
    assert router.step() == 1


def test_a_sender_that_goes_to_and_fro_between_two_headers_makes_one_job_more(site: Site) -> None:
    router, compare = site.router(), comparer(site)
    site.receive([film()])
    made = router.step()
    for number in range(6):
        site.receive([changed(film(), PatientID=f"P-{number % 3}")])
        compare.step()
        made += router.step()
    assert made == 2


def test_what_an_administrator_kept_is_not_overruled_when_both_contents_come_again(site: Site) -> None:
    asking(site)
    uid = site.receive([film()])
    site.receive([of_another_patient(film())])
    compare = comparer(site)
    compare.step()
    with site.catalog.begin() as session:
        contents.keep(session, uid, site.clock(), actor="eva")
    site.configure(listener={"corrected": "use"})
    for image in (film(), of_another_patient(film())):
        site.receive([image])
        compare.step()
    assert events(site, "content.used") == []
    with site.catalog.read() as session:
        assert len(conflicts.unidentified(session)) == 1


def test_a_content_that_was_taken_back_before_it_was_compared_is_not_used_without_asking(site: Site) -> None:
    for image in (film(), of_another_patient(film()), film()):
        site.receive([image])
    comparer(site).step()
    assert events(site, "content.used") == []
    with site.catalog.read() as session:
        assert len(conflicts.unidentified(session)) == 1


def test_several_schedules_use_a_correction_once(site: Site) -> None:
    site.receive([film()])
    site.receive([of_another_patient(film())])
    one, other = comparer(site), comparer(site)
    assert [one.step(), other.step()] == [1, 0]
    assert len(events(site, "content.used")) == 1


def test_a_storage_that_is_away_is_asked_again_and_a_file_that_is_gone_is_said(site: Site) -> None:
    site.receive([film()])
    site.receive([of_another_patient(film())])
    away = comparer(site)

    def unreachable(_key: str) -> object:
        raise PeerUnreachable("the object store did not answer")

    away.open_file = unreachable  # type: ignore[assignment]
    assert away.step() == 0
    assert the_conflict(site).compared_at is None
    with site.catalog.read() as session:
        (pair,) = conflicts.to_compare(session, 1)
    site.storage.delete(pair.key_in_use)
    assert comparer(site).step() == 1
    assert the_conflict(site).pixels is PixelComparison.UNREADABLE


def test_what_is_left_to_an_administrator_is_looked_at_again_only_when_something_else_waits(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.receive([film(1), film(2)])
    site.receive([of_another_patient(film(1))])
    compare, looked_at = comparer(site), []
    undecided = conflicts.undecided

    def noted(session: Session, study_id: int) -> list[tuple[Conflict, conflicts.Pair]]:
        looked_at.append(study_id)
        return undecided(session, study_id)

    monkeypatch.setattr(conflicts, "undecided", noted)
    for _ in range(5):
        compare.step()
    assert len(looked_at) == 1, "the rows of what waits are not loaded again and again"
    site.clock.tick(1)
    site.receive([of_another_patient(film(2))])
    compare.step()
    assert len(events(site, "content.used")) == 1


def test_a_file_that_is_gone_once_all_was_compared_is_said_once(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.receive([film(1), film(2)])
    site.receive([of_another_patient(film(1))])
    compare = comparer(site)
    compare.step()
    with site.catalog.read() as session:
        ((_, pair),) = conflicts.undecided(session, 1)
    site.storage.delete(pair.key)
    site.receive([of_another_patient(film(2))])
    for _ in range(5):
        compare.step()
    assert events(site, "content.used") == []
    assert [record.name for record in caplog.records].count("whyray.contents") == 1


def test_a_job_that_waits_for_a_worker_is_not_run_on_the_former_patient(site: Site) -> None:
    site.configure(routes=[ROUTE])
    site.receive([film()])
    router = site.router()
    router.step()
    (queued,) = site.jobs()
    site.receive([of_another_patient(film())])
    comparer(site).step()
    assert run_job(queued.id, "worker", site.job_context()) is None
    assert router.step() == 1
    with site.catalog.read() as session:
        states = [job.state for job in session.scalars(select(Job).order_by(Job.revision))]
        assert states == [JobState.SUPERSEDED, JobState.QUEUED]
        assert revisions.earlier_results(session, site.jobs()[1]) == []


def test_a_study_of_many_instances_is_compared_in_several_steps(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whyray.app.compare_contents._MOST_BYTES", 1)
    site.receive([film(number) for number in (1, 2, 3)])
    site.receive([of_another_patient(film(number)) for number in (1, 2, 3)])
    compare = comparer(site)
    assert [compare.step() for _ in range(4)] == [1, 1, 1, 0]
    assert len(events(site, "content.used")) == 1
    assert len(events(site, "content.identification")) == 3
