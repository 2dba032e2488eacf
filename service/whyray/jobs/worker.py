"""The work on one claimed job: read, answer, explain, store, enter as done."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from sqlalchemy.orm import Session

from whyray.base.errors import Cancelled, ImageError
from whyray.base.finding_record import FindingRecord, finding_records
from whyray.base.stages import StageObserver, Stages, measured_stages, stage, stages_in_words
from whyray.catalog import (
    Catalog,
    Instance,
    Job,
    JobState,
    NewResult,
    drift,
    events,
    installation,
    job_inputs,
    jobs,
    revisions,
)
from whyray.config import DEFAULT_KINDS, Config, ResultKind, Route
from whyray.imaging import SEGMENTATIONS, StudyImages, counted, other_object, passed_over, sop_class_of
from whyray.inference import Model
from whyray.jobs.answering import answer_images
from whyray.jobs.attempt import attempt, route_of
from whyray.jobs.device_turn import Device, HandedBack
from whyray.jobs.explanation_request import Progress, reading_progress
from whyray.jobs.kept_study import KeptStudy
from whyray.jobs.result_storing import ResultStore
from whyray.jobs.room_for_results import check_room
from whyray.jobs.route_request import request_of
from whyray.jobs.runs_before import Groups, RunsBefore, earlier_result, results_of_run, version_in_force
from whyray.results import (
    Answer,
    EarlierResult,
    Result,
    Templates,
    describe,
    describe_no_statement,
    grouped_results,
    shown_ahead,
)
from whyray.storage import Storage, Stored


@dataclass(frozen=True)
class JobContext:
    """What the work on a job takes from outside: the catalog, storage, settings, models, and the study read before."""

    catalog: Catalog
    storage: Storage
    config: Callable[[], Config]
    model: Callable[[str], Model]
    templates: Callable[[], Templates]
    rng: random.Random
    studies: KeptStudy | None = None
    """What keeps the study of a job for the next one; None: each job reads its own."""
    traced: Callable[[str], AbstractContextManager[StageObserver | None]] = lambda _: nullcontext()
    """What the work on a job, by its id, happens in: it may want to know of the stages."""


@dataclass(frozen=True)
class _Order:
    """A claimed job, read out of its session."""

    job: Job
    study_uid: str
    image_keys: tuple[str, ...]
    others: dict[str, str]
    """SOP Instance UIDs and kinds of the objects beside the images that are none."""
    segmentation_keys: tuple[str, ...]
    """Those of the study that somebody else sent: they may tell its anatomy."""
    previous: tuple[EarlierResult, ...]
    in_force: tuple[int, int] | None
    """Revision and run of the results that those of this revision replace."""
    before: RunsBefore
    device_uid: str


@dataclass(frozen=True)
class _Run:
    """One run of a job: what it is to do, with which package, by which settings."""

    context: JobContext
    config: Config
    order: _Order
    route: Route
    model: Model
    progress: Progress

    @property
    def kinds(self) -> Sequence[ResultKind]:
        return self.route.send.kinds if self.route.send else DEFAULT_KINDS

    @property
    def destinations(self) -> Sequence[str]:
        return () if self.route.send is None or self.route.dry_run else self.route.send.to


@dataclass(frozen=True)
class _Outcome:
    """What is entered of a job that is done; `replaced` are the SOP Instance UIDs of what gives way to its results."""

    answers: Sequence[Answer]
    stored: list[NewResult]
    replaced: tuple[str, ...]
    findings: list[dict[str, Any]]
    records: Sequence[FindingRecord]


def run_job(job_id: str, owner: str, context: JobContext) -> JobState | None:
    """As `attempt`, with the work in this process: for who can be ended himself."""
    return attempt(job_id, owner, context.catalog, context.config, context.rng, partial(work_on, context))


def work_on(context: JobContext, job_id: str, owner: str, progress: Progress, device: Device = nullcontext) -> None:
    """Answer, explain, store and enter as done what a claimed job asks for.

    It is read before the device is asked for, and its results are made and stored when the device is another job's.
    Raises whatever goes wrong.
    """
    with context.traced(job_id) as observer, measured_stages(observer=observer) as stages, ExitStack() as files:
        _work_on(context, job_id, owner, progress, device, files, stages)


def _work_on(
    context: JobContext, job_id: str, owner: str, progress: Progress, device: Device, files: ExitStack, stages: Stages
) -> None:
    """What is read stays open in `files`, for images give their pixels when asked for."""
    run = _begin(context, job_id, progress)
    study = _read(run, files)
    templates = context.templates()
    answers = _answer(run, study, templates, device, files)
    progress(0.92, "making the results")
    storing = files.enter_context(ResultStore(context.storage))
    outcome = _store(run, answers, templates, storing)
    progress(0.99, "entering the results")
    with stage("catalog"), context.catalog.begin() as session:
        storing.keep()  # whether a commit was made may be in doubt
        _enter_as_done(session, run, owner, outcome, stages)


def _begin(context: JobContext, job_id: str, progress: Progress) -> _Run:
    """What is to be done, where there is room for its results and anything to be answered about."""
    config = context.config()
    check_room(context.storage, config.listener.limits.min_free_disk)
    order = _order(job_id, context)
    run = _Run(context, config, order, route_of(config, order.job.route), context.model(order.job.package), progress)
    if not order.image_keys:
        raise ImageError(
            f"study {order.study_uid}: expected an image, found none in {len(order.others)} instances: "
            f"{counted(order.others.values())} ({_some(list(order.others))})"
        )
    return run


def _read(run: _Run, files: ExitStack) -> StudyImages:
    on_reading = reading_progress(run.progress)
    studies = run.context.studies
    if studies is None:
        studies = KeptStudy(run.context.storage)
        files.callback(studies.drop)
    with stage("reading"):
        return files.enter_context(studies.images(run.order.image_keys, on_reading))


def _answer(run: _Run, study: StudyImages, templates: Templates, device: Device, files: ExitStack) -> Sequence[Answer]:
    """What can't be used of the study is named once, whether there is an answer or none."""
    order, route = run.order, run.route
    name_refusals = cache(partial(_note_refusals, run.context.catalog, order, study))

    @contextmanager
    def device_then_refusals() -> Iterator[None]:
        with device():
            name_refusals()
            yield

    try:
        segmentations = [files.enter_context(run.context.storage.local_file(key)) for key in order.segmentation_keys]
        return answer_images(
            study.of_one_patient(segmentations).or_raise(),
            run.model,
            request_of(route, run.config.templates.folder),
            route=route.name,
            at=order.job.created_at,
            revision=order.job.revision,
            replaces=order.in_force,
            segmentations=segmentations,
            device_uid=order.device_uid,
            progress=lambda done, words: run.progress(0.9 * done, words),
            device=device_then_refusals,
            beside=shown_ahead(templates.layout, run.kinds, route.reader),
        )
    except (Cancelled, HandedBack):
        raise
    except Exception:
        name_refusals()
        raise


