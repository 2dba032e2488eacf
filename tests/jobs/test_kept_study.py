"""Jobs of one study, one after another in a process, read it once and ask the packages that they share once."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from pydicom import Dataset
from sqlalchemy import select

from explain.anatomy.planted_anatomy import anatomy_package
from peers import until
from site_under_test import ROUTE, Site, film
from whyray.base.errors import DecodeError, ImageError, ModelOutputError
from whyray.catalog import Instance, JobState, ResultRow, events, jobs
from whyray.imaging import Refusal
from whyray.inference import Model, load_package
from whyray.jobs import kept_study, result_storing
from whyray.jobs.kept_study import KeptStudy
from whyray.jobs.worker import JobContext, run_job

PACKAGES = ("planted@1", "second@1", "third@1")


class Process:
    """What a process of jobs has between jobs: loaded models, and the study that it keeps."""

    def __init__(self, site: Site) -> None:
        self.site, self.studies = site, KeptStudy(site.storage)
        self._loaded: dict[str, Model] = {}

    def model(self, reference: str) -> Model:
        folder = self.site.folder / "packages"
        if reference not in self._loaded:
            self._loaded[reference] = load_package(reference, search=[folder], load=self.model)
        return self._loaded[reference]

    def job_context(self, *, keeps: bool = True) -> JobContext:
        return replace(self.site.job_context(), model=self.model, studies=self.studies if keeps else None)


@pytest.fixture
def process(site: Site) -> Process:
    """Three packages with one anatomy beside them, each on every radiograph."""
    packages = site.folder / "packages"
    anatomy_package(packages)
    first = packages / "planted" / "1.0.0"
    manifest = yaml.safe_load((first / "model.yaml").read_text())
    for reference in PACKAGES:
        name = reference.split("@")[0]
        path = packages / name / "1.0.0"
        if path != first:
            shutil.copytree(first, path)
        (path / "model.yaml").write_text(
            yaml.safe_dump(manifest | {"name": name, "companions": {"anatomy": "planted-anatomy@1"}})
        )
    explain = ["grad-cam", "region-shares"]
    site.configure(
        routes=[{**ROUTE, "name": reference, "run": reference, "explain": explain} for reference in PACKAGES]
    )
    return Process(site)


def queued(site: Site, number: int = 1) -> list[str]:
    """Three jobs of one study."""
    before = {job.id for job in site.jobs()}
    site.receive([film(number, study=f"study {number}", series=f"series {number}")])
    site.router().step()
    return [job.id for job in site.jobs() if job.id not in before]


def done(job_id: str, job_context: JobContext) -> None:
    assert run_job(job_id, "worker-1", job_context) is JobState.DONE


def test_three_packages_of_a_study_decode_it_once_and_find_its_anatomy_once(process: Process) -> None:
    for job_id in queued(process.site):
        done(job_id, process.job_context())
    assert process.studies.reads == 1
    anatomy = process.model("planted-anatomy@1").session
    runs = kept_runs_of(process)
    assert runs.hits >= 2, "the second and the third took the anatomy of the first"
    assert anatomy.forwards > 0


def kept_runs_of(process: Process) -> kept_study.KeptRuns:
    study = process.studies._study
    assert study is not None
    return study.runs


def test_what_jobs_share_changes_no_byte_of_their_results(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    made: dict[str, bytes] = {}
    plain: Callable[[Dataset], bytes] = result_storing.encode

    def kept(dataset: Dataset) -> bytes:
        made[str(dataset.SOPInstanceUID)] = encoded = plain(dataset)
        return encoded

    monkeypatch.setattr(result_storing, "encode", kept)
    job_ids = queued(process.site)
    for job_id in job_ids:
        done(job_id, Process(process.site).job_context(keeps=False))
    alone, shared = dict(made), Process(process.site)
    made.clear()
    for job_id in job_ids:
        with process.site.catalog.begin() as session:
            jobs.retry(session, job_id, process.site.clock(), actor="admin")
        done(job_id, shared.job_context())
    assert shared.studies.reads == 1
    assert len(alone) > 9
    assert made == alone


def test_a_job_makes_the_same_in_a_process_that_has_done_it_before(process: Process) -> None:
    """What was measured once for a loaded model was the first job's cost, and so in its UIDs and no other's."""
    (job_id, *_) = queued(process.site)
    for _ in range(2):
        done(job_id, process.job_context(keeps=False))
        with process.site.catalog.begin() as session:
            jobs.retry(session, job_id, process.site.clock(), actor="admin")
    with process.site.catalog.read() as session:
        assert not events.recent(session, kind="job.results-replaced")
        assert not [row for row in session.scalars(select(ResultRow)) if row.superseded]


def test_a_study_is_kept_until_another_one_comes(process: Process) -> None:
    first, second = queued(process.site, 1), queued(process.site, 2)
    for job_id in (first[0], second[0], first[1], first[2]):
        done(job_id, process.job_context())
    assert process.studies.reads == 3


def test_a_study_that_got_more_instances_is_read_anew(process: Process) -> None:
    first, *_ = queued(process.site)
    done(first, process.job_context())
    process.site.receive([film(7, study="study 1", series="series 1")])
    process.site.clock.tick(3600)
    process.site.router().step()
    again = [job.id for job in process.site.jobs() if job.revision == 2]
    done(again[0], process.job_context())
    assert process.studies.reads == 2


def test_no_study_is_kept_where_memory_is_short(process: Process) -> None:
    process.studies.memory_left = lambda: 1 << 10
    for job_id in queued(process.site):
        done(job_id, process.job_context())
    assert process.studies.reads == 3
    assert process.studies._study is None


def test_a_study_is_not_kept_for_longer_than_jobs_of_it_may_come(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_study, "KEPT_FOR", 0.0)
    done(queued(process.site)[0], process.job_context())
    until(lambda: process.studies._study is None, what="the study's end")


def test_a_job_that_fails_leaves_nothing_of_its_study(process: Process) -> None:
    first, second, _ = queued(process.site)
    keys = _keys(process.site)
    with pytest.raises(ModelOutputError), process.studies.images(keys):
        raise ModelOutputError("it answered with NaN")
    assert process.studies._study is None
    done(first, process.job_context())
    done(second, process.job_context())
    assert process.studies.reads == 2


def test_what_a_job_makes_beside_an_image_ends_with_it(process: Process) -> None:
    queued(process.site)
    keys = _keys(process.site)
    with process.studies.images(keys) as study:
        (one,) = study.images
        assert one.room is one.room
    with process.studies.images(keys) as study:
        (other,) = study.images
    assert other.room is not one.room
    assert np.array_equal(np.asarray(other.modality), np.asarray(one.modality))


def test_a_study_that_can_not_be_read_is_not_kept(process: Process) -> None:
    stored = process.site.storage.put(b"no DICOM", suffix=".dcm")
    with pytest.raises(ImageError), process.studies.images([stored.key]) as study:
        study.or_raise()
    assert process.studies._study is None


def test_a_study_of_which_something_could_not_be_read_is_read_anew(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A decoder may have been ended for memory, or a share have been away: the next job may get all of it."""
    first, second, _ = queued(process.site)
    refused = Refusal((), DecodeError("the decoder was ended"))
    reading = kept_study.read_images
    with monkeypatch.context() as patched:
        patched.setattr(kept_study, "read_images", lambda *given: replace(reading(*given), refusals=(refused,)))
        done(first, process.job_context())
    assert process.studies._study is None
    done(second, process.job_context())
    assert process.studies.reads == 2


