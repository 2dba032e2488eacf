"""A collector of OpenTelemetry gets one trace a job: the work with its stages, and each result's delivery."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import UUID

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from sqlalchemy import select

from peers import StoreScpFactory, until
from site_under_test import ROUTE, Site, film
from whyray.app import tracing
from whyray.app.roles import run_delivery
from whyray.app.tracing import Traces, traced_jobs
from whyray.base.errors import ConfigError, ImageError
from whyray.base.stages import measured_stages, stage
from whyray.catalog import Delivery, DeliveryState, JobState
from whyray.config import Config
from whyray.jobs.worker import run_job


class Collector(ThreadingHTTPServer):
    """Takes traces by OTLP over HTTP."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Post)
        self.bodies: list[bytes] = []
        self.authorizations: set[str | None] = set()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1/traces"

    def spans(self) -> list[Span]:
        requests = [ExportTraceServiceRequest.FromString(body) for body in list(self.bodies)]
        scopes = [scope for request in requests for spans in request.resource_spans for scope in spans.scope_spans]
        return [span for scope in scopes for span in scope.spans]


class _Post(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.bodies.append(body)
        self.server.authorizations.add(self.headers.get("Authorization"))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def states(site: Site) -> set[DeliveryState]:
    with site.catalog.read() as session:
        return set(session.scalars(select(Delivery.state)))


def about(span: Span) -> dict[str, object]:
    return {
        attribute.key: getattr(attribute.value, str(attribute.value.WhichOneof("value")))
        for attribute in span.attributes
    }


def test_worker_and_delivery_write_one_trace_a_job_and_nothing_of_the_patient(
    site: Site, storescp: StoreScpFactory, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLLECTOR_TOKEN", "Bearer abc")
    pacs = storescp()
    site.configure(
        destinations={"pacs": {"ae_title": pacs.ae_title, "host": pacs.host, "port": pacs.port}},
        routes=[{**ROUTE, "send": {"to": ["pacs"]}}],
        tracing={"endpoint": collector.endpoint, "headers": {"Authorization": {"env": "COLLECTOR_TOKEN"}}},
    )
    image = film(1)
    study = site.receive([image])
    site.router().step()
    (job,) = site.jobs()
    traces = Traces(site.config, "worker")
    job_context = replace(site.job_context(), traced=partial(traces.of_job, site.catalog))
    assert run_job(job.id, "worker-1", job_context) is JobState.DONE
    traces.close()
    worked = collector.spans()
    (whole,) = [span for span in worked if not span.parent_span_id]
    assert (whole.name, about(whole)["whyray.package"], about(whole)["whyray.attempt"]) == ("job", "planted@1.0.0", 1)
    names = {span.name for span in worked}
    assert {"reading", "forward passes", "DICOM encoding", "storing", "catalog"} <= names
    known = {span.span_id for span in worked}
    assert all(span.parent_span_id in known for span in worked if span is not whole)
    assert all(span.start_time_unix_nano <= span.end_time_unix_nano for span in worked)

    stop = threading.Event()
    role = threading.Thread(target=run_delivery, args=(site.folder / "whyray.yaml", stop))
    role.start()
    try:
        until(lambda: states(site) == {DeliveryState.SENT}, what="all results sent")
    finally:
        stop.set()
        role.join()
    deliveries = [span for span in collector.spans() if span.name == "delivery"]
    assert {about(span)["whyray.destination"] for span in deliveries} == {"pacs"}
    assert {about(span)["whyray.kind"] for span in deliveries} == {"sc", "seg", "sr"}
    assert {span.trace_id for span in (*worked, *deliveries)} == {UUID(job.id).bytes}
    assert collector.authorizations == {"Bearer abc"}
    for word in (str(image.PatientName), str(image.PatientID), study, str(image.SOPInstanceUID)):
        assert all(word.encode() not in body for body in collector.bodies)


def test_a_failure_is_told_by_its_code_and_a_flood_of_stages_ends(
    site: Site, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "MOST_SPANS", 3)
    site.configure(tracing={"endpoint": collector.endpoint})
    site.receive([film(1)])
    site.router().step()
    (job,) = site.jobs()
    traces = Traces(site.config, "worker")
    with (  # noqa: PT012
        pytest.raises(ImageError),
        traces.of_job(site.catalog, job.id) as observer,
        measured_stages(observer=observer),
        stage("outer"),
    ):
        for _ in range(5):
            with stage("inner"), stage("innermost"):
                pass
        raise ImageError("study 1.2.3 of Doe")
    traces.close()
    spans = {span.name: span for span in collector.spans()}
    assert sorted(span.name for span in collector.spans()) == ["inner", "innermost", "job", "outer"]
    assert spans["innermost"].parent_span_id == spans["inner"].span_id
    assert spans["inner"].parent_span_id == spans["outer"].span_id
    assert spans["job"].status.message == "ImageError"
    assert all(b"Doe" not in body for body in collector.bodies)


def test_without_a_collector_nothing_is_traced(site: Site) -> None:
    with traced_jobs(Config(), site.catalog)("no such job") as observer:
        assert observer is None


def test_a_collector_without_the_libraries_is_refused_when_the_file_is_read(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("whyray.config.tracing.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"tracing.*pip install 'whyray\[tracing\]'"):
        site.configure(tracing={"endpoint": "http://127.0.0.1:4318/v1/traces"})
