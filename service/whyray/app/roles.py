"""What each role's process runs, wired from one configuration file."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from whyray.app.compare_contents import ContentComparer
from whyray.app.context import Context, ProcessHeartbeat
from whyray.app.ended_role import ROLE_OF_SUPERVISOR
from whyray.app.expected_counts import ExpectedCounts, by_threads
from whyray.app.first_start import first_start_words
from whyray.app.retention import Retention
from whyray.app.route_studies import StudyRouter
from whyray.app.schedule import Schedule
from whyray.app.standard_output import say
from whyray.catalog import studies
from whyray.config import Config, DicomDestination, Route
from whyray.jobs.queue import backlog, celery_app, send
from whyray.jobs.room_for_results import check_room

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from whyray.worklist import Keep, OwnWorklist, Performer
    from whyray.worklist.web import Admit

_log = logging.getLogger("whyray.roles")
_QUESTIONS_AT_A_TIME = 4
"""To PACS about how much there is of a study; a silent one keeps a question for seconds."""


def run_intake(path: Path, stop: threading.Event) -> None:
    """Listen, and run the schedule, until told to stop."""
    from whyray.app.receiving import receiving_tools, start_receiving_process
    from whyray.intake import start_listener
    from whyray.worklist import OwnWorklist

    context = Context.open(path, check_apart=True)

    def web_routes(admit: Admit) -> Sequence[BaseRoute]:
        from whyray.worklist.web import worklist_routes

        return worklist_routes(own, admit, lambda: _has_worklist(context.config()))

    own = OwnWorklist(context.catalog, context.storage)
    schedule = schedule_of(context)
    listener = start_listener(
        context.config().listener,
        context.catalog,
        context.storage,
        **receiving_tools(context),
        web_routes=web_routes,
        on_release=schedule.stir,
        start_process=partial(start_receiving_process, path, context.config()),
    )
    try:
        with ProcessHeartbeat(
            context,
            "intake",
            obey=lambda config: listener.update(config.listener),
            detail=lambda: {
                "ae_title": context.config().listener.ae_title,
                "port": listener.port,
                "tls_port": listener.tls_port,
                "dicomweb_port": listener.dicomweb_port,
            },
        ) as heartbeat:
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


def schedule_of(context: Context) -> Schedule:
    """The schedule of this installation."""
    app = cache(partial(celery_app, context.redis_url))  # not before there is a first message to send
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
        send=lambda job_id, priority: send(app(), job_id, priority),
        backlog=lambda: backlog(context.redis_url),
        check_storage=lambda: check_room(context.storage, context.config().listener.limits.min_free_disk),
        compare=ContentComparer(context.catalog, context.config, context.storage.open).step,
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


def run_delivery(path: Path, stop: threading.Event) -> None:
    """Send results, and the audit trail, until told to stop."""
    from whyray.app.tracing import Traces
    from whyray.audit import AuditSender
    from whyray.compression import CompressionProcess
    from whyray.delivery import Caller, DeliveryService
    from whyray.jobs.result_notices import listen_for_results

    context = Context.open(path, check_apart=True)

    def caller(config: Config) -> Caller:
        return Caller(config.listener.ae_title)

    config = context.config()
    compression = CompressionProcess()
    traces = None if config.tracing.endpoint is None else Traces(config, "delivery")
    service = DeliveryService(
        context.catalog,
        context.storage,
        config.destinations,
        caller=caller(config),
        compression=compression,
        observer=None if traces is None else traces.delivered,
    )
    try:
        with ProcessHeartbeat(context, "delivery", obey=lambda new: service.reload(new.destinations, caller(new))):
            sender = AuditSender(context.catalog, context.config)
            auditing = threading.Thread(target=sender.run, args=[stop], name="whyray-audit")
            auditing.start()
            threading.Thread(
                target=listen_for_results,
                args=[context.redis_url, service.look_now, stop],
                name="whyray-result-notices",
                daemon=True,
            ).start()
            try:
                service.run(stop)
            finally:
                stop.set()
                auditing.join()
    finally:
        compression.close()
        if traces is not None:
            traces.close()
        context.close()


def run_admin(path: Path, stop: threading.Event) -> None:
    """Serve the admin API and page until told to stop."""
    from whyray.admin import actions_of, create_app, serve_admin

    context = Context.open(path, check_apart=True)
    if ROLE_OF_SUPERVISOR not in os.environ and (words := first_start_words(context)) is not None:
        say(words)  # not for the log: it may hold a link
    settings = context.config().admin
    actions = actions_of(context.config, known=lambda uid: studies.is_own(context.catalog, uid))
    app = create_app(context.catalog, context.storage, context.config, actions=actions)
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
