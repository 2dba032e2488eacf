"""What each role's process runs, wired from one configuration file."""

from __future__ import annotations

import logging
import os
import random
import sys
import threading
import warnings
from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING

from celery import Celery
from pydicom import Dataset

from whyray.app.context import Context, ProcessHeartbeat
from whyray.app.ended_role import ROLE_OF_SUPERVISOR
from whyray.app.expected_counts import ExpectedCounts, by_threads
from whyray.app.first_start import first_start_words
from whyray.app.retention import Retention
from whyray.app.route_studies import StudyRouter
from whyray.app.schedule import Schedule
from whyray.base.errors import ConfigError, PackageError
from whyray.catalog import studies
from whyray.config import Config, DicomDestination, Route
from whyray.jobs.queue import RUN_JOB, backlog, celery_app, queue_hindrance, send

if TYPE_CHECKING:
    from whyray.worklist import Keep, OwnWorklist, Performer

_log = logging.getLogger("whyray.roles")
_QUESTIONS_AT_A_TIME = 4
"""To PACS about how much there is of a study; a silent one keeps a question for seconds."""


def run_intake(path: Path, stop: threading.Event) -> None:
    """Listen, and run the schedule, until told to stop."""
    from whyray.delivery import commitment_handlers
    from whyray.intake import start_listener
    from whyray.routing import is_own_result
    from whyray.worklist import OwnWorklist, worklist_routes

    context = Context.open(path)

    def is_own(header: Dataset) -> bool:
        return is_own_result(header, context.config().uid_root, lambda uid: _known(context, uid)) is not None

    own = OwnWorklist(context.catalog, context.storage)
    listener = start_listener(
        context.config().listener,
        context.catalog,
        context.storage,
        is_own=is_own,
        report_to=lambda ae_title: report_address(context.config(), ae_title),
        handlers=commitment_handlers(context.catalog),
        web_routes=lambda admit: worklist_routes(own, admit, lambda: _has_worklist(context.config())),
    )
    schedule = schedule_of(context)
    try:
        with ProcessHeartbeat(
            context, "intake", on_reload=lambda config: listener.update(config.listener)
        ) as heartbeat:
            ports = {"port": listener.port, "tls_port": listener.tls_port, "dicomweb_port": listener.dicomweb_port}
            heartbeat.note(ae_title=context.config().listener.ae_title, **ports)
            if listener.port is not None:
                _log.info("listening as %s on port %d", context.config().listener.ae_title, listener.port)
            if listener.tls_port is not None:
                _log.info("listening by TLS on port %d", listener.tls_port)
            if listener.dicomweb_port is not None:
                _log.info("listening for STOW-RS on port %d", listener.dicomweb_port)
            performer = performer_of(context, own, listener.fetched, heartbeat.name)
            # fetching a study takes long: routing must not wait for it
            working = threading.Thread(target=performer.run, args=[stop], name="whyray-performer")
            working.start()
            try:
                schedule.run(stop)
            finally:
                stop.set()
                working.join()
    finally:
        listener.stop()
        context.close()


def _has_worklist(config: Config) -> bool:
    return config.listener.dicomweb is not None and config.listener.dicomweb.worklist is not None


def performer_of(context: Context, own: OwnWorklist, keep: Keep, owner: str) -> Performer:
    """What performs the workitems of this installation's worklists."""
    from whyray.app.orders import OrderedJobs, sources_of
    from whyray.base.sources import random_uid
    from whyray.worklist import Performer

    make_jobs = OrderedJobs(
        context.catalog, context.config, context.read_header, lambda reference: _resolve(context, reference)
    )
    return Performer(
        catalog=context.catalog,
        storage=context.storage,
        config=context.config,
        sources=lambda: sources_of(context.config(), own),
        keep=keep,
        make_jobs=make_jobs,
        owner=owner,
        uid_source=random_uid,
    )


