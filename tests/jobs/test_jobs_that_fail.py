"""What ends a job, what it waits for, and what it then says: of a model, an image, a disk, the database, a defect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
from sqlalchemy.exc import OperationalError

from jobs.test_worker import queued, rows
from planted import planted_package
from site_under_test import Site, film
from whyray.base.disk_space import DiskSpace
from whyray.base.errors import Cancelled, LeaseLost, StorageUnavailable
from whyray.catalog import JobState, ResultRow, jobs
from whyray.jobs import kept_study, result_storing, worker
from whyray.jobs.room_for_results import LEAST_ROOM
from whyray.jobs.worker import run_job


def test_a_job_that_kills_its_workers_ends_in_the_dead_letter(site: Site) -> None:
    job_id = queued(site)
    for attempt in range(5):
        with site.catalog.begin() as session:
            assert jobs.claim(session, job_id, f"worker-{attempt}", site.clock()) is not None
        site.clock.tick(jobs.LEASE.total_seconds())
    assert run_job(job_id, "worker-9", site.job_context()) is None
    (job,) = site.jobs()
    assert (job.state, job.error_code) == (JobState.FAILED, "WorkerLost")


def test_a_model_that_answers_with_nan_fails_the_job_by_name_and_is_not_tried_again(site: Site) -> None:
    planted_package(site.folder / "packages", shape=(48, 48), broken="nan")
    job_id = queued(site)
    assert run_job(job_id, "worker-1", site.job_context()) is JobState.FAILED
    (job,) = site.jobs()
    assert job.error_code == "ModelOutputError"
    assert job.error_advice
    assert not rows(site, ResultRow)


def test_an_onnx_file_that_does_not_load_fails_the_job_by_name(site: Site) -> None:
    job_id = queued(site)
    (site.folder / "packages" / "planted" / "1.0.0" / "model.onnx").write_bytes(b"not a graph")
    assert run_job(job_id, "worker-1", site.job_context()) is JobState.FAILED
    assert site.jobs()[0].error_code == "PackageError"


def test_a_graph_that_ends_in_the_activation_of_its_manifest_fails_the_job_by_name(site: Site) -> None:
    job_id = queued(site)
    path = site.folder / "packages" / "planted" / "1.0.0" / "model.onnx"
    proto = onnx.load(path)
    name = proto.graph.output[0].name
    (last,) = (node for node in proto.graph.node if name in node.output)
    last.output[list(last.output).index(name)] = "before"
    proto.graph.node.append(onnx.helper.make_node("Sigmoid", ["before"], [name]))
    onnx.save(proto, path)
    assert run_job(job_id, "worker-1", site.job_context()) is JobState.FAILED
    (job,) = site.jobs()
    assert job.error_code == "PackageError"
    assert "already ends in sigmoid" in str(job.error_message)
    assert "output.activation to none" in str(job.error_advice)
    assert not rows(site, ResultRow)


def test_a_truncated_image_fails_the_job_by_name(site: Site) -> None:
    image = film(1)
    image.PixelData = image.PixelData[:1000]
    site.receive([image])
    site.router().step()
    assert run_job(site.jobs()[0].id, "worker-1", site.job_context()) is JobState.FAILED
    assert site.jobs()[0].error_code == "DecodeError"


def test_a_full_disk_is_tried_again_later_and_succeeds_then(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = queued(site)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(result_storing, "encode", full)
        assert run_job(job_id, "worker-1", site.job_context()) is JobState.WAITING
    assert site.jobs()[0].error_code == "ResourceExhausted"
    site.clock.tick(3600)
    with site.catalog.begin() as session:
        assert jobs.wake(session, site.clock()) == 1
    assert run_job(job_id, "worker-1", site.job_context()) is JobState.DONE
    assert site.jobs()[0].error_code is None


def test_a_storage_that_is_full_or_away_is_waited_out_by_a_job_for_as_long_as_it_lasts(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All jobs meet it: five attempts were over within minutes, and a full disk of a night failed a night's jobs."""
    job_id = queued(site)
    room = site.storage.root.with_name("elsewhere")
    site.storage.root.rename(room)
    site.storage.root.mkdir()
    for _ in range(site.config.workers.retry.attempts + 3):
        assert run_job(job_id, "worker-1", site.job_context()) is JobState.WAITING
        (job,) = site.jobs()
        assert (job.error_code, job.attempt) == ("StorageUnavailable", 0)
        assert str(job.error_advice).endswith("WhyRay tries again by itself.")
        site.clock.tick(3600)
        with site.catalog.begin() as session:
            assert jobs.wake(session, site.clock()) == 1
    site.storage.root.rmdir()
    room.rename(site.storage.root)
    with monkeypatch.context() as patched:
        patched.setattr(type(site.storage), "put", _full)
        assert run_job(job_id, "worker-1", site.job_context()) is JobState.WAITING
    assert (site.jobs()[0].error_code, site.jobs()[0].attempt) == ("StorageUnavailable", 0)
    site.clock.tick(3600)
    with site.catalog.begin() as session:
        jobs.wake(session, site.clock())
    assert run_job(job_id, "worker-1", site.job_context()) is JobState.DONE
    assert site.jobs()[0].attempt == 1


