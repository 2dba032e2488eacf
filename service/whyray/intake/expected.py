"""How many instances a study or series should have, asked of the PACS by C-FIND (PS3.4 section C.6.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydicom import Dataset
from pynetdicom import AE
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind

from whyray.base.errors import PeerRefused, PeerUnreachable
from whyray.config import CallerTls

_PENDING = (0xFF00, 0xFF01)
_SUCCESS = 0x0000


@dataclass(frozen=True)
class Peer:
    """Whom to ask, and under which name."""

    calling_ae: str
    ae_title: str
    host: str
    port: int
    timeout: float = 5.0
    tls: CallerTls | None = None


def expected_instances(
    peer: Peer, study_uid: str, level: Literal["study", "series"], series_uids: tuple[str, ...] = ()
) -> int | None:
    """NumberOfStudyRelatedInstances, or the sum of NumberOfSeriesRelatedInstances over `series_uids`.

    None where the PACS does not say (the attributes are optional keys). What it answers of other studies, which some
    give that pass a key over, does not count.

    Raises
    ------
    PeerUnreachable, PeerRefused
        If there is no association, or the query is not accepted, or fails.
    """
    ae = AE(ae_title=peer.calling_ae)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ae.connection_timeout = peer.timeout
    ae.add_requested_context(StudyRootQueryRetrieveInformationModelFind)
    tls = None if peer.tls is None else (peer.tls.context(), peer.host)
    association = ae.associate(peer.host, peer.port, ae_title=peer.ae_title, tls_args=tls)
    if not association.is_established:
        if association.is_rejected:
            raise PeerRefused(f"{peer.ae_title} at {peer.host}:{peer.port} rejected the association for C-FIND")
        raise PeerUnreachable(f"{peer.ae_title} at {peer.host}:{peer.port} did not take the association for C-FIND")
    try:
        if not association.accepted_contexts:
            raise PeerRefused(f"{peer.ae_title} does not accept Study Root Query/Retrieve - FIND")
        query = Dataset()
        query.QueryRetrieveLevel = level.upper()
        query.StudyInstanceUID = study_uid
        keyword = "NumberOfStudyRelatedInstances"
        if level == "series":
            query.SeriesInstanceUID = ""
            keyword = "NumberOfSeriesRelatedInstances"
        setattr(query, keyword, "")
        count_by_uid: dict[str, int | None] = {}
        for status, answer in association.send_c_find(query, StudyRootQueryRetrieveInformationModelFind):
            if not status:
                raise PeerUnreachable(f"{peer.ae_title} broke off the C-FIND")
            if status.Status in _PENDING and answer is not None and _uid(answer, "StudyInstanceUID") in ("", study_uid):
                uid = study_uid if level == "study" else _uid(answer, "SeriesInstanceUID")
                count_by_uid[uid] = _count(answer, keyword)
            elif status.Status not in (*_PENDING, _SUCCESS):
                raise PeerRefused(f"{peer.ae_title} answered C-FIND with 0x{status.Status:04X}")
    finally:
        association.release()
    counts = [count_by_uid.get(uid) for uid in ((study_uid,) if level == "study" else series_uids)]
    known = [count for count in counts if count is not None]
    return sum(known) if counts and len(known) == len(counts) else None


def _uid(answer: Dataset, keyword: str) -> str:
    return str(answer.get(keyword) or "").strip(" \0")


def _count(answer: Dataset, keyword: str) -> int | None:
    """The number that an answer gives; None where it gives none, no number, or 0 of what has come at least once."""
    try:
        return int(str(answer[keyword].value).strip()) or None
    except Exception:  # pydicom raises what it likes on nonsense, as values are looked at
        return None
