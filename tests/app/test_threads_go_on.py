"""What keeps leases, or says that a role is alive, goes on after whatever befell it once, a lack of memory too."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy.exc import OperationalError

from peers import until
from site_under_test import Site, film, site
from whyray.app import context as context_module
from whyray.app.context import Context, ProcessHeartbeat
from whyray.app.retention import Retention
from whyray.app.schedule import Schedule
from whyray.audit import AuditSender
from whyray.catalog import Event, jobs, processes, workitems
from whyray.delivery import Caller
from whyray.delivery.destination_worker import DestinationWorker
from whyray.delivery.lease import LeaseKeeper
from whyray.jobs.job_heartbeat import Heartbeat
from whyray.worklist import Performer

__all__ = ["site"]


class OnceWithoutMemory:
    """Fails at its first call, and then does what it stands for."""

    def __init__(self, does: Callable[..., Any] = lambda *_: None) -> None:
        self.calls, self._does = 0, does

    def __call__(self, *given: Any, **named: Any) -> Any:
        self.calls += 1
        if self.calls == 1:
            raise MemoryError
        return self._does(*given, **named)


def test_a_jobs_lease_is_renewed_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.receive([film()])
    site.router().step()
    (job,) = site.jobs()
    with site.catalog.begin() as session:
        jobs.claim(session, job.id, "worker", site.clock())
    renew = OnceWithoutMemory(jobs.renew)
    monkeypatch.setattr(jobs, "renew", renew)
    with Heartbeat(site.catalog, job.id, "worker", limit=60, every=0.01) as heartbeat:
        heartbeat.progress(0.5, "half")
        until(lambda: site.jobs()[0].progress_text == "half", what="a renewed lease")


def test_the_leases_of_deliveries_are_renewed_again(site: Site) -> None:
    renew = OnceWithoutMemory(lambda _session, asked, *_: set(asked))
    with LeaseKeeper(site.catalog, ["one"], "sender", every=0.01, renew=renew) as keeper:
        until(lambda: renew.calls >= 2, what="a second renewal")
        assert keeper.holds("one")


def test_the_leases_of_workitems_are_renewed_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    renew = OnceWithoutMemory()
    monkeypatch.setattr(workitems, "renew", renew)
    monkeypatch.setattr(workitems, "LEASE", timedelta(seconds=0.03))
    ended = threading.Event()
    performer = Performer(
        catalog=site.catalog,
        storage=site.storage,
        config=lambda: site.config,
        sources=dict,
        keep=lambda *_: None,  # type: ignore[arg-type, return-value]
        make_jobs=lambda *_: [],
        owner="intake",
        uid_source=lambda: "2.25.1",
    )
    alive = threading.Thread(target=performer._stay_alive, args=[ended])
    alive.start()
    until(lambda: renew.calls >= 2, what="a second renewal")
    ended.set()
    alive.join()


def test_a_role_says_again_that_it_is_alive(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was shown as silent until it was restarted, and heeded no change of its configuration."""
    monkeypatch.setattr(context_module, "_RELOAD_EVERY", 0.01)
    context = Context.open(site.folder / "whyray.yaml")
    told = iter(range(1_000_000))

    def detail() -> dict[str, Any]:
        number = next(told)
        if number == 1:
            raise MemoryError
        return {"number": number}

    def number() -> int:
        with context.catalog.read() as session:
            return int(processes.all_processes(session)[0].detail["number"])

    with ProcessHeartbeat(context, "intake", detail=detail):
        until(lambda: number() >= 2, what="a sign of life")
    context.close()


def test_the_audit_trail_is_sent_again_and_somebody_hears_that_it_was_not(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread ended, and nothing was sent nor told until the role was restarted."""
    path = site.folder / "whyray.yaml"
    path.write_text(yaml.safe_dump(_with_syslog(path)))
    sender = AuditSender(site.catalog, Context.open(path).config)
    monkeypatch.setattr(sender, "_send", OnceWithoutMemory(lambda *_: True))
    assert not sender.turn()
    assert sender.turn()
    with site.catalog.read() as session:
        (event,) = session.query(Event).where(Event.kind == "audit.unsent")
    assert "not enough memory" in event.message


def _with_syslog(path: Path) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load(path.read_text())
    return config | {"audit": {"syslog": {"host": "127.0.0.1", "port": 6514, "transport": "udp"}}}


def test_an_outage_is_told_once_for_each_reason_and_not_twice_a_second(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """Hours without a catalog filled the disk of the log."""
    stop, steps, let_go = threading.Event(), 0, 0

    def step() -> None:
        nonlocal steps
        steps += 1
        if steps == 12:
            stop.set()
        if steps != 6:  # it was back in between
            raise OperationalError("", None, Exception("away"))

    retention = Retention(site.catalog, site.storage, lambda: site.config)
    schedule = Schedule(site.catalog, site.router(), retention, send=lambda *_: None, backlog=lambda: 0)
    schedule.step = step  # type: ignore[method-assign]
    schedule.run(stop, tick=0.001)
    told = [record.message for record in caplog.records if record.name == "whyray.schedule"]
    assert [line.startswith("the schedule: PeerUnreachable") for line in told] == [True, False]
    assert told[1].startswith("the schedule: well again, after 5 failures"), "and within a minute no more than that"

    class Sender(DestinationWorker):
        def turn(self) -> bool:
            step()
            return True

        def let_go(self) -> None:
            nonlocal let_go
            let_go += 1

    stop.clear()
    steps = 0
    sender = Sender("pacs", site.config.destinations["pacs"], Caller("WHYRAY"), work="delivery", look=0.001)
    sender.stop = stop
    sender._run()
    told = [record.message for record in caplog.records if record.name == "whyray.delivery"]
    assert [line.startswith("delivery to pacs: PeerUnreachable") for line in told] == [True, False]
    assert told[1].startswith("delivery to pacs: well again, after 5 failures")
    assert let_go == 10, "after each turn that failed, before the next"


@pytest.mark.parametrize(("built", "warned"), [(1, False), (0, True), (None, True)])
def test_a_python_whose_waits_hang_on_the_clock_is_warned_of(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, built: int | None, warned: bool
) -> None:
    monkeypatch.setattr("sysconfig.get_config_var", {"HAVE_SEM_CLOCKWAIT": built}.get)
    context = Context.open(site.folder / "whyray.yaml")
    with ProcessHeartbeat(context, "intake"):
        pass
    context.close()
    assert any("waits by the clock" in record.message for record in caplog.records) is warned
