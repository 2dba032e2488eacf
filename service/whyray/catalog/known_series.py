"""Entering instances of series that the catalog has, which most instances are, and the end of an association: intake's
time is spent here.

The same rows as `studies.add_instance` makes, by a statement for each instance and one for each study, without objects.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import cast

from sqlalchemy import Table, bindparam, exists, insert, select, update

from whyray.catalog.database import BareTransaction
from whyray.catalog.prepared import Prepared
from whyray.catalog.studies import Received, opened_by
from whyray.catalog.tables import Instance, ResultRow, Series, Study

_STUDIES, _SERIES, _INSTANCES, _RESULTS = (
    cast(Table, table.__table__) for table in (Study, Series, Instance, ResultRow)
)
_GIVEN = (
    "sop_instance_uid",
    "sop_class_uid",
    "transfer_syntax_uid",
    "sha256",
    "size",
    "key",
    "variant",
    "calling_ae",
    "received_at",
    "own_result",
    "routed",
)
_UID = bindparam("sop_instance_uid", type_=_INSTANCES.c.sop_instance_uid.type)
_ENTER = Prepared(
    insert(_INSTANCES).from_select(
        ["series_id", *_GIVEN],
        select(_SERIES.c.id, *(bindparam(name, type_=_INSTANCES.c[name].type) for name in _GIVEN))
        .join_from(_STUDIES, _SERIES, _SERIES.c.study_id == _STUDIES.c.id)
        .where(
            _STUDIES.c.study_instance_uid == bindparam("study"),
            _SERIES.c.series_instance_uid == bindparam("series"),
            ~exists().where(_INSTANCES.c.sop_instance_uid == _UID),
            ~exists().where(_RESULTS.c.sop_instance_uid == _UID),
        ),
        include_defaults=False,
    )
)
"""One row, or none where the series is new, the UID is known, or WhyRay made what bears it."""
_TOUCH = Prepared(
    update(_STUDIES)
    .where(_STUDIES.c.study_instance_uid == bindparam("study"))
    .values(last_received_at=bindparam("now"))
)
_OPEN = Prepared(
    update(_STUDIES)
    .where(_STUDIES.c.study_instance_uid == bindparam("study"))
    .values(last_received_at=bindparam("now"), **opened_by(bindparam("came")))
)
"""Gives routing something to deal with."""
_RELEASE = Prepared(
    update(_STUDIES).where(_STUDIES.c.study_instance_uid == bindparam("uid")).values(released_at=bindparam("now"))
)


class NotPlain(Exception):  # noqa: N818
    """A study or series is new, or the UID is known: nothing of the batch may be committed."""


def add_to_known_series(transaction: BareTransaction, batch: Sequence[Received], now: datetime) -> None:
    """Enter objects, all of them new, of series that are known; the caller commits.

    The study is locked first, as by `add_instance`; an instance that another process enters while this waits for the
    lock is seen, or refused by its unique UID and variant: then the caller does it the long way.

    Raises
    ------
    NotPlain
        If one of them is something else, or one that WhyRay made and that does not say so.
    """
    came: Counter[str] = Counter()
    touched = set()
    for received in batch:
        if not received.routed:
            touched.add(received.study_instance_uid)
        elif not received.own_result:
            came[received.study_instance_uid] += 1
    for study, number in sorted(came.items()):
        transaction.execute(_OPEN, study=study, now=now, came=number)
    for study in sorted(touched.difference(came)):
        transaction.execute(_TOUCH, study=study, now=now)
    entered = transaction.execute_each(
        _ENTER,
        [
            {
                "study": received.study_instance_uid,
                "series": received.series_instance_uid,
                "sop_instance_uid": received.sop_instance_uid,
                "sop_class_uid": received.sop_class_uid,
                "transfer_syntax_uid": received.transfer_syntax_uid,
                "sha256": received.sha256,
                "size": received.size,
                "key": received.key,
                "variant": 0,
                "calling_ae": received.calling_ae,
                "received_at": now,
                "own_result": received.own_result,
                "routed": received.routed,
            }
            for received in batch
        ],
    )
    if entered != len(batch):
        raise NotPlain


def release(transaction: BareTransaction, study_uids: Collection[str], now: datetime) -> None:
    """Note that an association which brought instances of these studies has ended; the caller commits."""
    transaction.execute_each(_RELEASE, [{"uid": uid, "now": now} for uid in sorted(study_uids)])