def report_address(config: Config, ae_title: str) -> tuple[str, int] | None:
    """Host and port at which this AE takes reports of storage commitment; None if the configuration does not say."""
    peer = config.listener.peers.get(ae_title)
    if peer is not None and peer.port is not None:
        return peer.address[0], peer.port
    for destination in config.destinations.values():
        if isinstance(destination, DicomDestination) and destination.ae_title == ae_title:
            return destination.host, destination.port
    return None


def _known(context: Context, sop_instance_uid: str) -> bool:
    with context.catalog.read() as session:
        return studies.is_own(session, sop_instance_uid)


def schedule_of(context: Context) -> Schedule:
    """The schedule of this installation."""
    app = celery_app(context.redis_url)
    router = StudyRouter(
        catalog=context.catalog,
        config=context.config,
        read_header=context.read_header,
        resolve_package=lambda reference: _resolve(context, reference),
        expected=ExpectedCounts(_ask_expected, by_threads(_QUESTIONS_AT_A_TIME)),
    )
    return Schedule(
        catalog=context.catalog,
        router=router,
        retention=Retention(context.catalog, context.storage, context.config),
        send=lambda job_id, priority: send(app, job_id, priority),
        backlog=lambda: backlog(context.redis_url),
    )


def _resolve(context: Context, reference: str) -> str:
    from whyray.packages import find_package

    folder = find_package(reference, context.config().packages.folders)
    return f"{folder.parent.name}@{folder.name}"


def _ask_expected(config: Config, route: Route, study_uid: str, series_uids: Sequence[str]) -> int | None:
    from whyray.intake.expected import Peer, expected_instances

    expect = route.complete.expect
    if expect is None:
        return None
    destination = config.destinations[expect.source]
    assert isinstance(destination, DicomDestination)  # the configuration refuses any other
    peer = Peer(
        calling_ae=destination.calling_ae_title or config.listener.ae_title,
        ae_title=destination.ae_title,
        host=destination.host,
        port=destination.port,
        tls=destination.tls,
    )
    return expected_instances(peer, study_uid, expect.level, tuple(series_uids))


def worker_app(path: Path) -> tuple[Celery, ProcessHeartbeat, Context]:
    """The Celery app whose task runs one job, with what it needs kept between jobs."""
    from whyray.inference import Model, RuntimeOptions, load_package
    from whyray.jobs.worker import Tools, run_job
    from whyray.results import Templates, load_templates

    context = Context.open(path)
    workers = context.config().workers
    options = RuntimeOptions(
        device=workers.device,
        intra_op_threads=workers.threads,
        artefacts=(context.config().artefact_folder,),
        cache=context.config().state / "compiled",
    )
    heartbeat = ProcessHeartbeat(context, "worker", hindrance=lambda: queue_hindrance(context.redis_url))
    loaded: dict[str, Model] = {}

    def model(package: str) -> Model:
        current = load_package(package, search=context.config().packages.folders, options=options)
        kept = loaded.get(package)
        if kept is None or kept.package.digest != current.package.digest:
            loaded[package] = kept = current
        return kept

    @lru_cache(maxsize=2)
    def templates_in(folder: Path | None) -> Templates:
        return load_templates(folder)

    tools = Tools(
        catalog=context.catalog,
        storage=context.storage,
        config=context.config,
        model=model,
        templates=lambda: templates_in(context.config().templates.folder),
        rng=random.Random(),
    )
    app = celery_app(context.redis_url)

    @app.task(name=RUN_JOB)  # type: ignore[untyped-decorator]  # celery has no types
    def run(job_id: str) -> None:
        run_job(job_id, heartbeat.name, tools)

    return app, heartbeat, context


