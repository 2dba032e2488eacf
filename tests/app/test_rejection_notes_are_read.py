"""What a rejection note (IHE IOCM) says is read as it is meant, and told where it can not be."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from copy import deepcopy

import pytest
from pydicom import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from app.rejection_scene import OF_INTEREST, events, films, long_note, note, taken, uids
from catalog.rows import NOON
from site_under_test import Site
from whyray.app.rejection_notes import rejection_note
from whyray.base.errors import DecodeError
from whyray.base.sealing import SealingKeys
from whyray.catalog import (
    JobState,
    rejections,
)
from whyray.storage import open_folder


def test_other_titles_and_other_schemes_reject_nothing(site: Site) -> None:
    (image,) = films(1)
    router = site.router()
    site.receive([image])
    router.step()
    site.receive([note(image, title=OF_INTEREST), note(image, title=Code("113037", "99SITE", "Rejected"))])
    assert router.step() == 0
    assert [job.state for job in site.jobs()] == [JobState.QUEUED]
    assert events(site) == []


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


def test_a_note_of_more_references_than_a_study_has_is_an_error(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rejections, "MOST_REFERENCES", 10)
    (image,) = films(1)
    router = site.router()
    site.receive([image, long_note(image, 11)])
    assert router.step() == 1
    (event,) = events(site)
    assert (event.kind, event.severity) == ("rejection.refused", "error")
    assert "11" in event.message


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


def test_a_note_is_read_once_while_its_study_grows(site: Site) -> None:
    first, *others = films(*range(1, 8))
    router = site.router()
    read, notes_read = router.read_header, []

    def counted(key: str) -> Dataset:
        header = read(key)
        if header.Modality == "KO":
            notes_read.append(key)
        return header

    router.read_header = counted
    site.receive([first, note(first)], released=False)
    for image in others:
        router.step()
        site.receive([image], released=False)
    assert router.step() == 0
    assert len(notes_read) <= 2  # once more by routing itself, which asks what it is
