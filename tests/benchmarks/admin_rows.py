"""Rows of a hospital's catalog in realistic proportions, written past the catalog's functions: months in a minute.

A study has 1 to 3 jobs and 4 or 5 results, each on its way to two destinations. Some values are rare, and some long
gone: a pilot's route, an archive that was replaced, an administrator who has left.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from admin.scene import FINDINGS
from whyray.catalog import Base

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
_DAYS = 90
_BATCH = 5000
_FINDING_BYTES = 22_000
_TARGETS = ("Cardiomegaly", "Effusion", "Pneumothorax", "Nodule", "Fracture", "Edema", "Consolidation", "Atelectasis")
_PACKAGES = (
    ("chest radiographs", "cxr-findings@1.0.0"),
    ("chest radiographs", "cxr-findings@1.1.0"),
    ("chest radiographs", "cxr-abnormal@1.0.0"),
    ("bone age", "bone-age@2.0.0"),
    ("head CT", "head-ct-tissue@1.0.0"),
)
_KINDS = ("sc", "seg", "pm", "sr")
_COPIED = ("jobs", "deliveries", "results", "events", "instances", "studies")


def findings() -> str:
    """What a worker writes of one job, of the usual size."""
    entries: list[dict[str, Any]] = []
    while len(json.dumps(entries)) < _FINDING_BYTES:
        for finding in FINDINGS:
            name = finding["finding"] if len(entries) < len(FINDINGS) else f"{finding['finding']} {len(entries)}"
            entries.append(finding | {"finding": name})
    return json.dumps(entries)


def _destinations(share: float) -> tuple[str, ...]:
    return "pacs", "old archive" if share < 0.1 else "archive"


@dataclass
class Rows:
    """The rows of `studies` studies; the same for the same seed."""

    studies: int
    seed: int

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._findings = findings()
        self._results = 0
        self._instances = 0
        self._events = 0
        self._number = 0

    def _hex(self, letters: int) -> str:
        return f"{self._random.getrandbits(4 * letters):0{letters}x}"

    def _uuid(self) -> str:
        digits = self._hex(32)
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"

    def _uid(self) -> str:
        return f"2.25.{self._random.getrandbits(120)}"

    def of_all(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """(table, row), rows after those that they refer to."""
        for number in range(1, self.studies + 1):
            yield from self._study(number)
        for series in range(1, 41):
            names = {
                "package": f"cxr-findings@1.{series % 2}.0",
                "measure": "probability",
                "target": f"target {series}",
            }
            yield "drift_series", {"id": series, **names, "method": ""}
        for number in range(1, 4 * self.studies + 1):
            yield (
                "drift_samples",
                {
                    "id": number,
                    "series_id": number % 40 + 1,
                    "job_id": "gone",
                    "at": self._at(number / (4 * self.studies)),
                    "number": self._random.random(),
                },
            )
        for role in ("intake", "worker", "delivery"):
            seen = {"started_at": NOW - timedelta(days=2), "seen_at": NOW - timedelta(seconds=3), "detail": "{}"}
            yield "processes", {"name": f"{role}-1", "role": role, **seen}

    def _at(self, share: float) -> datetime:
        return NOW - timedelta(days=_DAYS) * (1 - share)

    def _study(self, number: int) -> Iterator[tuple[str, dict[str, Any]]]:
        share, chance = number / (self.studies + 1), self._random.random
        at, newest = self._at(share), number > self.studies - 20
        unrouted, uid = chance() < 0.08, self._uid()
        yield (
            "studies",
            {
                "id": number,
                "study_instance_uid": uid,
                "reversed_uid": uid[::-1],
                "received_sequence": 3,
                "routed_sequence": 1 if newest else 3,
                "first_received_at": at,
                "last_received_at": at + timedelta(seconds=40),
                "opened_at": at,
                "note": "no route matched: kept 24 h" if unrouted else "chest radiographs: cxr-findings@1.1.0",
                "has_jobs": not unrouted,
            },
        )
        yield "series", {"id": number, "study_id": number, "series_instance_uid": self._uid(), "modality": "DX"}
        for _ in range(20 if chance() < 0.2 else self._random.randint(1, 3)):
            yield from self._instance(number, at)
        if chance() < 0.03:
            kind = ("instance.conflict", "warning") if chance() < 0.2 else ("intake.aborted", "warning")
            yield self._event(at, *kind, study=uid)
        if not unrouted:
            yield from self._jobs(number, share, at, uid)
        yield self._audit(at, uid)

    def _instance(self, series: int, at: datetime) -> Iterator[tuple[str, dict[str, Any]]]:
        self._instances += 1
        digest = self._hex(64)
        yield (
            "instances",
            {
                "id": self._instances,
                "series_id": series,
                "sop_instance_uid": self._uid(),
                "sop_class_uid": "1.2.840.10008.5.1.4.1.1.1.1",
                "transfer_syntax_uid": "1.2.840.10008.1.2.1",
                "sha256": digest,
                "size": self._random.randint(200_000, 9_000_000),
                "key": f"{digest[:2]}/{digest}",
                "variant": 0,
                "calling_ae": "PACS_MAIN",
                "received_at": at,
                "own_result": False,
                "routed": True,
            },
        )

    def _jobs(self, study: int, share: float, at: datetime, uid: str) -> Iterator[tuple[str, dict[str, Any]]]:
        chance, count = self._random.random, self._random.choice((1, 1, 2, 2, 3))
        left = self._random.choice((4, 5))
        first = self._random.randrange(len(_PACKAGES))
        for index in range(count):
            route, package = _PACKAGES[(first + index) % len(_PACKAGES)]
            if share < 0.1 and chance() < 0.02:
                route, package = "pilot mammography", "mammo@0.1.0"
            recent = study > self.studies - 300
            state = self._random.choices(
                ("queued", "running", "done") if recent else ("done", "superseded", "failed", "cancelled", "waiting"),
                (60, 1, 39) if recent else (960, 20, 12, 5, 0.5),
            )[0]
            ended, job_id = state in ("done", "superseded"), self._uuid()
            finished = at + timedelta(minutes=2) if state in ("done", "superseded", "failed", "cancelled") else None
            code = (
                self._random.choice(("DecodeError", "TimeLimit", "WorkerLost"))
                if state in ("failed", "waiting")
                else None
            )
            yield (
                "jobs",
                {
                    "id": job_id,
                    "study_id": study,
                    "route": route,
                    "package": package,
                    "input_digest": self._hex(64),
                    "series_uids": json.dumps([uid]),
                    "through_instance": self._instances,
                    "priority": 1 if route == "head CT" else 2,
                    "state": state,
                    "revision": 1,
                    "attempt": 0 if state == "queued" else 1,
                    "not_before": NOW + timedelta(minutes=2) if state == "waiting" else None,
                    "progress": 1.0 if ended else 0.0,
                    "error_code": code,
                    "error_message": None if code is None else f"study {uid}: expected, found",
                    "error_advice": None if code is None else "Look at it.",
                    "findings": self._findings if ended else "[]",
                    "no_statement": "[]",
                    "created_at": at + timedelta(minutes=1, milliseconds=index),
                    "started_at": None if state == "queued" else at + timedelta(minutes=1),
                    "finished_at": finished,
                },
            )
            yield self._event(at, "job.created", "info", study=uid, job=job_id)
            if state == "failed":
                yield self._event(at, "job.failed", "error", study=uid, job=job_id)
            made = left if index == count - 1 else min(left, self._random.randint(1, 3))
            left -= made
            created = at + timedelta(minutes=1, milliseconds=index)
            for destination in _destinations(share) if ended and made else ():
                yield (
                    "job_destinations",
                    {"job_id": job_id, "destination": destination, "created_at": created},
                )
            for number in range(made if ended else 0):
                yield from self._result(job_id, route, state == "superseded", number, share, finished or at)
        if chance() < 0.01:
            who = "grace" if share < 0.05 else self._random.choice(("ada", "token prometheus 1234", "local"))
            yield self._event(at, "admin.retry", "info", actor=who)

    def _result(
        self, job_id: str, route: str, superseded: bool, number: int, share: float, at: datetime
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        self._results += 1
        kind = _KINDS[number % len(_KINDS)]
        finding = None if kind == "sr" else self._random.choice(_TARGETS)
        grade = None if kind == "sr" else self._random.choices(("green", "amber", "red"), (80, 18, 2))[0]
        uid, digest = self._uid(), self._hex(64)
        yield (
            "results",
            {
                "id": self._results,
                "job_id": job_id,
                "sop_instance_uid": uid,
                "sop_class_uid": "1.2.840.10008.5.1.4.1.1.7",
                "series_instance_uid": self._uid(),
                "kind": kind,
                "finding": finding,
                "method": None if kind == "sr" else "grad-cam",
                "description": f"overlay of {finding}",
                "grade": grade,
                "key": f"{digest[:2]}/{digest}",
                "picture_key": f"{digest[:2]}/{digest}.png" if kind == "sc" else None,
                "sha256": digest,
                "superseded": superseded,
                "created_at": at,
            },
        )
        if self._random.random() < 0.02:
            reject = self._random.random() < 0.2
            verdict = {"verdict": "reject" if reject else "accept", "reason": "wrong-place" if reject else None}
            about = {"package": "cxr-findings@1.1.0", "kind": kind, "target": finding, "method": "grad-cam"}
            self._number += 1
            person = {"actor": "ada", "sop_instance_uid": uid, "grade": grade}
            yield "feedback", {"id": self._number, "at": at, **person, **verdict, **about}
        for destination in _destinations(share):
            yield self._delivery(destination, route, at)

    def _delivery(self, destination: str, route: str, at: datetime) -> tuple[str, dict[str, Any]]:
        commits = destination == "pacs"
        state = self._random.choices(
            ("committed" if commits else "sent", "sent", "failed", "waiting", "queued", "cancelled"),
            (900, 90, 4, 2, 1 if destination != "old archive" else 0, 2),
        )[0]
        sent = state in ("sent", "committed")
        code = "PeerRefused" if state == "failed" else "PeerUnreachable" if state == "waiting" else None
        return (
            "deliveries",
            {
                "id": self._uuid(),
                "result_id": self._results,
                "destination": destination,
                "route": route,
                "priority": 2,
                "state": state,
                "attempt": 0 if state == "queued" else 1,
                "status": 0 if sent else None,
                "status_text": "0x0000 success" if sent else None,
                "commitment_uid": self._uid() if state == "committed" else None,
                "commitment_asked_at": at if state == "committed" else None,
                "error_code": code,
                "error_message": None if code is None else f"{destination} did not answer",
                "error_advice": None if code is None else "Start it.",
                "created_at": at,
                "sent_at": at + timedelta(seconds=5) if sent else None,
            },
        )

    def _event(
        self,
        at: datetime,
        kind: str,
        severity: str,
        *,
        study: str | None = None,
        job: str | None = None,
        actor: str = "whyray",
    ) -> tuple[str, dict[str, Any]]:
        self._events += 1
        about = {"study_instance_uid": study, "job_id": job, "message": f"{kind} of something, said in some words"}
        return "events", {"id": self._events, "at": at, "severity": severity, "kind": kind, "actor": actor, **about}

    def _audit(self, at: datetime, uid: str) -> tuple[str, dict[str, Any]]:
        self._number += 1
        content = {"at": at.isoformat(), "kind": "transfer", "studies": [{"uid": uid}], "words": "x" * 300}
        self._audited = getattr(self, "_audited", 0) + 1
        return "audit_records", {"number": self._audited, "content": json.dumps(content), "hash": self._hex(64)}


def write(connection: Connection, rows: Iterable[tuple[str, dict[str, Any]]]) -> None:
    """Enter all rows; on PostgreSQL by COPY, and without triggers, whose counts are then made at once."""
    batches: dict[str, list[tuple[Any, ...]]] = {}
    columns: dict[str, tuple[str, ...]] = {}
    order = {table.name: number for number, table in enumerate(Base.metadata.sorted_tables)}
    postgres = connection.dialect.name == "postgresql"
    if postgres:
        connection.execute(text("SET session_replication_role = replica"))
    waiting = 0
    for table, row in rows:
        columns.setdefault(table, tuple(row))
        batches.setdefault(table, []).append(tuple(_plain(value, postgres) for value in row.values()))
        waiting += 1
        if waiting >= _BATCH * 10:
            _flush(connection, batches, columns, order)
            waiting = 0
    _flush(connection, batches, columns, order)
    if postgres:
        connection.execute(text("SET session_replication_role = DEFAULT"))


def _plain(value: Any, postgres: bool) -> Any:
    if isinstance(value, datetime):
        naive = value.replace(tzinfo=None)
        return naive if postgres else naive.isoformat(" ", "microseconds")
    return value


def _flush(
    connection: Connection,
    batches: dict[str, list[tuple[Any, ...]]],
    columns: dict[str, tuple[str, ...]],
    order: dict[str, int],
) -> None:
    driver = connection.connection.driver_connection
    assert driver is not None
    for table in sorted(batches, key=lambda name: order[name]):
        names = ", ".join(columns[table])
        if connection.dialect.name == "postgresql":
            with driver.cursor() as cursor, cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
                for row in batches[table]:
                    copy.write_row(row)
        else:
            marks = ", ".join("?" * len(columns[table]))
            driver.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", batches[table])
    batches.clear()


def double(connection: Connection, turn: int) -> None:
    """Enter every study once more, with all that is its own, under other UIDs and some seconds earlier (PostgreSQL)."""
    connection.execute(text("SET session_replication_role = replica"))
    offsets = {
        name: connection.scalar(text(f"SELECT max(id) FROM {name}"))
        for name in ("studies", "series", "instances", "results", "events")
    }
    earlier = f"- interval '{7 * 2**turn} seconds'"
    other = {name: f"md5({name} || '{turn}')::uuid::text" for name in ("id", "job_id")}
    moved: dict[str, dict[str, str]] = {
        "studies": {
            "study_instance_uid": f"study_instance_uid || '.{turn}'",
            "reversed_uid": f"'{turn}.' || reversed_uid",
        },
        "series": {"study_id": f"study_id + {offsets['studies']}"},
        "instances": {
            "series_id": f"series_id + {offsets['series']}",
            "sop_instance_uid": f"sop_instance_uid || '.{turn}'",
            "key": f"key || '.{turn}'",
        },
        "jobs": {"id": other["id"], "study_id": f"study_id + {offsets['studies']}"},
        "job_destinations": {"job_id": other["job_id"]},
        "results": {"job_id": other["job_id"], "sop_instance_uid": f"sop_instance_uid || '.{turn}'"},
        "deliveries": {"id": other["id"], "result_id": f"result_id + {offsets['results']}"},
        "events": {"job_id": other["job_id"]},
    }
    for table, changed in moved.items():
        values = dict(changed)
        if table in offsets:
            values["id"] = f"id + {offsets[table]}"
        for column in Base.metadata.tables[table].columns:
            if column.name.endswith("_at") or column.name == "at":
                values[column.name] = f"{column.name} {earlier}"
        names = [column.name for column in Base.metadata.tables[table].columns]
        chosen = ", ".join(values.get(name, name) for name in names)
        connection.execute(text(f"INSERT INTO {table} ({', '.join(names)}) SELECT {chosen} FROM {table}"))
    connection.execute(text("SET session_replication_role = DEFAULT"))