@pytest.mark.parametrize(
    ("space", "limit"),
    [
        (DiskSpace(LEAST_ROOM - 1, None), "2GiB"),
        (DiskSpace(1 << 40, 0), "2GiB"),
        (DiskSpace(0, None), "0B"),
        (DiskSpace(1 << 20, None), "2MiB"),
    ],
    ids=["nearly full", "no inode", "full", "less than an administrator wants"],
)
def test_a_job_whose_results_would_have_no_room_computes_nothing_until_there_is_some(
    site: Site, monkeypatch: pytest.MonkeyPatch, space: DiskSpace, limit: str
) -> None:
    """It answered and explained in full each time, and threw it away."""
    site.configure(listener={"limits": {"min_free_disk": limit}})
    job_id = queued(site)
    with monkeypatch.context() as patched:
        patched.setattr(type(site.storage), "disk_space", lambda _: space)
        patched.setattr(worker, "answer_images", lambda *_, **__: pytest.fail("it computed"))
        assert run_job(job_id, "worker-1", site.job_context()) is JobState.WAITING
    (job,) = site.jobs()
    assert (job.error_code, job.attempt, job.outages) == ("StorageUnavailable", 0, 1)
    site.clock.tick(3600)
    with site.catalog.begin() as session:
        assert jobs.wake(session, site.clock()) == 1
    assert run_job(job_id, "worker-1", site.job_context()) is JobState.DONE


@pytest.mark.parametrize(
    ("space", "limit"),
    [(DiskSpace(LEAST_ROOM, None), "2GiB"), (DiskSpace(1, None), "0B")],
    ids=["reserve", "to the last"],
)
def test_what_was_acknowledged_is_worked_on_where_senders_are_refused_already(
    site: Site, monkeypatch: pytest.MonkeyPatch, space: DiskSpace, limit: str
) -> None:
    """Else nothing would ever be done again: what waits to be worked on is never removed to make room."""
    site.configure(listener={"limits": {"min_free_disk": limit}})
    job_id = queued(site)
    monkeypatch.setattr(type(site.storage), "disk_space", lambda _: space)
    assert run_job(job_id, "worker-1", site.job_context()) is JobState.DONE


def _full(*_: object, **__: object) -> None:
    raise StorageUnavailable("storage at /data is full")


def test_a_defect_fails_the_job_without_its_text_since_that_may_quote_the_patient(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    job_id = queued(site)

    def defect(*_: object, **__: object) -> None:
        raise KeyError("Doe^Jane")

    monkeypatch.setattr(kept_study, "read_images", defect)
    assert run_job(job_id, "worker-1", site.job_context()) is JobState.FAILED
    (job,) = site.jobs()
    assert job.error_code == "InternalError"
    assert "Doe" not in (job.error_message or "") + caplog.text


def test_a_defect_while_a_result_is_made_names_the_result_and_the_place_in_whyray(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    from whyray.results import build

    def defect(*_: object, **__: object) -> None:
        raise KeyError("Doe^Jane")

    job_id = queued(site)
    monkeypatch.setattr(build, "parametric_map", defect)
    assert run_job(job_id, "worker-1", site.job_context()) is JobState.FAILED
    (job,) = site.jobs()
    assert job.error_code == "InternalError"
    assert "KeyError in results/build.py line " in (job.error_message or "")
    assert "while making the Parametric Map of " in (job.error_message or "")


def test_a_lost_database_is_waited_for_and_the_job_is_done_then(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = queued(site)

    def lost(*_: object, **__: object) -> None:
        raise OperationalError("INSERT", {}, RuntimeError("server closed the connection unexpectedly"))

    with monkeypatch.context() as patched:
        patched.setattr(worker.jobs, "finish", lost)
        assert run_job(job_id, "worker-1", site.job_context()) is JobState.WAITING
    (job,) = site.jobs()
    assert job.error_code == "PeerUnreachable"
    assert (job.error_advice or "").endswith("WhyRay tries again by itself.")
    site.clock.tick(3600)
    with site.catalog.begin() as session:
        jobs.wake(session, site.clock())
    assert run_job(job_id, "worker-1", site.job_context()) is JobState.DONE


@pytest.mark.parametrize("error", [ValueError("a defect"), Cancelled("by an administrator"), LeaseLost("another's")])
def test_a_job_that_goes_wrong_after_its_results_were_stored_leaves_none_of_their_files(
    site: Site, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """They are stored while others are made; each attempt left a set of them."""
    job_id = queued(site)
    before = _stored_files(site)
    seen: list[int] = []

    def fails(*_: object, **__: object) -> None:
        seen.append(len(_stored_files(site)))
        raise error

    monkeypatch.setattr(worker, "finding_records", fails)
    assert run_job(job_id, "worker-1", site.job_context()) is not JobState.DONE
    assert seen[0] > len(before), "they had been stored"
    assert _stored_files(site) == before


def test_the_files_of_a_job_that_may_have_been_entered_as_done_stay(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = queued(site)
    before, finish = _stored_files(site), worker.jobs.finish

    def in_doubt(*order: Any, **options: Any) -> None:
        finish(*order, **options)
        raise OperationalError("", None, Exception("the connection was lost"))

    monkeypatch.setattr(worker.jobs, "finish", in_doubt)
    assert run_job(job_id, "worker-1", site.job_context()) is JobState.WAITING
    assert len(_stored_files(site)) > len(before)


def _stored_files(site: Site) -> set[Path]:
    return {path for path in site.storage.root.rglob("*") if path.is_file()}
