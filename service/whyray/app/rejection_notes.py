"""Key object selections that reject images (IHE Imaging Object Change Management), read as a study is routed."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from pydicom import Dataset
from pydicom.uid import KeyObjectSelectionDocumentStorage
from sqlalchemy.orm import Session

from whyray.base.errors import DecodeError
from whyray.base.failures import logged, raise_unreadable
from whyray.base.identification import StatedPatient
from whyray.base.sop_classes import holds_no_image
from whyray.base.uids import is_uid
from whyray.catalog import Catalog, Instance, RejectionNote, Study, events, rejections, studies
from whyray.routing import LARGEST_DOCUMENT

_log = logging.getLogger("whyray.routing")
_MOST_STUDIES = 1000
"""Of so many it is known which notes were heeded, or read; the others are looked at anew."""


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


@dataclass(frozen=True)
class _ReadNote:
    """What was read of a key object selection: what it rejects, if it does, and whose images it is about."""

    note: RejectionNote | None
    patient: StatedPatient

    @property
    def references(self) -> int:
        return 0 if self.note is None else len(self.note.sop_instance_uids)


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
    _heeded: dict[int, tuple[bytes, set[str]]] = field(default_factory=dict)
    """By the id of a study: a digest of the ids of all that was here of it, and the keys of the notes heeded then."""
    _read: dict[str, _ReadNote] = field(default_factory=dict)
    """By key; of as many references as one note may have, all together."""

    def heed(self, study: Study, grouped: Mapping[str, Sequence[Instance]]) -> bool:
        """Enter what the key object selections among these instances reject; says whether anything changed by it.

        A note that came before its images was compared with none: it is as these come, and no longer obeyed where it is
        about another patient.

        Raises
        ------
        WhyRayError
            If one can't be read now and may be later: until then nobody knows what may be used.
        """
        changed = False
        while True:
            here = [instance for group in grouped.values() for instance in group]
            notes = [one for one in here if one.sop_class_uid == KeyObjectSelectionDocumentStorage]
            if not notes:
                return changed
            with self.catalog.read() as session:
                rejected = studies.rejected(session, study.id)
            heeded = self._heeded_of(study, rejected.union(one.id for one in here))
            for instance in notes:
                if instance.key in heeded:
                    continue
                outcome = self._heed(study, instance, grouped)
                changed = changed or outcome != "nothing new"
                if outcome == "withdrawn":
                    break
                heeded.add(instance.key)
            else:
                return changed
            # what it had rejected is here again, to be compared with it and with the notes that follow
            del self._heeded[study.id]
            with self.catalog.read() as session:
                grouped = studies.routable(session, study.id)

    def forget(self) -> None:
        """No study is looked at."""
        self._heeded.clear()
        self._read.clear()

    def _heeded_of(self, study: Study, ids: Iterable[int]) -> set[str]:
        """Keys of the notes that were heeded while just these instances were here."""
        which = hashlib.sha256(repr(sorted(ids)).encode()).digest()
        known = self._heeded.get(study.id)
        if known is not None and known[0] == which:
            return known[1]
        heeded: set[str] = set()
        self._heeded[study.id] = (which, heeded)
        while len(self._heeded) > _MOST_STUDIES:
            del self._heeded[next(iter(self._heeded))]
        return heeded

    def _document(self, instance: Instance) -> _ReadNote:
        """Read a key object selection, once while it is kept."""
        read = self._read.pop(instance.key, None)
        if read is None:
            document = self.read_header(instance.key)
            read = _ReadNote(rejection_note(document, instance.received_at), StatedPatient())
            read.patient.add(document)
        self._read[instance.key] = read  # the last one: the first is forgotten first
        references = sum(one.references for one in self._read.values())
        while references > rejections.MOST_REFERENCES or len(self._read) > _MOST_STUDIES:
            references -= self._read.pop(next(iter(self._read))).references
        return read

    def _heed(
        self, study: Study, instance: Instance, grouped: Mapping[str, Sequence[Instance]]
    ) -> Literal["nothing new", "entered", "withdrawn"]:
        try:
            if instance.size > LARGEST_DOCUMENT:
                raise DecodeError(
                    f"a key object selection of {instance.size} bytes is not read, {LARGEST_DOCUMENT} are the most"
                )
            document = self._document(instance)
        except Exception as error:  # pydicom raises what it likes on nonsense, as values are looked at
            raise_unreadable(error, f"the key object selection {instance.sop_instance_uid}")
            typed = error if isinstance(error, DecodeError) else logged(_log, error, "reading a key object selection")
            if typed.retriable:
                raise
            words = f"{instance.sop_instance_uid}: whether it rejects images is not known: {typed.message}"
            self.tell(study, instance.key, "warning", "study.unread", words)
            return "nothing new"
        if document.note is None:
            return "nothing new"
        note = replace(document.note, came_at=instance.received_at)
        with self.catalog.read() as session:
            known = rejections.known(session, study.study_instance_uid, note)
        if known:
            return self._compare(study, note, document.patient)
        if why := self._refusal(note, document.patient, grouped):
            words = f"the key object selection {note.document_uid} ({note.title}) from {instance.calling_ae} {why}"
            self.tell(study, instance.key, "error", "rejection.refused", words)
            return "nothing new"
        with self.catalog.begin() as session:
            now = self.catalog.clock()
            entered = rejections.enter(session, study.id, note, now, actor=instance.calling_ae)
            rejections.remember(session, study.study_instance_uid, note)
            if entered:
                self._reopen(session, study, now)
            return "entered" if entered else "nothing new"

    def _compare(
        self, study: Study, note: RejectionNote, patient: StatedPatient
    ) -> Literal["nothing new", "withdrawn"]:
        """Compare a note that was entered with what it rejects and came since; entered no more where that differs and
        it would be refused.

        Nothing is said of it here: it is looked at anew, and refused then.
        """
        with self.catalog.read() as session:
            remembered = rejections.is_remembered(session, study.study_instance_uid, note)
            since = rejections.came_later(session, study.id, note)
            without = studies.routable(session, study.id, but_for=note.document_uid) if since else {}
        # where the two differed it would be withdrawn and entered again for ever, and each time jobs with it
        if self._contradictions(note, patient, since) and self._refusal(note, patient, without):
            return self._withdraw(study, note)
        if not remembered:
            with self.catalog.begin() as session:
                rejections.remember(session, study.study_instance_uid, note)
        return "nothing new"

    def _withdraw(self, study: Study, note: RejectionNote) -> Literal["nothing new", "withdrawn"]:
        with self.catalog.begin() as session:
            if not rejections.withdraw_note(session, study.study_instance_uid, note):
                return "nothing new"
            self._reopen(session, study, self.catalog.clock())
        return "withdrawn"

    def _reopen(self, session: Session, study: Study, now: datetime) -> None:
        # of what was fetched for workitems alone no route is asked
        if self.reopens and studies.has_routed(session, study.id):
            studies.open_again(session, study.id, now)

    def _refusal(self, note: RejectionNote, patient: StatedPatient, grouped: Mapping[str, Sequence[Instance]]) -> str:
        """Why a note is not obeyed; '' where it is."""
        count = len(note.sop_instance_uids)
        if count > rejections.MOST_REFERENCES:
            return (
                f"refers to {count} instances, and {rejections.MOST_REFERENCES} are the most: it is not obeyed. Have "
                "the PACS reject them by several notes"
            )
        differing = self._contradictions(note, patient, grouped)
        if differing:
            return (
                f"names another patient than the images here ({', '.join(differing)}): it is not obeyed, and they are "
                "still explained. Compare the two in the PACS, correct what is wrong, and send it anew"
            )
        return ""

    def _contradictions(
        self, note: RejectionNote, patient: StatedPatient, grouped: Mapping[str, Sequence[Instance]]
    ) -> Sequence[str]:
        """In which attributes a note names another patient than the images that it rejects, or than the study's others
        where none of these is here; one of each series is compared.
        """
        images = [[one for one in group if not holds_no_image(one.sop_class_uid)] for group in grouped.values()]
        referenced = [[one for one in group if one.sop_instance_uid in note.sop_instance_uids] for group in images]
        rejected = [[one for one in group if note.rejects(one)] for group in referenced]
        for group in rejected if any(referenced) else images:
            for instance in group:
                try:
                    header = self.read_header(instance.key)
                except DecodeError:
                    continue
                both = deepcopy(patient)
                both.add(header)
                if both.contradictions:
                    return both.contradictions
                break
        return ()
