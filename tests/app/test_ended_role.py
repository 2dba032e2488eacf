"""Why a role ended, or can't work, is told: by `status`, to the administrator, and once."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from datetime import timedelta
from pathlib import Path

import onnxruntime
import pytest
from sqlalchemy import select

from app.test_kept_config import opened, rows
from cli.conftest import Cli, cli, packages, planted, site
from whyray.app.context import Context, ProcessHeartbeat
from whyray.app.ended_role import enter_end, name_of, telling_why
from whyray.app.worker_role import open_worker
from whyray.base.child_process import how_ended
from whyray.base.errors import PackageError, RoleLost
from whyray.catalog import Catalog, Event, Process, processes, sqlite_url
from whyray.catalog.attention import attention
from whyray.catalog.shortages import Disks

__all__ = ["cli", "packages", "planted", "site"]


def test_a_role_that_cannot_start_is_told_with_its_reason(cli: Cli, site: Path) -> None:
    opened(site)
    for _ in range(2):
        with pytest.raises(PackageError), telling_why("worker", site):
            raise PackageError("planted@1.0.0: model.onnx is missing", advice="Install it again.")
    said = cli("status", "--config", site)
    assert said.code == 1
    assert re.search(r"does not run: PackageError \(began .*\): planted@1.0.0: model.onnx is missing", said.everything)
    assert "Install it again." in said.everything
    catalog = Catalog(sqlite_url(site.parent / "state" / "catalog.sqlite"))
    assert [event.kind for event in rows(catalog, Event)] == ["role.ended"], "told once, however often it is tried"
    with catalog.read() as session:
        entries = attention(session, catalog.clock(), destinations=["pacs"], disks=Disks())
    (told,) = [entry for entry in entries if entry.kind.startswith("process.")]
    assert (told.kind, told.severity) == ("process.ended", "error")
    assert told.title == f"{name_of('worker')} does not run: PackageError"
    assert told.message == "planted@1.0.0: model.onnx is missing"
    catalog.close()


@pytest.mark.skipif("CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="CUDA may load here")
def test_a_worker_that_can_not_have_the_gpu_asked_for_refuses_to_start_and_status_says_why(
    cli: Cli, site: Path
) -> None:
    site.write_text(site.read_text("utf-8") + "workers: {device: cuda}\n", "utf-8")
    ended = cli("worker", "--config", site)
    assert ended.code == 2
    assert "ConfigError: workers.device: device 'cuda' was asked for" in ended.err
    said = cli("status", "--config", site).everything
    assert re.search(r"does not run: ConfigError \(began .*\): workers.device", said)


def test_a_worker_whose_queue_does_not_answer_is_told_as_hindered(cli: Cli, site: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens there
        site.write_text(
            site.read_text("utf-8") + f"queue: {{url: redis://127.0.0.1:{taken.getsockname()[1]}/0}}\n", "utf-8"
        )
        worker = open_worker(site)
        heartbeat, context = worker.heartbeat, worker.context
        with heartbeat:
            said = cli("status", "--config", site).everything
            with context.catalog.read() as session:
                entries = attention(session, context.catalog.clock(), destinations=["pacs"], disks=Disks())
        context.close()
    assert f"{heartbeat.name} hindered: PeerUnreachable: the queue does not answer" in said
    (told,) = [entry for entry in entries if entry.kind.startswith("process.")]
    assert (told.kind, told.severity) == ("process.hindered", "error")
    assert "Redis" in told.advice


def test_a_role_that_runs_again_is_no_more_told_as_ended(site: Path) -> None:
    context = Context.open(site)
    with pytest.raises(PackageError), telling_why("worker", site):
        raise PackageError("broken")
    with ProcessHeartbeat(context, "worker"), context.catalog.read() as session:
        (row,) = session.scalars(select(Process))
        assert processes.is_alive(row, context.catalog.clock())
    context.close()


def test_a_start_after_a_power_cut_leaves_no_roles_of_before_as_silent(site: Path) -> None:
    """They stood on the overview for a week, beside those that ran."""
    context = Context.open(site)
    kept = {"worker@elsewhere:1", f"{name_of('worker')}:{os.getpid()}"}
    ended = subprocess.Popen(["true"])
    ended.wait()
    with context.catalog.begin() as session:
        for name in (*kept, f"{name_of('worker')}:{ended.pid}"):
            processes.seen(session, name, "worker", context.catalog.clock() - timedelta(hours=1), {})
        processes.seen(session, f"{name_of('admin')}:{ended.pid}", "admin", context.catalog.clock(), {})
    with ProcessHeartbeat(context, "worker"):
        names = {row.name for row in rows(context.catalog, Process)}
    assert names == {*kept, f"{name_of('admin')}:{ended.pid}"}
    context.close()


def test_a_defect_that_ends_a_role_names_its_place_and_not_its_text(cli: Cli, site: Path) -> None:
    opened(site)
    with pytest.raises(KeyError), telling_why("delivery", site):
        raise KeyError("Doe^Jane")
    said = cli("status", "--config", site).everything
    assert re.search(r"InternalError \(began .*\): KeyError in ", said)
    assert "Doe" not in said


def test_a_role_that_was_killed_is_told_by_who_watches_it_and_is_not_looked_for_any_more(site: Path) -> None:
    context = Context.open(site)
    with context.catalog.begin() as session:
        processes.seen(session, name_of("worker") + ":77", "worker", context.catalog.clock(), {})
    name, killed = name_of("worker").replace("worker@", "worker 1@"), RoleLost("worker 1 was ended by SIGKILL")
    enter_end(context.config().catalog_url, "worker", name, killed, 77)
    (row,) = rows(context.catalog, Process)
    assert processes.why_ended(row) == {
        "code": "RoleLost",
        "message": "worker 1 was ended by SIGKILL",
        "advice": RoleLost.default_advice,
    }
    context.close()


def test_exit_codes_are_told_in_words() -> None:
    assert how_ended(-9) == "was ended by SIGKILL"
    assert how_ended(1) == "ended with code 1"
