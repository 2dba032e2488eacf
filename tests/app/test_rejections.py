"""Images that a key object selection rejects (IHE IOCM) are explained no more, whenever it comes."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from copy import deepcopy

import pytest
from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument
from pydicom import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, generate_uid
from sqlalchemy import select

from catalog.rows import NOON, result
from site_under_test import ROUTE, Site, film
from whyray.app.context import Context
from whyray.app.orders import OrderedJobs
from whyray.app.rejection_notes import rejection_note
from whyray.app.retention import Retention
from whyray.base.errors import DecodeError, ImageError
from whyray.base.sealing import SealingKeys
from whyray.catalog import (
    Delivery,
    DeliveryState,
    Event,
    Job,
    JobState,
    Rejection,
    ResultRow,
    Study,
    job_inputs,
    jobs,
    rejections,
    removal,
    studies,
)
from whyray.catalog.attention import attention
from whyray.catalog.shortages import Disks
from whyray.storage import open_folder
from whyray.worklist import Input, Order

QUALITY = Code("113001", "DCM", "Rejected for Quality Reasons")
SAFETY = Code("113037", "DCM", "Rejected for Patient Safety Reasons")
WORKLIST = Code("113038", "DCM", "Incorrect Modality Worklist Entry")
EXPIRED = Code("113039", "DCM", "Data Retention Policy Expired")
OF_INTEREST = Code("113000", "DCM", "Of Interest")


def films(*numbers: int, study: str = "hand", series: str = "hand") -> list[Dataset]:
    return [film(number, study=study, series=series) for number in numbers]


def note(*rejected: Dataset, title: Code = SAFETY) -> Dataset:
    """A key object selection as a PACS makes it."""
    made: Dataset = KeyObjectSelectionDocument(
        evidence=rejected,
        content=KeyObjectSelection(document_title=title, referenced_objects=rejected),
        series_instance_uid=generate_uid(),
        series_number=99,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="PACS",
        institution_name="Hospital",
    )
    return made


def events(site: Site) -> list[Event]:
    with site.catalog.read() as session:
        of_kind = select(Event).where(Event.kind.in_(("instance.rejected", "rejection.refused", "study.unread")))
        return list(session.scalars(of_kind.order_by(Event.id)))


def taken(site: Site, job: Job) -> set[str]:
    with site.catalog.read() as session:
        found = job_inputs.instances(session, session.get_one(Job, job.id))
    return {instance.sop_instance_uid for group in found.values() for instance in group}


def run(site: Site, job: Job, *names: str) -> None:
    with site.catalog.begin() as session:
        jobs.claim(session, job.id, "worker", site.clock())
        jobs.finish(session, job.id, "worker", [result(name, "pacs", "archive") for name in names], [], site.clock())


def uids(*instances: Dataset) -> set[str]:
    return {str(instance.SOPInstanceUID) for instance in instances}


@pytest.mark.parametrize("title", [QUALITY, SAFETY, WORKLIST, EXPIRED], ids=lambda code: code.value)
def test_a_job_is_made_of_the_rest_and_what_was_made_of_the_whole_is_withdrawn(site: Site, title: Code) -> None:
    first, second = films(1, 2)
    router = site.router()
    site.receive([first, second])
    assert router.step() == 1
    (whole,) = site.jobs()
    run(site, whole, "1", "2")
    site.receive([note(second, title=title)])
    assert router.step() == 1
    whole, rest = site.jobs()
    assert (whole.state, rest.state, rest.revision) == (JobState.SUPERSEDED, JobState.QUEUED, 2)
    assert taken(site, rest) == uids(first)
    with site.catalog.read() as session:
        assert all(row.withdrawn_at is not None for row in session.scalars(select(ResultRow)))
        assert set(session.scalars(select(Delivery.state))) == {DeliveryState.CANCELLED}
    (event,) = events(site)
    assert f"{title.value} {title.meaning}" in event.message
    assert "from PACS" in event.message
    assert (event.severity, event.study_instance_uid) == ("warning", str(second.StudyInstanceUID))
    assert router.step() == 0


def test_a_study_of_which_all_is_rejected_has_no_job_any_more(site: Site) -> None:
    images = films(1, 2)
    router = site.router()
    site.receive(images)
    router.step()
    site.receive([note(*images)])
    assert router.step() == 0
    (job,) = site.jobs()
    assert job.state is JobState.SUPERSEDED
    with site.catalog.read() as session:
        (said,) = session.scalars(select(Study.note))
    assert said is not None
    assert said.endswith("; rejected: 2")


def test_what_is_rejected_before_it_comes_is_not_explained_when_it_comes(site: Site) -> None:
    first, second = films(1, 2)
    router = site.router()
    site.receive([note(second)])
    assert router.step() == 0
    site.receive([first, second])
    assert router.step() == 1
    assert taken(site, site.jobs()[0]) == uids(first)


def test_results_that_were_sent_already_are_told_as_an_error(site: Site) -> None:
    (image,) = films(1)
    router = site.router()
    site.receive([image])
    router.step()
    run(site, site.jobs()[0], "1")
    with site.catalog.begin() as session:
        sent = session.scalars(select(Delivery).where(Delivery.destination == "archive")).one()
        sent.state = DeliveryState.SENT
    site.receive([note(image)])
    router.step()
    (event,) = events(site)
    assert event.severity == "error"
    assert "1 had been sent" in event.message
    assert "archive may still show them" in event.message
    with site.catalog.read() as session:
        (told,) = attention(session, site.clock(), destinations=["pacs", "archive"], disks=Disks())
    assert (told.kind, told.severity, told.count) == ("instance.rejected", "warning", 1)


def test_other_titles_and_other_schemes_reject_nothing(site: Site) -> None:
    (image,) = films(1)
    router = site.router()
    site.receive([image])
    router.step()
    site.receive([note(image, title=OF_INTEREST), note(image, title=Code("113037", "99SITE", "Rejected"))])
    assert router.step() == 0
    assert [job.state for job in site.jobs()] == [JobState.QUEUED]
    assert events(site) == []


def test_a_note_that_comes_twice_withdraws_once_and_two_notes_add_up(site: Site) -> None:
    first, second, third = films(1, 2, 3)
    router = site.router()
    site.receive([first, second, third])
    router.step()
    for rejected in (second, second, third):
        site.receive([note(rejected)])
        router.step()
    assert len(events(site)) == 2
    assert taken(site, site.jobs()[-1]) == uids(first)


def test_a_rejected_image_that_comes_again_stays_rejected_unless_it_had_only_expired(site: Site) -> None:
    for study, title, back in (("safety", SAFETY, False), ("expired", EXPIRED, True)):
        (image,) = films(1, study=study, series=study)
        router = site.router()
        uid = site.receive([image])
        router.step()
        site.receive([note(image, title=title)])
        router.step()
        with site.catalog.begin() as session:
            study_id = session.scalars(select(Study.id).where(Study.study_instance_uid == uid)).one()
            removal.remove_instances(session, study_id)
        site.clock.tick(3600)
        site.receive([image])
        assert router.step() == (1 if back else 0), study


def test_what_had_expired_may_expire_again_or_prove_wrong(site: Site) -> None:
    (image,) = films(1)
    router = site.router()
    uid = site.receive([image])
    router.step()
    made = []
    for title in (EXPIRED, EXPIRED, SAFETY):
        site.clock.tick(60)
        site.receive([note(image, title=title)])
        made.append(router.step())
        with site.catalog.begin() as session:
            study_id = session.scalars(select(Study.id).where(Study.study_instance_uid == uid)).one()
            removal.remove_instances(session, study_id)
        site.clock.tick(60)
        site.receive([image])
        made.append(router.step())
    assert made == [0, 1, 0, 1, 0, 0]
    assert len(events(site)) == 3


def test_other_series_and_other_studies_are_left_as_they_are(site: Site) -> None:
    (hand,), (foot,), (elsewhere,) = (
        films(1),
        films(2, series="foot"),
        films(3, study="other", series="other"),
    )
    site.configure(routes=[ROUTE | {"name": name, "when": {"SeriesInstanceUID": uid}} for name, uid in (
        ("hand", str(hand.SeriesInstanceUID)), ("foot", str(foot.SeriesInstanceUID))
    )] + [ROUTE])  # fmt: skip
    router = site.router()
    site.receive([hand, foot])
    site.receive([elsewhere])
    router.step()
    before = {job.id: job.state for job in site.jobs()}
    site.receive([note(hand)])
    router.step()
    by_state: dict[str, set[JobState]] = {}
    for job in site.jobs():
        if job.id in before:
            by_state.setdefault(f"{job.route} {job.study_id}", set()).add(job.state)
    assert by_state == {
        "hand 1": {JobState.SUPERSEDED},
        "foot 1": {JobState.QUEUED},
        "films 1": {JobState.SUPERSEDED},
        "films 2": {JobState.QUEUED},
    }


def test_a_job_that_was_about_to_be_made_as_the_note_came_is_not_made(site: Site) -> None:
    images = films(1, 2)
    router = site.router()
    uid = site.receive(images)
    with site.catalog.read() as session:
        study = session.scalars(select(Study).where(Study.study_instance_uid == uid)).one()
        seen = studies.routable(session, study.id)
    site.receive([note(images[1])])
    router.step()
    with site.catalog.begin() as session:
        late = jobs.create(
            session, study=study, route="late", package="planted@1.0.0", instances=seen, priority=1, now=site.clock()
        )
    assert late is None


def test_a_note_that_can_not_be_read_is_told_of(site: Site) -> None:
    (image,) = films(1)
    made = note(image)
    made.CurrentRequestedProcedureEvidenceSequence[0].StudyInstanceUID = "1.2.3"
    site.receive([made])
    router = site.router()
    for _ in range(3):
        router.step()
    (event,) = events(site)
    assert (event.kind, event.severity) == ("study.unread", "warning")
    assert "113037" in event.message


def _with_nonsense(document: Dataset) -> None:
    for nonsense in ("", "1..2", "Doe^Secret", "1." + "2" * 80):
        reference = Dataset()
        reference.ReferencedSOPInstanceUID = nonsense
        (own,) = document.CurrentRequestedProcedureEvidenceSequence
        own.ReferencedSeriesSequence[0].ReferencedSOPSequence.append(reference)


def _without_evidence(document: Dataset) -> None:
    del document.CurrentRequestedProcedureEvidenceSequence


def _of_several_studies(document: Dataset) -> None:
    (own,) = document.CurrentRequestedProcedureEvidenceSequence
    other = deepcopy(own)
    other.StudyInstanceUID = "1.2.3"
    series = Dataset()
    reference = Dataset()
    reference.ReferencedSOPInstanceUID = "1.2.3.4"
    series.ReferencedSOPSequence = [reference]
    other.ReferencedSeriesSequence = [series]
    document.CurrentRequestedProcedureEvidenceSequence = [other, own]


@pytest.mark.parametrize("change", [lambda _: None, _without_evidence, _of_several_studies, _with_nonsense])
def test_a_note_rejects_what_it_names_of_its_own_study(change: object) -> None:
    images: Sequence[Dataset] = films(1, 2)
    document = note(*images)
    change(document)  # type: ignore[operator]
    read = rejection_note(document, NOON)
    assert read is not None
    assert read.sop_instance_uids == uids(*images)


def test_a_note_without_any_reference_is_no_silent_one() -> None:
    document = note(*films(1))
    _without_evidence(document)
    del document.ContentSequence
    with pytest.raises(DecodeError, match="113037"):
        rejection_note(document, NOON)


def retention(site: Site) -> Retention:
    return Retention(site.catalog, site.storage, lambda: site.config)


def days(number: float) -> float:
    return number * 24 * 3600


@pytest.mark.parametrize("otherwise", ["keep 1d", "discard"])
def test_a_study_of_which_all_is_rejected_is_kept_as_any_other(site: Site, otherwise: str) -> None:
    site.configure(otherwise=otherwise)
    images = films(1, 2)
    router = site.router()
    site.receive(images)
    router.step()
    run(site, site.jobs()[0], "1")
    with site.catalog.begin() as session:
        for sent in session.scalars(select(Delivery)):
            sent.state, sent.sent_at = DeliveryState.SENT, site.clock()
    site.receive([note(*images)])
    router.step()
    site.clock.tick(days(2))
    assert retention(site).step() == 0
    with site.catalog.read() as session:
        assert session.scalars(select(Study.expires_at)).all() == [None]
        assert len(session.scalars(select(ResultRow)).all()) == 1
        assert len(session.scalars(select(Delivery)).all()) == 2


@pytest.mark.parametrize("otherwise", ["keep 1d", "discard"])
def test_a_rejection_outlives_its_study(site: Site, otherwise: str) -> None:
    site.configure(otherwise=otherwise)
    first, second = films(1, 2)
    router = site.router()
    site.receive([note(second)])
    router.step()
    site.clock.tick(days(400))
    for _ in range(2):
        retention(site).step()
    with site.catalog.read() as session:
        assert session.scalars(select(Study)).all() == []
    site.receive([first, second])
    assert router.step() == 1
    assert taken(site, site.jobs()[-1]) == uids(first)


def test_what_had_expired_is_forgotten_with_its_study(site: Site) -> None:
    (image,) = films(1)
    router = site.router()
    site.receive([image])
    router.step()
    site.receive([note(image, title=EXPIRED)])
    router.step()
    site.clock.tick(days(4000))
    for _ in range(3):
        retention(site).step()
    with site.catalog.read() as session:
        assert session.scalars(select(Study)).all() == []
        assert session.scalars(select(Rejection)).all() == []


def long_note(image: Dataset, count: int) -> Dataset:
    """A note that refers to so many instances, this one the last of them."""
    made = note(image)
    (own,) = made.CurrentRequestedProcedureEvidenceSequence
    references = own.ReferencedSeriesSequence[0].ReferencedSOPSequence
    last = references.pop()
    for number in range(count - 1):
        reference = Dataset()
        reference.ReferencedSOPClassUID = last.ReferencedSOPClassUID
        reference.ReferencedSOPInstanceUID = f"1.2.826.0.1.3680043.8.498.{10**30 + number}"
        references.append(reference)
    references.append(last)
    return made


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_a_note_of_many_references_is_obeyed_where_files_are_encrypted(site: Site, syntax: UID) -> None:
    site.storage = open_folder(site.folder / "sealed", SealingKeys(bytes(range(32))))
    first, second = films(1, 2)
    made = long_note(second, 12_000)
    made.file_meta.TransferSyntaxUID = syntax
    del made.ContentSequence
    site.receive([first, second, made])
    assert site.router().step() == 1
    (job,) = site.jobs()
    assert taken(site, job) == uids(first)


def test_no_job_is_made_while_a_note_can_not_be_read_for_a_reason_that_passes(site: Site) -> None:
    first, second = films(1, 2)
    site.receive([first, second, note(second)])
    router = site.router()
    read, away = router.read_header, [True]

    def unreadable(key: str) -> Dataset:
        header = read(key)
        if away and header.Modality == "KO":
            raise OSError(errno.ESTALE, "Stale file handle")
        return header

    router.read_header = unreadable
    for _ in range(5):
        assert router.step() == 0
    assert site.jobs() == []
    assert events(site) == []
    away.clear()
    assert router.step() == 1
    assert taken(site, site.jobs()[0]) == uids(first)


def ordered(site: Site, *images: Dataset) -> list[str]:
    """The jobs of a workitem on the series of these images."""
    context = Context(site.folder / "whyray.yaml", None, site.catalog, site.storage)  # type: ignore[arg-type]
    make_jobs = OrderedJobs(
        site.catalog, lambda: site.config, context.read_header, lambda name: f"{name.split('@')[0]}@1.0.0"
    )
    series = dict.fromkeys(str(image.SeriesInstanceUID) for image in images)
    inputs = tuple(Input(str(images[0].StudyInstanceUID), uid, ()) for uid in series)
    return make_jobs("films", Order("1.2.3", None, True, 1, inputs))


def test_a_note_that_was_fetched_for_a_workitem_is_obeyed_by_the_jobs_that_it_orders(site: Site) -> None:
    first, second = films(1, 2)
    site.receive([first, second, note(second)], routed=False, released=False)
    ordered(site, first)
    (job,) = site.jobs()
    assert taken(site, job) == uids(first)
    assert site.router().step() == 0


def test_a_study_that_a_fetched_note_rejects_in_part_is_routed_anew(site: Site) -> None:
    first, second = films(1, 2)
    router = site.router()
    site.receive([first, second])
    router.step()
    foot = films(3, series="foot")
    site.receive([note(second), *foot], routed=False)
    assert router.step() == 0
    ordered(site, *foot)
    assert router.step() == 1
    assert uids(first) <= taken(site, site.jobs()[-1])
    assert not uids(second) & taken(site, site.jobs()[-1])


def test_of_a_workitem_whose_images_are_all_rejected_no_job_is_made(site: Site) -> None:
    images = films(1, 2)
    site.receive([*images, note(*images)], routed=False, released=False)
    with pytest.raises(ImageError, match="rejected"):
        ordered(site, *images)


@pytest.mark.parametrize("routed", [True, False])
def test_what_had_expired_and_is_stored_again_while_it_is_still_here_is_taken(site: Site, routed: bool) -> None:
    images = films(1, 2)
    router = site.router()
    uid = site.receive(images)
    router.step()
    site.receive([note(*images, title=EXPIRED)])
    assert router.step() == 0
    site.clock.tick(3600)
    site.receive(images, routed=routed)
    assert router.step() == (1 if routed else 0)
    if not routed:
        ordered(site, *images)
    assert taken(site, site.jobs()[-1]) == uids(*images)
    with site.catalog.read() as session:
        study = session.scalars(select(Study).where(Study.study_instance_uid == uid)).one()
        assert (study.last_received_at, study.expires_at) == (site.clock(), None)


def test_what_is_wrong_and_is_stored_again_while_it_is_still_here_stays_wrong(site: Site) -> None:
    images = films(1, 2)
    router = site.router()
    site.receive(images)
    router.step()
    for title in (EXPIRED, SAFETY):
        site.receive([note(*images, title=title)])
        router.step()
    site.clock.tick(3600)
    site.receive(images)
    assert router.step() == 0
    assert len(site.jobs()) == 1


@pytest.mark.parametrize("images_first", [True, False])
def test_a_note_about_another_patient_rejects_nothing_and_is_an_error(site: Site, images_first: bool) -> None:
    images = films(1, 2)
    foreign = note(images[1])
    foreign.PatientID, foreign.PatientName = "OTHER", "Somebody^Else"
    router = site.router()
    if images_first:
        site.receive(images)
        router.step()
        site.receive([foreign])
    else:
        site.receive([foreign, *images])
    router.step()
    router.step()
    (job,) = site.jobs()
    assert (job.state, taken(site, job)) == (JobState.QUEUED, uids(*images))
    (event,) = events(site)
    assert (event.kind, event.severity) == ("rejection.refused", "error")
    assert "PatientID, PatientName" in event.message
    assert "Somebody" not in event.message
    with site.catalog.read() as session:
        (told,) = attention(session, site.clock(), destinations=["pacs", "archive"], disks=Disks())
    assert (told.kind, told.severity) == ("rejection.refused", "error")


def test_a_note_without_name_and_in_another_case_is_of_the_same_patient(site: Site) -> None:
    first, second = films(1, 2)
    made = note(second)
    made.PatientName, made.PatientID = "", str(second.PatientID).lower()
    router = site.router()
    site.receive([first, second, made])
    router.step()
    assert taken(site, site.jobs()[0]) == uids(first)


def test_a_note_of_more_references_than_a_study_has_is_an_error(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rejections, "MOST_REFERENCES", 10)
    (image,) = films(1)
    router = site.router()
    site.receive([image, long_note(image, 11)])
    assert router.step() == 1
    (event,) = events(site)
    assert (event.kind, event.severity) == ("rejection.refused", "error")
    assert "11" in event.message


def test_that_a_fetched_note_is_not_obeyed_is_told_once_however_often_jobs_are_asked_for(site: Site) -> None:
    images = films(1, 2)
    foreign = note(images[1])
    foreign.PatientID = "OTHER"
    site.receive([*images, foreign], routed=False, released=False)
    assert ordered(site, *images) == ordered(site, *images)
    assert taken(site, site.jobs()[0]) == uids(*images)
    assert [event.kind for event in events(site)] == ["rejection.refused"]


def test_what_no_route_takes_and_a_workitem_orders_is_kept_as_retention_says(site: Site) -> None:
    images = films(1, 2)
    site.configure(routes=[ROUTE | {"when": {"Modality": "MG"}}], otherwise="keep 1d")
    site.receive(images)
    assert site.router().step() == 0
    site.configure(otherwise="keep 1d")
    ordered(site, *images)
    run(site, site.jobs()[0])
    site.clock.tick(days(2))
    assert retention(site).step() == 0
    assert len(site.jobs()) == 1
