"""WhyRay's own worklist: the manager of PS3.4 annex CC, over catalog and storage.

Each change is one transaction: the new data set is durable in storage before the row that names it is committed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from pydicom import Dataset
from pynetdicom.sop_class import UnifiedProcedureStepPush
from sqlalchemy.orm import Session

from whyray.base.errors import NotFound, TransitionError, WorkitemConflict, WorkitemInvalid
from whyray.catalog import Catalog, Workitem, WorkitemState, events, workitem_after, workitems
from whyray.storage import Storage
from whyray.worklist.datasets import discontinued
from whyray.worklist.workitem import (
    Code,
    check_final,
    check_new,
    date_time,
    keep,
    kept,
    merge,
    read_order,
    uid_of,
    without,
)

OWN = workitems.OWN
_CLOSED = (WorkitemState.COMPLETED, WorkitemState.CANCELED)
_ACTIONS = {
    WorkitemState.IN_PROGRESS: "claim",
    WorkitemState.COMPLETED: "complete",
    WorkitemState.CANCELED: "cancel",
}
_FIXED = (
    *("SOPClassUID", "SOPInstanceUID", "ProcedureStepState", "TransactionUID"),
    *("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "ReferencedRequestSequence"),
)
"""What no update may touch."""


@dataclass(frozen=True)
class OwnWorklist:
    """Creates, shows, changes and closes workitems. Safe for threads and for several processes."""

    catalog: Catalog
    storage: Storage
    name: str = OWN

    def create(self, workitem: Dataset, uid: str | None = None) -> str:
        """Enter a new workitem; gives its UID.

        Raises
        ------
        WorkitemInvalid
            If it lacks something.
        WorkitemConflict
            If there is one with this UID.
        """
        now = self.catalog.clock()
        named = workitem.get("SOPInstanceUID")
        if uid is not None and named and named != uid:
            raise WorkitemInvalid("the request and the workitem name different UIDs")
        workitem.SOPClassUID = UnifiedProcedureStepPush  # whatever service it went through
        workitem.SOPInstanceUID = uid_of(uid or named, "workitem's UID")
        check_new(workitem)
        workitem.ProcedureStepState = WorkitemState.SCHEDULED.value
        workitem.TransactionUID = None
        workitem.ScheduledProcedureStepModificationDateTime = date_time(now)
        workitem.WorklistLabel = workitem.get("WorklistLabel") or "WHYRAY"
        order = read_order(workitem)
        key = keep(self.storage, workitem)
        row = Workitem(
            worklist=OWN,
            uid=order.uid,
            state=WorkitemState.SCHEDULED,
            key=key,
            code=str(order.code or ""),
            ready=order.ready,
            priority=order.priority,
            study_instance_uid=order.study_uid,
            created_at=now,
        )
        with self.catalog.begin() as session:
            entered = workitems.enter(session, row)
        if not entered:
            self.storage.delete(key)
            raise WorkitemConflict(f"there is a workitem {order.uid} already")
        return order.uid

    def retrieve(self, uid: str) -> Dataset:
        """The workitem as it is now. Its Transaction UID is left out: it is the performer's key.

        Raises
        ------
        NotFound
            If there is none.
        """
        with self.catalog.read() as session:
            return without(kept(self.storage, self._key(self._row(session, uid))), ("TransactionUID",))

    def all(self, states: Collection[WorkitemState] = ()) -> list[Dataset]:
        """All workitems, most urgent and then oldest first; of these states alone, where some are given."""
        with self.catalog.read() as session:
            keys = [self._key(row) for row in workitems.listed(session, OWN, states=states)]
        data_sets = []
        for key in keys:
            try:
                data_sets.append(without(kept(self.storage, key), ("TransactionUID",)))
            except (NotFound, FileNotFoundError):
                continue  # changed in this moment: the next search shows it
        return data_sets

    def find(self, codes: Collection[Code]) -> list[Dataset]:
        """Workitems with one of these codes that are scheduled and whose input is ready."""
        wanted = {str(code) for code in codes}
        scheduled = self.all((WorkitemState.SCHEDULED,))
        return [
            workitem for workitem in scheduled if (order := read_order(workitem)).ready and str(order.code) in wanted
        ]

    def claim(self, uid: str, transaction_uid: str) -> None:
        """Make it IN PROGRESS under this Transaction UID; raises as `change_state`."""
        self.change_state(uid, WorkitemState.IN_PROGRESS, transaction_uid)

    def finish(self, uid: str, transaction_uid: str, state: WorkitemState) -> None:
        """Close it; raises as `change_state`."""
        self.change_state(uid, state, transaction_uid)

    def update(self, uid: str, transaction_uid: str | None, changes: Dataset) -> None:
        """Change attributes of a workitem that is not closed.

        Raises
        ------
        NotFound
            If there is none.
        WorkitemConflict
            If it is closed.
        WorkitemInvalid
            If it is in progress under another Transaction UID, or an attribute may not be changed.
        """
        touched = [keyword for keyword in _FIXED if keyword in changes]
        if touched:
            raise WorkitemInvalid(f"an update may not touch {', '.join(touched)}")

        def change(row: Workitem, workitem: Dataset) -> None:
            if row.state in _CLOSED:
                raise WorkitemConflict(f"the workitem {uid} is {row.state.value}")
            _check_transaction(row, transaction_uid)
            merge(workitem, changes)
            if row.state is WorkitemState.SCHEDULED:
                order = read_order(workitem)
                row.code, row.ready, row.priority = str(order.code or ""), order.ready, order.priority
                row.study_instance_uid = order.study_uid

        self._change(uid, change)

    def change_state(self, uid: str, state: WorkitemState, transaction_uid: str) -> None:
        """Claim, complete or cancel.

        Raises
        ------
        NotFound
            If there is none.
        WorkitemConflict
            If its state does not allow that.
        WorkitemInvalid
            If the Transaction UID is another, or the data set lacks what the final state needs.
        """

        def change(row: Workitem, workitem: Dataset) -> None:
            try:
                following = workitem_after(_ACTIONS[state], row.state)
            except (KeyError, TransitionError) as error:
                raise WorkitemConflict(
                    f"the workitem {uid} is {row.state.value}, so it can't be {state.value}"
                ) from error
            if state is WorkitemState.IN_PROGRESS:
                row.transaction_uid = workitem.TransactionUID = transaction_uid
            else:
                _check_transaction(row, transaction_uid)
                check_final(workitem, state)
                row.closed_at = self.catalog.clock()
            row.state = following
            workitem.ProcedureStepState = following.value

        self._change(uid, change)

    def request_cancel(self, uid: str, reason: str) -> bool:
        """Withdraw what nobody has claimed, or ask WhyRay as performer to stop; whether it is closed already.

        Raises
        ------
        NotFound
            If there is none.
        WorkitemConflict
            If it is closed, or performed by somebody who can't be told: no events are sent.
        """
        now = self.catalog.clock()

        def change(row: Workitem, workitem: Dataset) -> None:
            if row.state in _CLOSED:
                raise WorkitemConflict(f"the workitem {uid} is {row.state.value}")
            if row.state is WorkitemState.SCHEDULED and row.stage is None:
                row.state, row.closed_at, row.reason = workitem_after("withdraw", row.state), now, "asked for"
                workitem.ProcedureStepState = row.state.value
                merge(workitem, discontinued(reason or "withdrawn before it began", now))
            elif row.stage is None:
                raise WorkitemConflict(f"the performer of the workitem {uid} can't be told")
            else:
                row.cancel_requested, row.not_before = True, None

        row = self._change(uid, change)
        return row.state is WorkitemState.CANCELED

    def _change(self, uid: str, change: Callable[[Workitem, Dataset], None]) -> Workitem:
        with self.catalog.begin() as session:
            row = self._row(session, uid, lock=True)
            old = self._key(row)
            workitem = kept(self.storage, old)
            change(row, workitem)
            workitem.ScheduledProcedureStepModificationDateTime = date_time(self.catalog.clock())
            row.key = keep(self.storage, workitem)
            if row.state in _CLOSED and row.stage is None:
                words = f"workitem {uid} is {row.state.value}"
                events.record(session, self.catalog.clock(), "info", "worklist.closed", words)
        self.storage.delete(old)
        return row

    def _row(self, session: Session, uid: str, *, lock: bool = False) -> Workitem:
        row = workitems.get(session, OWN, uid, lock=lock)
        if row is None:
            raise NotFound(f"no workitem {uid}", advice="Search for it: GET /dicom-web/workitems.")
        return row

    @staticmethod
    def _key(row: Workitem) -> str:
        assert row.key is not None  # own workitems always have their data set
        return row.key


def _check_transaction(row: Workitem, transaction_uid: str | None) -> None:
    if row.state is WorkitemState.SCHEDULED:
        if transaction_uid:
            raise WorkitemInvalid("a scheduled workitem has no Transaction UID")
    elif not transaction_uid:
        raise WorkitemInvalid("the Transaction UID is missing")
    elif transaction_uid != row.transaction_uid:
        raise WorkitemInvalid("the Transaction UID is incorrect")


__all__ = ["OWN", "OwnWorklist"]