def _store(run: _Run, answers: Sequence[Answer], templates: Templates, storing: ResultStore) -> _Outcome:
    """Make the results, store them while others are made, and describe what was found."""
    is_first_run = not run.order.before.in_force  # of a later one the results may be made once more

    def make(answers: Sequence[Answer], replaced: Sequence[EarlierResult]) -> Groups:
        return list(
            grouped_results(
                answers,
                run.kinds,
                templates,
                language=run.route.language,
                uid_root=run.config.uid_root,
                previous=replaced,
                audience=run.route.reader,
                drawn=storing.begin,
                finished=storing.begin_result if is_first_run else lambda _: None,
            )
        )

    made, replaced = results_of_run(answers, run.order.previous, run.order.before, make)
    stored = _stored([result for _, results in made for result in results], run.destinations, storing)
    with stage("describing"):
        findings = [finding for group, results in made for answer in group for finding in describe(answer, results)]
        records = finding_records(findings, of=f"job {run.order.job.id}")
    return _Outcome(answers, stored, replaced, findings, records)


def _enter_as_done(session: Session, run: _Run, owner: str, outcome: _Outcome, stages: Stages) -> None:
    """Close the job, with its results, and say what else is to be known of it. Raises as `jobs.finish`."""
    job, study_uid, now = run.order.job, run.order.study_uid, run.context.catalog.clock()
    unanswered = [silent for answer in outcome.answers if (silent := describe_no_statement(answer)) is not None]
    unanswered = list({tuple(silent["images"]): silent for silent in unanswered}.values())  # a cine's frames: once
    jobs.finish(
        session,
        job.id,
        owner,
        outcome.stored,
        outcome.findings,
        now,
        no_statement=unanswered,
        replaced=outcome.replaced,
    )
    for silent in unanswered:
        words = f"instance {', '.join(silent['images'][:1])}: {silent['words']} ({', '.join(silent['reasons'])})"
        events.record(session, now, "warning", "job.no-statement", words, study=study_uid, job=job.id)
    words = f"done in {stages_in_words(stages.times())}"
    events.record(session, now, "info", "job.done", words, study=study_uid, job=job.id)
    drift.record_drift(session, drift.AnswerFacts(job.id, job.package, now, outcome.records))


