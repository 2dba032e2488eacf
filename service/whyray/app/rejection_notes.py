"""Key object selections that reject images (IHE Imaging Object Change Management), read as a study is routed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pydicom import Dataset
from pydicom.uid import KeyObjectSelectionDocumentStorage

from whyray.base.errors import DecodeError
from whyray.base.failures import logged, raise_unreadable
from whyray.base.identification import StatedPatient
from whyray.base.sop_classes import holds_no_image
from whyray.base.uids import is_uid
from whyray.catalog import Catalog, Instance, RejectionNote, Study, events, rejections, studies
from whyray.routing import LARGEST_DOCUMENT

_log = logging.getLogger("whyray.routing")


def rejection_note(document: Dataset, came_at: datetime) -> RejectionNote | None:
    """What a key object selection (PS3.3 section A.35.4) rejects of its own study; None where its title rejects none.

    The evidence lists all that the document refers to; only where there is none, its content counts. What it lists of
    other studies is passed over: each of these gets a document of its own.

    Raises
    ------
    DecodeError
        If it rejects, and names nothing of its own study.
    """
    code = next((code for code in _titles(document) if code in rejections.TITLES), None)
    if code is None:
        return None
    evidence = document.get("CurrentRequestedProcedureEvidenceSequence")
    if evidence:
        own = str(document.get("StudyInstanceUID") or "")
        uids = frozenset(
            uid
            for study in evidence
            if str(study.get("StudyInstanceUID") or "") == own
            for series in study.get("ReferencedSeriesSequence") or []
            for uid in _referenced(series)
        )
    else:
        uids = frozenset(uid for item in _content(document) for uid in _referenced(item))
    if not uids:
        raise DecodeError(
            f"a key object selection is titled {code} {rejections.TITLES[code]} and refers to nothing of its study"
        )
    return RejectionNote(str(document.SOPInstanceUID), came_at, code, uids)


def _titles(document: Dataset) -> Iterator[str]:
    for title in document.get("ConceptNameCodeSequence") or []:
        if title.get("CodingSchemeDesignator") == "DCM":
            yield str(title.get("CodeValue") or "")


def _content(item: Dataset) -> Iterator[Dataset]:
    for below in item.get("ContentSequence") or []:
        yield below
        yield from _content(below)


def _referenced(item: Dataset) -> Iterator[str]:
    for reference in item.get("ReferencedSOPSequence") or []:
        uid = str(reference.get("ReferencedSOPInstanceUID") or "")
        if is_uid(uid):  # no instance is here, or comes, by another
            yield uid


Tell = Callable[[Study, str, events.Severity, events.EventKind, str], None]


@dataclass
class RejectionNotes:
    """Heeds the notes among a study's instances, once each while the study is looked at.

    Parameters
    ----------
    tell
        Told, once or more often, of a key object selection that can't be read or is not obeyed: with its key in
        storage, and the words.
    reopens
        Whether a study of which some is rejected is given to routing again; routing itself has it in hand.
    """

    catalog: Catalog
    read_header: Callable[[str], Dataset]
    tell: Tell
    reopens: bool = False
    _heeded: set[str] = field(default_factory=set)

    def heed(self, study: Study, grouped: Mapping[str, Sequence[Instance]]) -> bool:
        """Enter what the key object selections among these instances reject; says whether that is anything new.

        Raises
        ------
        WhyRayError
            If one can't be read now and may be later: until then nobody knows what may be used.
        """
        new = False
        for instance in (instance for group in grouped.values() for instance in group):
            if instance.sop_class_uid != KeyObjectSelectionDocumentStorage or instance.key in self._heeded:
                continue
            if self._heed(study, instance, grouped):
                new = True
            self._heeded.add(instance.key)
        return new

    def forget(self) -> None:
        """No study is looked at."""
        self._heeded.clear()

    def _heed(self, study: Study, instance: Instance, grouped: Mapping[str, Sequence[Instance]]) -> bool:
        try:
            if instance.size > LARGEST_DOCUMENT:
                raise DecodeError(
                    f"a key object selection of {instance.size} bytes is not read, {LARGEST_DOCUMENT} are the most"
                )
            document = self.read_header(instance.key)
            note = rejection_note(document, instance.received_at)
        except Exception as error:  # pydicom raises what it likes on nonsense, as values are looked at
            raise_unreadable(error, f"the key object selection {instance.sop_instance_uid}")
            typed = error if isinstance(error, DecodeError) else logged(_log, error, "reading a key object selection")
            if typed.retriable:
                raise
            words = f"{instance.sop_instance_uid}: whether it rejects images is not known: {typed.message}"
            self.tell(study, instance.key, "warning", "study.unread", words)
            return False
        if note is None:
            return False
        with self.catalog.read() as session:
            if rejections.known(session, study.study_instance_uid, note):
                return False
        if why := self._refusal(note, document, grouped):
            words = f"the key object selection {note.document_uid} ({note.title}) from {instance.calling_ae} {why}"
            self.tell(study, instance.key, "error", "rejection.refused", words)
            return False
        with self.catalog.begin() as session:
            now = self.catalog.clock()
            entered = rejections.enter(session, study.id, note, now, actor=instance.calling_ae)
            # of what was fetched for workitems alone no route is asked
            if entered and self.reopens and studies.has_routed(session, study.id):
                studies.open_again(session, study.id, now)
            return entered > 0

    def _refusal(self, note: RejectionNote, document: Dataset, grouped: Mapping[str, Sequence[Instance]]) -> str:
        """Why a note is not obeyed; '' where it is."""
        count = len(note.sop_instance_uids)
        if count > rejections.MOST_REFERENCES:
            return (
                f"refers to {count} instances, and {rejections.MOST_REFERENCES} are the most: it is not obeyed. Have "
                "the PACS reject them by several notes"
            )
        differing = self._contradictions(note, document, grouped)
        if differing:
            return (
                f"names another patient than the images here ({', '.join(differing)}): it is not obeyed, and they are "
                "still explained. Compare the two in the PACS, correct what is wrong, and send it anew"
            )
        return ""

    def _contradictions(
        self, note: RejectionNote, document: Dataset, grouped: Mapping[str, Sequence[Instance]]
    ) -> Sequence[str]:
        """In which attributes a note names another patient than the images that it rejects, or than the study's others
        where none of these is here; one of each series is compared.
        """
        images = [[one for one in group if not holds_no_image(one.sop_class_uid)] for group in grouped.values()]
        referenced = [[one for one in group if one.sop_instance_uid in note.sop_instance_uids] for group in images]
        for group in referenced if any(referenced) else images:
            for instance in group:
                try:
                    header = self.read_header(instance.key)
                except DecodeError:
                    continue
                patient = StatedPatient()
                patient.add(document)
                patient.add(header)
                if patient.contradictions:
                    return patient.contradictions
                break
        return ()
