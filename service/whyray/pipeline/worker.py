"""One attempt at one job: claim, run, store, finish. What a Celery message calls."""

from __future__ import annotations

import errno
import io
import logging
import random
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from whyray.catalog import Catalog, Job, JobState, drift, events, jobs
from whyray.catalog.jobs import NewResult
from whyray.config import Config, Route
from whyray.errors import InternalError, NotFound, ResourceExhausted, WhyRayError
from whyray.imaging import StudyImages, read_images
from whyray.models import Model
from whyray.pipeline.backoff import retry_after
from whyray.pipeline.heartbeat import Heartbeat
from whyray.pipeline.run import answer_images
from whyray.pipeline.wish import Progress
from whyray.pipeline.wishes import wish_of
from whyray.results import (
    ALL_KINDS,
    Answer,
    EarlierResult,
    MapInSource,
    Result,
    Templates,
    Told,
    build_run_results,
    describe,
    encode,
)
from whyray.storage import Storage

_log = logging.getLogger("whyray.worker")


@dataclass(frozen=True)
class Tools:
    """What a worker works with; passed in, so that tests and the command line choose."""

    catalog: Catalog
    storage: Storage
    config: Callable[[], Config]
    model: Callable[[str], Model]
    templates: Callable[[], Templates]
    rng: random.Random


@dataclass(frozen=True)
class _Order:
    """A claimed job, read out of its session."""

    job: Job
    study_uid: str
    paths: tuple[Path, ...]
    segmentations: tuple[Path, ...]
    """Those of the study that somebody else sent: they may tell its anatomy."""
    previous: tuple[EarlierResult, ...]


def run_job(job_id: str, owner: str, tools: Tools) -> JobState | None:
    """Make one attempt, if the job is there to be claimed; says the state reached, None if there was nothing to do.

    Never raises for what went wrong with the job: that is in the catalog.
    """
    catalog, config = tools.catalog, tools.config()
    with catalog.begin() as session:
        job = jobs.claim(session, job_id, owner, catalog.clock(), most_attempts=config.workers.retry.attempts)
    if job is None:
        return None
    _log.info("job %s: attempt %d, route %s, package %s", job_id, job.attempt, job.route, job.package)
    try:
        route = _route(config, job.route)
        with Heartbeat(catalog, job_id, owner, limit=route.budget.job_time.total_seconds()) as heartbeat:
            _work(job_id, owner, tools, config, route, heartbeat.progress)
    except WhyRayError as error:
        return _stop(tools, job, owner, error)
    except MemoryError:
        return _stop(tools, job, owner, ResourceExhausted(f"job {job_id}: not enough memory"))
    except OSError as error:
        return _stop(tools, job, owner, _of_os_error(job_id, error))
    except Exception as error:  # the queue must go on, and the catalog must say why this job did not
        # the exception's own text may quote the data set: only where it happened is kept
        where = traceback.extract_tb(error.__traceback__)[-1]
        _log.error("job %s: %s at %s:%s", job_id, type(error).__name__, where.filename, where.lineno)
        reason = f"job {job_id}: {type(error).__name__} in {Path(where.filename).name} line {where.lineno}"
        return _stop(tools, job, owner, InternalError(reason))
    _log.info("job %s: done", job_id)
    return JobState.DONE


def _of_os_error(job_id: str, error: OSError) -> WhyRayError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EMFILE, errno.EIO):
        return ResourceExhausted(f"job {job_id}: {errno.errorcode[error.errno]}")
    return InternalError(f"job {job_id}: {type(error).__name__} {errno.errorcode.get(error.errno or 0, '')}")


def _stop(tools: Tools, job: Job, owner: str, error: WhyRayError) -> JobState:
    wait = retry_after(error, job.attempt, tools.config().workers.retry, tools.rng)
    with tools.catalog.begin() as session:
        state = jobs.stop(session, job.id, owner, error, tools.catalog.clock(), retry_after=wait)
    _log.warning("job %s: %s: %s: %s", job.id, state.value, error.code, error.message)
    return state