def _note_refusals(catalog: Catalog, order: _Order, study: StudyImages) -> None:
    """What can't be used is named even where the rest of the study gives an answer; once, however often it is read."""
    beside = passed_over(order.others.values())
    if not (study.refusals or beside):
        return
    with catalog.begin() as session:
        named = {event.message for event in events.recent(session, limit=1000, job=order.job.id)}
        if beside and beside not in named:
            events.record(
                session, catalog.clock(), "info", "job.passed-over", beside, study=order.study_uid, job=order.job.id
            )
        for refusal in study.refusals:
            count = len(refusal.sop_instance_uids) or 1
            words = f"{count} instances not used: {refusal.error.code}: {refusal.error.message}"
            if words not in named:
                events.record(
                    session, catalog.clock(), "warning", "job.partial", words, study=order.study_uid, job=order.job.id
                )


def _order(job_id: str, context: JobContext) -> _Order:
    with context.catalog.read() as session:
        job = jobs.get(session, job_id)
        instances = [instance for group in job_inputs.instances(session, job).values() for instance in group]
        kinds = {instance.id: _other_object(instance, context.storage) for instance in instances}
        earlier = revisions.earlier_results(session, job)
        return _Order(
            job=job,
            study_uid=job.study.study_instance_uid,
            image_keys=tuple(instance.key for instance in instances if kinds[instance.id] is None),
            others={
                instance.sop_instance_uid: kind for instance in instances if (kind := kinds[instance.id]) is not None
            },
            segmentation_keys=tuple(segmentation.key for segmentation in job_inputs.segmentations(session, job)),
            previous=tuple(map(earlier_result, earlier)),
            in_force=version_in_force(earlier),
            before=RunsBefore.of(revisions.own_results(session, job)),
            device_uid=installation.device_uid(session),
        )


def _other_object(instance: Instance, storage: Storage) -> str | None:
    """What an instance is that holds no image of the patient; None for images."""
    if instance.sop_class_uid in SEGMENTATIONS or other_object(instance.sop_class_uid, has_size=False) is None:
        return "Segmentation" if instance.sop_class_uid in SEGMENTATIONS else None
    with storage.open(instance.key) as file:
        _, has_size = sop_class_of(file)
    return other_object(instance.sop_class_uid, has_size=has_size)


def _some(uids: Sequence[str], most: int = 3) -> str:
    """'instance 1.2.3', 'instances 1.2.3, 1.2.4, 1.2.5 and 4 more'."""
    more = len(uids) - most
    named = ", ".join(uids[:most]) + (f" and {more} more" if more > 0 else "")
    return f"instance{'' if len(uids) == 1 else 's'} {named}"


def _stored(results: Sequence[Result], destinations: Sequence[str], storing: ResultStore) -> list[NewResult]:
    """The results, durable in storage; pictures are encoded beside the data sets."""
    for result in results:
        if result.picture is not None:
            storing.begin(result.picture)
    begun = [storing.begin_result(result) for result in results]
    with stage("storing"):
        files = [file.result() for file in begun]
    return [_new_result(result, file, destinations, storing) for result, file in zip(results, files, strict=True)]


def _new_result(result: Result, stored: Stored, destinations: Sequence[str], storing: ResultStore) -> NewResult:
    picture_key, preview_key = storing.keys(result.picture)
    return NewResult(
        sop_instance_uid=str(result.dataset.SOPInstanceUID),
        sop_class_uid=str(result.dataset.SOPClassUID),
        series_instance_uid=str(result.dataset.SeriesInstanceUID),
        kind=result.kind,
        finding=result.finding,
        method=result.method,
        description=result.description,
        grade=None if result.grade is None else result.grade.value,
        key=stored.key,
        picture_key=picture_key,
        preview_key=preview_key,
        sha256=stored.sha256,
        destinations=tuple(destinations),
    )