def refuse_two_runtimes(path: Sequence[str] | None = None) -> None:
    """Refuse an installation that holds ONNX Runtime twice: the CPU one would win without a word.

    Raises
    ------
    ConfigError
        If both distributions are installed on `path` (sys.path by default).
    """
    places = list(sys.path if path is None else path)
    names = {str(distribution.metadata["Name"]).lower() for distribution in distributions(path=places)}
    if {"onnxruntime", "onnxruntime-gpu"} <= names:
        raise ConfigError(
            "onnxruntime and onnxruntime-gpu are both installed, so the GPU would not be used",
            advice="pip uninstall --yes onnxruntime onnxruntime-gpu, then install one: '.[cpu]' or '.[gpu]'.",
        )


def refuse_missing_gpu(device: str) -> None:
    """Refuse to work slowly, without a word, where CUDA was asked for and does not load.

    Raises
    ------
    ConfigError
        If `device` is 'cuda' and ONNX Runtime can't use it.
    """
    if device != "cuda":
        return
    from onnx import TensorProto, helper

    from whyray.inference import RuntimeOptions, open_session

    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "probe", value[:1], value[1:])
    probe = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    try:
        open_session(probe.SerializeToString(), RuntimeOptions(device="cuda"), name="workers.device")
    except PackageError as error:
        raise ConfigError(error.message, advice=error.advice) from error


def run_worker(path: Path) -> None:
    """Take jobs from the queue, one at a time, until told to stop.

    The pool is `solo`: sessions of ONNX Runtime and torch don't survive a fork, and a worker has one GPU. The Celery
    worker handles SIGTERM itself: it ends the job in hand, then stops.
    """
    refuse_two_runtimes()
    import onnxruntime

    # Celery warns root of pickled messages, which run what they hold; ours are JSON and name a job
    warnings.filterwarnings("ignore", message="You're running the worker with superuser privileges")
    app, heartbeat, context = worker_app(path)
    providers = ", ".join(onnxruntime.get_available_providers())
    _log.info("ONNX Runtime %s with %s", onnxruntime.__version__, providers)
    try:
        refuse_missing_gpu(context.config().workers.device)
        with heartbeat:
            heartbeat.note(providers=providers, device=context.config().workers.device)
            options = ("--pool=solo", "--without-gossip", "--without-mingle", "--without-heartbeat")
            app.worker_main(["--quiet", "worker", *options, f"--hostname={heartbeat.name}", "--loglevel=INFO"])
    finally:
        context.close()


def run_delivery(path: Path, stop: threading.Event) -> None:
    """Send results until told to stop."""
    from whyray.delivery import Caller, DeliveryService
    from whyray.jobs.page_compression import PageCompression

    context = Context.open(path)

    def caller(config: Config) -> Caller:
        return Caller(config.listener.ae_title)

    config = context.config()
    service = DeliveryService(
        context.catalog, context.storage, config.destinations, caller=caller(config), compression=PageCompression()
    )
    try:
        with ProcessHeartbeat(context, "delivery", on_reload=lambda new: service.reload(new.destinations, caller(new))):
            service.run(stop)
    finally:
        context.close()


def run_admin(path: Path, stop: threading.Event) -> None:
    """Serve the admin API and page until told to stop."""
    from whyray.admin import create_app, serve_admin, tools_of

    context = Context.open(path)
    if ROLE_OF_SUPERVISOR not in os.environ and (words := first_start_words(context)) is not None:
        print(words, flush=True)  # noqa: T201 - not for the log: it may hold a link
    settings = context.config().admin
    tools = tools_of(context.config, known=lambda uid: _known(context, uid))
    app = create_app(context.catalog, context.storage, context.config, tools=tools)
    tls = None if settings.tls is None else settings.tls.context()
    server = serve_admin(app, settings.address, settings.port, tls=tls, proxies=settings.proxies)
    try:
        with ProcessHeartbeat(context, "admin") as heartbeat:
            heartbeat.note(url=server.url)
            _log.info("admin page on %s", server.url)
            while server.alive and not stop.wait(0.5):
                pass
    finally:
        server.stop()
        context.close()
