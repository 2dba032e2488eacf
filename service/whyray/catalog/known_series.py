"""Entering instances of series that the catalog has, which most instances are: intake's time is spent here.

The same rows as `studies.add_instance` makes, by three statements for each instance and without objects.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import cast

from sqlalchemy import Table, bindparam, case, exists, insert, select, update

from whyray.catalog.database import BareTransaction
from whyray.catalog.prepared import Prepared
from whyray.catalog.studies import Received
from whyray.catalog.tables import Instance, Series, Study

_STUDIES, _SERIES, _INSTANCES = (cast(Table, table.__table__) for table in (Study, Series, Instance))
_KNOWN = Prepared(
    select(
        _STUDIES.c.id, _SERIES.c.id, exists().where(_INSTANCES.c.sop_instance_uid == bindparam("uid")).label("is_known")
    )
    .join_from(_STUDIES, _SERIES, _SERIES.c.study_id == _STUDIES.c.id)
    .where(
        _STUDIES.c.study_instance_uid == bindparam("study"),
        _SERIES.c.series_instance_uid == bindparam("series"),
    )
    .with_for_update(of=_STUDIES)
)
"""The study is locked first, as by `add_instance`; an instance that another process enters while this waits for the
lock is not seen, and refused by its unique UID and variant: then the caller does it the long way."""
_COLUMNS = (
    "series_id",
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
_INSERT = Prepared(insert(_INSTANCES).inline(), _COLUMNS)
_TOUCH = Prepared(update(_STUDIES).where(_STUDIES.c.id == bindparam("study")).values(last_received_at=bindparam("now")))
_OPEN = Prepared(
    update(_STUDIES)
    .where(_STUDIES.c.id == bindparam("study"))
    .values(
        last_received_at=bindparam("now"),
        received_sequence=_STUDIES.c.received_sequence + bindparam("came"),
        expires_at=None,
        opened_at=case(
            (
                _STUDIES.c.received_sequence == _STUDIES.c.routed_sequence,
                bindparam("now", type_=_STUDIES.c.opened_at.type),
            ),
            else_=_STUDIES.c.opened_at,
        ),
    )
)
"""Gives routing something to deal with."""


class NotPlain(Exception):  # noqa: N818
    """A study or series is new, or the UID is known: nothing of the batch may be committed."""


def add_to_known_series(transaction: BareTransaction, batch: Iterable[Received], now: datetime) -> None:
    """Enter objects, all of them new, of series that are known; the caller commits.

    Raises
    ------
    NotPlain
        If one of them is something else.
    """
    came: Counter[int] = Counter()
    touched = set()
    for received in batch:
        found = transaction.row(
            _KNOWN,
            study=received.study_instance_uid,
            series=received.series_instance_uid,
            uid=received.sop_instance_uid,
        )
        if found is None or found[2]:
            raise NotPlain
        study_id, series_id = found[0], found[1]
        transaction.execute(
            _INSERT,
            series_id=series_id,
            sop_instance_uid=received.sop_instance_uid,
            sop_class_uid=received.sop_class_uid,
            transfer_syntax_uid=received.transfer_syntax_uid,
            sha256=received.sha256,
            size=received.size,
            key=received.key,
            variant=0,
            calling_ae=received.calling_ae,
            received_at=now,
            own_result=received.own_result,
            routed=received.routed,
        )
        if not received.routed:
            touched.add(study_id)
        elif not received.own_result:
            came[study_id] += 1
    for study_id, number in came.items():
        transaction.execute(_OPEN, study=study_id, now=now, came=number)
    for study_id in touched.difference(came):
        transaction.execute(_TOUCH, study=study_id, now=now)