def test_whoever_asks_for_a_study_that_is_in_use_waits_for_it(process: Process) -> None:
    queued(process.site)
    keys = _keys(process.site)
    dropped = threading.Thread(target=process.studies.drop)
    with process.studies.images(keys) as study:
        dropped.start()
        (image,) = study.images
        assert np.asarray(image.modality).any(), "its files are open"
    dropped.join(30)
    assert process.studies._study is None


def _keys(site: Site) -> list[str]:
    with site.catalog.read() as session:
        return list(session.scalars(select(Instance.key)))


def test_a_run_that_somebody_has_changed_is_made_anew(tmp_path: Path) -> None:
    from planted import planted_package
    from whyray.inference import KeptRuns, keeping_runs

    session = load_package(planted_package(tmp_path)).session
    x = np.random.default_rng(0).random((1, 1, 64, 64), np.float32)
    alone, kept = session.run(x), KeptRuns()
    with keeping_runs(kept):
        session.run(x).logits[:] = 0
        assert np.array_equal(session.run(x).logits, alone.logits)
        assert kept.hits == 0
        before = session.forwards
        assert np.array_equal(session.run(x).logits, alone.logits)
        assert kept.hits == 1
        assert session.forwards == before + 1, "what an explanation costs hangs on no other job"
        session.run(x + 1)
    assert kept.hits == 1
