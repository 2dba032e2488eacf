"""One STOW-RS request (PS3.18 section 10.5): its parts become instances as by C-STORE, its answer says what became."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from pydicom import Dataset

from whyray.base.failures import logged
from whyray.intake.admission import is_storage
from whyray.intake.file_meta import FileMeta, read_file_meta
from whyray.intake.header import NotUnderstood
from whyray.intake.incoming_instance import Begin, IncomingInstance
from whyray.intake.part10 import TRANSFER_SYNTAXES
from whyray.intake.receiver import InstanceReceiver
from whyray.intake.refusals import Refused, class_not_supported, failed_here, not_understood, syntax_not_supported
from whyray.intake.transfers import IncomingTransfer

MEDIA_TYPE = "application/dicom"
_OUT_OF_RESOURCES = (0xA700, 0xA701)
_log = logging.getLogger("whyray.intake")


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an instance was not taken: Failure Reason, and the words for the operator.

    Not the exception: its traceback would hold what had come of each instance in memory until the request ends.
    """

    status: int
    detail: str


@dataclass
class StoreRequest:
    """The parts of one request on their way in; never more than a part's File Meta Information is held in memory.

    Parameters
    ----------
    begin_data_set
        Where a data set goes.
    sender
        Whom the catalog names as the calling AE.
    study
        The Study Instance UID in the request's path; instances of any other study are refused.
    """

    receiver: InstanceReceiver
    begin_data_set: Begin
    sender: str
    study: str | None = None
    address: str | None = None
    """Where the request came from."""
    asked: bool = False
    """Whether WhyRay asked for the instances."""
    study_uids: set[str] = field(default_factory=set)
    """Studies of instances that were stored and are to be routed."""
    stored: list[tuple[str, str]] = field(default_factory=list)
    """(SOP class, SOP instance) of each."""
    failed: list[tuple[str, str, Failure]] = field(default_factory=list)
    """(SOP class, SOP instance, why) of each."""
    other_failures: list[Failure] = field(default_factory=list)
    """Of parts whose instance is not known."""
    _kept: int = 0
    _coming: int = 0
    _head: bytearray = field(default_factory=bytearray)
    _meta: FileMeta | None = None
    _incoming: IncomingInstance | None = None
    _refused: Refused | None = None

    def __post_init__(self) -> None:
        clock = self.receiver.catalog.clock
        self._transfer = IncomingTransfer(self.sender, clock, address=self.address, asked=self.asked)

    def begin(self, headers: Mapping[str, str]) -> None:
        """A part begins."""
        self._head, self._meta, self._incoming, self._refused = bytearray(), None, None, None
        self._coming = 0
        media_type = headers.get("content-type", MEDIA_TYPE).partition(";")[0].strip().lower()
        if media_type != MEDIA_TYPE:
            self._refused = not_understood(f"the part is not {MEDIA_TYPE}")
        elif headers.get("content-encoding", "identity").lower() != "identity":
            self._refused = not_understood("the part has a content encoding")

    def data(self, piece: bytes) -> None:
        """More of a part: first its File Meta Information, then its data set, which goes to storage as it comes."""
        if self._refused is not None:
            return
        self._coming += len(piece)
        if self._incoming is not None:
            self._incoming.write(piece)
            return
        self._head += piece
        try:
            self._meta = read_file_meta(self._head)
        except NotUnderstood as error:
            self._refused = not_understood(str(error))
            return
        if self._meta is not None:
            self._open(self._meta)

    def _open(self, meta: FileMeta) -> None:
        if not is_storage(meta.sop_class_uid):
            self._refused = class_not_supported(meta.sop_class_uid)
        elif meta.transfer_syntax_uid not in TRANSFER_SYNTAXES:
            self._refused = syntax_not_supported(meta.transfer_syntax_uid)
        else:
            self._incoming = self.begin_data_set(
                meta.sop_class_uid, meta.sop_instance_uid, meta.transfer_syntax_uid, self.sender
            )
            self._incoming.write(bytes(self._head[meta.length :]))
        self._head.clear()

    def end(self) -> None:
        """A part is whole: make its instance durable, in storage and in the catalog, or note why not."""
        incoming, self._incoming = self._incoming, None
        try:
            self._take(incoming)
        except Refused as refused:
            self._fail(refused)
        except Exception as error:  # the part gets a Failure Reason, whatever it was
            logged(_log, error, f"taking an instance from {self.sender}")
            self._fail(failed_here(error))
        finally:
            self._meta = self._refused = None
            self._coming = 0
            if incoming is not None:
                incoming.close()

    def _take(self, incoming: IncomingInstance | None) -> None:
        if self._refused is not None:
            raise self._refused
        meta = self._meta
        if meta is None:
            raise not_understood("truncated: the part ends within the File Meta Information")
        received = self.receiver.take(
            incoming,
            meta.sop_class_uid,
            meta.sop_instance_uid,
            self.sender,
            transfer=self._transfer,
            study_uid=self.study,
        )
        self._kept += self._coming
        self.stored.append((meta.sop_class_uid, meta.sop_instance_uid))
        if not received.own_result:
            self.study_uids.add(received.study_instance_uid)

    def _fail(self, refused: Refused) -> None:
        self.receiver.report(refused, self.sender, service="STOW-RS")
        failure = Failure(refused.status, refused.detail)
        if self._meta is None:
            self.other_failures.append(failure)
        else:
            self.failed.append((self._meta.sop_class_uid, self._meta.sop_instance_uid, failure))

    def wasted(self, decoded: int) -> int:
        """How many of so many bytes that came are neither in storage nor in an instance that may still get there."""
        refused = self._refused or (self._incoming.refused if self._incoming is not None else None)
        return decoded - self._kept - (0 if refused is not None else self._coming)

    def broken(self, words: str) -> None:
        """The body broke off, or is none: the part that has not ended is not taken."""
        self.close()
        self._fail(not_understood(words))

    def audit(self, broken: str = "") -> None:
        """Tell the audit trail what came, once there is no more; `broken`: why there is not."""
        self.receiver.audit(self._transfer.end(broken))

    def close(self) -> None:
        """Remove what has not become an instance; harmless when repeated."""
        if self._incoming is not None:
            self._incoming.close()
            self._incoming = None

    @property
    def status(self) -> HTTPStatus:
        """Of the response: PS3.18 table 10.5.3-1, and 503 where all failed for want of resources: later may do."""
        failures = [failure for *_, failure in self.failed] + self.other_failures
        if not failures:
            return HTTPStatus.OK if self.stored else HTTPStatus.BAD_REQUEST
        if self.stored:
            return HTTPStatus.ACCEPTED
        later = all(failure.status in _OUT_OF_RESOURCES for failure in failures)
        return HTTPStatus.SERVICE_UNAVAILABLE if later else HTTPStatus.CONFLICT

    def response(self) -> Dataset:
        """The Store Instances Response Module (PS3.18 table I.1-1); WhyRay stores what came, so it warns of nothing."""
        response = Dataset()
        response.RetrieveURL = None  # nothing is retrieved from WhyRay
        if self.stored:
            response.ReferencedSOPSequence = [_item(reference) for reference in self.stored]
            for item in response.ReferencedSOPSequence:
                item.RetrieveURL = None
        if self.failed:
            response.FailedSOPSequence = [
                _item((sop_class, instance), failure) for sop_class, instance, failure in self.failed
            ]
        if self.other_failures:
            response.OtherFailuresSequence = [_item(None, failure) for failure in self.other_failures]
        return response


def _item(reference: tuple[str, str] | None, failure: Failure | None = None) -> Dataset:
    item = Dataset()
    if reference is not None:
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = reference
    if failure is not None:
        item.FailureReason = failure.status
    return item