def _work(job_id: str, owner: str, tools: Tools, config: Config, route: Route, progress: Progress) -> None:
    order = _order(job_id, tools)
    model = tools.model(order.job.package)
    progress(0.0, "reading the images")
    found = read_images(order.paths)
    _note_refusals(tools.catalog, order, found)
    answers = answer_images(
        found.or_raise(),
        model,
        wish_of(route, config.templates.folder),
        route=route.name,
        at=order.job.created_at,
        revision=order.job.revision,
        segmentations=order.segmentations,
        supersedes=[each.sop_instance_uid for each in order.previous],
        progress=lambda done, words: progress(0.9 * done, words),
    )
    progress(0.92, "making the results")
    templates = tools.templates()
    results = build_run_results(
        answers,
        route.send.kinds if route.send else ALL_KINDS,
        templates,
        language=route.language,
        uid_root=config.uid_root,
        previous=order.previous,
    )
    destinations = () if route.send is None or route.dry_run else route.send.to
    stored = [_store(each, answers, tools.storage, destinations) for each in results]
    progress(0.99, "entering the results")
    with tools.catalog.begin() as session:
        findings = [finding for answer in answers for finding in describe(answer)]
        now = tools.catalog.clock()
        jobs.finish(session, job_id, owner, stored, findings, now)
        drift.record_drift(session, drift.AnswerFacts(job_id, order.job.package, now, findings))


def _note_refusals(catalog: Catalog, order: _Order, found: StudyImages) -> None:
    """What can't be used is named even where the rest of the study gives an answer."""
    if not found.refusals or order.job.attempt > 1:
        return
    with catalog.begin() as session:
        for each in found.refusals:
            words = f"{len(each.sop_instance_uids) or 1} instances not used: {each.error.code}: {each.error.message}"
            events.record(
                session, catalog.clock(), "warning", "job.partial", words, study=order.study_uid, job=order.job.id
            )


def _order(job_id: str, tools: Tools) -> _Order:
    with tools.catalog.read() as session:
        job = jobs.get(session, job_id)
        instances = [each for group in jobs.inputs(session, job).values() for each in group]
        return _Order(
            job=job,
            study_uid=job.study.study_instance_uid,
            paths=tuple(tools.storage.path(each.key) for each in instances),
            segmentations=tuple(tools.storage.path(each.key) for each in jobs.segmentations(session, job)),
            previous=tuple(
                EarlierResult(each.sop_class_uid, each.sop_instance_uid, each.series_instance_uid)
                for each in jobs.earlier_results(session, job)
            ),
        )


def _route(config: Config, name: str) -> Route:
    for route in config.routes:
        if route.name == name:
            return route
    raise NotFound(
        f"the configuration has no route {name!r} any more",
        advice="Put the route back and retry the job, or leave it: the study is routed anew when it comes again.",
    )


def _store(result: Result, answers: Sequence[Answer], storage: Storage, destinations: Sequence[str]) -> NewResult:
    stored = storage.put(encode(result.dataset), suffix=".dcm")
    picture_key = None
    if result.picture is not None:
        picture = io.BytesIO()
        Image.fromarray(result.picture).save(picture, "PNG")
        picture_key = storage.put(picture.getvalue(), suffix=".png").key
    return NewResult(
        sop_instance_uid=str(result.dataset.SOPInstanceUID),
        sop_class_uid=str(result.dataset.SOPClassUID),
        series_instance_uid=str(result.dataset.SeriesInstanceUID),
        kind=result.kind,
        finding=result.finding,
        method=result.method,
        description=result.description,
        grade=result.grade or _grade(result, answers),
        key=stored.key,
        picture_key=picture_key,
        sha256=stored.sha256,
        destinations=tuple(destinations),
    )


def _grade(result: Result, answers: Sequence[Answer]) -> str | None:
    for answer in answers:
        for finding in answer.findings:
            graded: list[MapInSource | Told] = [*finding.maps, *finding.told]
            for each in graded:
                if finding.target.name == result.finding and each.method == result.method:
                    return each.card.grade.value
    return None
