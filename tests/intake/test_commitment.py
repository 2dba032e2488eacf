"""Storage commitment as provider: asked on one association, reported on another or on the same one."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from certificates import Authority
from intake.conftest import Running
from intake.scu import encode, small, uid
from peers import until
from whyray.base.tls import client_context, server_context
from whyray.catalog import Catalog
from whyray.intake import ReportAddress
from whyray.intake.commitment import CommitmentProvider

Listen = Callable[..., Running]
CT = small(1).SOPClassUID


class Asker:
    """An AE that asks for commitment and takes reports, on its own port or on the association that it asked on."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.reports: Queue[tuple[int, Dataset, str]] = Queue()
        ae = AE("ASKER")
        ae.add_supported_context(StorageCommitmentPushModel, scu_role=False, scp_role=True)
        self._server = ae.start_server(
            ("127.0.0.1", 0), block=False, evt_handlers=self._handlers("new"), ssl_context=tls
        )
        self.port = self._server.server_address[1]

    def _handlers(self, where: str) -> list[Any]:
        def keep(event: evt.Event) -> tuple[int, None]:
            self.reports.put((event.event_type, event.event_information, where))
            return 0x0000, None

        return [(evt.EVT_N_EVENT_REPORT, keep)]

    def ask(self, port: int, *wanted: tuple[str, str], action: int = 1, stay: bool = False, bad: bool = False) -> int:
        """The status of the N-ACTION; with `stay` the association is kept open until a report came on it."""
        ae = AE("ASKER")
        ae.add_requested_context(StorageCommitmentPushModel)
        link = ae.associate("127.0.0.1", port, ae_title="WHYRAY", evt_handlers=self._handlers("same"))
        assert link.is_established
        request = Dataset()
        if not bad:
            request.TransactionUID = uid("transaction")
        request.ReferencedSOPSequence = []
        for sop_class, instance in wanted:
            item = Dataset()
            item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, instance
            request.ReferencedSOPSequence.append(item)
        status, _ = link.send_n_action(request, action, StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
        if stay:
            until(lambda: not self.reports.empty())
        link.release()
        return int(status.Status)

    def close(self) -> None:
        self._server.shutdown()


@pytest.fixture
def asker() -> Iterator[Asker]:
    opened = Asker()
    yield opened
    opened.close()


def _store_one(running: Running) -> None:
    with running.sender() as sender:
        assert sender.store(encode(small(1)), uid("1", 1)).Status == 0


def test_what_is_held_is_committed_on_a_new_association_to_the_port_that_is_known(listen: Listen, asker: Asker) -> None:
    running = listen(report_to={"ASKER": ("127.0.0.1", asker.port)}.get)
    _store_one(running)
    assert asker.ask(running.port, (CT, uid("1", 1))) == 0
    kind, report, where = asker.reports.get(timeout=20)
    assert (kind, where, report.TransactionUID) == (1, "new", uid("transaction"))
    assert [item.ReferencedSOPInstanceUID for item in report.ReferencedSOPSequence] == [uid("1", 1)]
    assert "FailedSOPSequence" not in report


def test_a_peer_that_comes_by_tls_is_told_by_tls_alone(listen: Listen, tmp_path: Path) -> None:
    hospital, stranger = Authority(tmp_path / "hospital", "hospital"), Authority(tmp_path / "stranger", "stranger")
    certificate, key = hospital.signs("asker")
    asker = Asker(server_context(certificate, key, authorities=hospital.file))
    try:
        certificate, key = hospital.signs("whyray")
        trusted = partial(client_context, authorities=hospital.file, certificate=certificate, key=key)
        wrong = partial(client_context, authorities=stranger.file, certificate=certificate, key=key)
        ways = [wrong, trusted]
        address = ReportAddress("127.0.0.1", asker.port, lambda: ways.pop(0)() if len(ways) > 1 else ways[0]())
        running = listen(report_to={"ASKER": address}.get)
        _store_one(running)
        assert asker.ask(running.port, (CT, uid("1", 1))) == 0
        kind, _, where = asker.reports.get(timeout=30)
        assert (kind, where, len(ways)) == (1, "new", 1)
    finally:
        asker.close()


def test_what_is_not_held_is_reported_as_such_on_the_same_association_where_no_port_is_known(
    listen: Listen, asker: Asker
) -> None:
    running = listen()
    _store_one(running)
    assert asker.ask(running.port, (CT, uid("1", 1)), (CT, uid("1", 2)), stay=True) == 0
    kind, report, where = asker.reports.get(timeout=20)
    assert (kind, where) == (2, "same")
    assert [item.ReferencedSOPInstanceUID for item in report.ReferencedSOPSequence] == [uid("1", 1)]
    failed = [(item.ReferencedSOPInstanceUID, item.FailureReason) for item in report.FailedSOPSequence]
    assert failed == [(uid("1", 2), 0x0112)]


def test_a_request_that_cannot_be_read_and_an_unknown_action_are_refused(listen: Listen, asker: Asker) -> None:
    running = listen()
    assert asker.ask(running.port, (CT, uid("1", 1)), bad=True) == 0x0115
    assert asker.ask(running.port, (CT, uid("1", 1)), action=7) == 0x0123


def test_a_report_that_nobody_takes_becomes_an_event(listen: Listen, asker: Asker) -> None:
    running = listen()
    running.scp._associations._commitment.patience = (0.0, 0.1)
    assert asker.ask(running.port, (CT, uid("1", 1))) == 0
    until(lambda: running.events("intake.commitment-undelivered"))


def test_peers_reports_of_what_whyray_asked_reach_the_handler_that_delivery_gives(
    listen: Listen, asker: Asker, catalog: Catalog
) -> None:
    got: Queue[str] = Queue()

    def take(event: evt.Event) -> tuple[int, None]:
        got.put(str(event.event_information.TransactionUID))
        return 0x0000, None

    running = listen(handlers=[(evt.EVT_N_EVENT_REPORT, take)])
    archive = CommitmentProvider(catalog, lambda _: None, lambda: "ARCHIVE")
    report = archive.report(uid("ours"), [(CT, uid("1", 1))])
    assert archive._on_new_association("WHYRAY", ("127.0.0.1", running.port), report)
    assert got.get(timeout=20) == uid("ours")
    archive.close()
