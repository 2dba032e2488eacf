"""Spans of OpenTelemetry: one trace a job, from its start in a worker to its results' arrival.

The id of the trace is the job's own (a UUID), so that worker and delivery, who never speak to each other, write the
same trace. Nothing in a span tells of a patient or a study.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING
from uuid import UUID

from whyray.base.errors import WhyRayError
from whyray.base.stages import StageObserver
from whyray.catalog import Catalog, Delivery, jobs
from whyray.config import Config

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

    from whyray.delivery import Outcome

MOST_SPANS = 2000
"""Of a job; what comes later is counted in the spans that it lies in."""
_trace: ContextVar[int] = ContextVar("trace")


class Traces:
    """What a role sends spans with; `close` sends what is left."""

    def __init__(self, config: Config, role: str) -> None:
        self._provider = _provider(config, role)
        self._tracer: Tracer = self._provider.get_tracer("whyray")

    @contextmanager
    def of_job(self, catalog: Catalog, job_id: str) -> Iterator[StageObserver]:
        """A span of the work on this job, with the stages that it goes through as spans within."""
        with catalog.read() as session:
            job = jobs.get(session, job_id)
            about: dict[str, str | int | float] = {
                "whyray.job": job_id,
                "whyray.route": job.route,
                "whyray.package": job.package,
                "whyray.attempt": job.attempt,
            }
            if job.started_at is not None:
                about["whyray.waited_s"] = (job.started_at - job.created_at).total_seconds()
        with _trace_of(job_id):
            whole = self._tracer.start_span("job", attributes=about)
        observer = _StageSpans(self._tracer, whole)
        try:
            yield observer
        except BaseException as error:
            _fail(whole, error)
            raise
        finally:
            observer.end()
            whole.end()

    def delivered(self, delivery: Delivery, outcome: Outcome, begun: int) -> None:
        """A span of one result's way to its destination; `begun` in ns since 1970."""
        about: dict[str, str | int] = {
            "whyray.job": delivery.result.job_id,
            "whyray.destination": delivery.destination,
            "whyray.kind": delivery.result.kind,
            "whyray.attempt": delivery.attempt,
        }
        if outcome.status is not None:
            about["whyray.status"] = outcome.status
        with _trace_of(delivery.result.job_id):
            span = self._tracer.start_span("delivery", attributes=about, start_time=begun)
        if outcome.error is not None:
            _fail(span, outcome.error)
        span.end()

    def close(self) -> None:
        """Send what has not been sent yet, as far as the collector takes it."""
        self._provider.shutdown()


def traced_jobs(config: Config, catalog: Catalog) -> Callable[[str], AbstractContextManager[StageObserver | None]]:
    """What the work on a job is to happen in, by its id: a span, or nothing where no collector is configured."""
    if config.tracing.endpoint is None:
        return lambda _: nullcontext()
    traces = Traces(config, "worker")
    return lambda job_id: traces.of_job(catalog, job_id)


class _StageSpans:
    """Spans of stages, each in the one that was entered before it and has not been left."""

    def __init__(self, tracer: Tracer, whole: Span) -> None:
        self._tracer, self._open, self._count = tracer, [whole], 0

    def entered(self, name: str) -> None:
        from opentelemetry.trace import INVALID_SPAN, set_span_in_context

        self._count += 1
        if self._count > MOST_SPANS:
            self._open.append(INVALID_SPAN)
            return
        outer = next(span for span in reversed(self._open) if span.get_span_context().is_valid)
        self._open.append(self._tracer.start_span(name, context=set_span_in_context(outer)))

    def left(self) -> None:
        self._open.pop().end()

    def end(self) -> None:
        """End what an error left open."""
        while len(self._open) > 1:
            self.left()


@contextmanager
def _trace_of(job_id: str) -> Iterator[None]:
    token = _trace.set(UUID(job_id).int)
    try:
        yield
    finally:
        _trace.reset(token)


def _fail(span: Span, error: BaseException) -> None:
    from opentelemetry.trace import Status, StatusCode

    # the code alone: messages name studies and instances
    code = error.code if isinstance(error, WhyRayError) else type(error).__name__
    span.set_status(Status(StatusCode.ERROR, code))


def _provider(config: Config, role: str) -> TracerProvider:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    class TracesOfJobs(RandomIdGenerator):
        def generate_trace_id(self) -> int:
            return _trace.get()

    settings = config.tracing
    exporter = OTLPSpanExporter(
        endpoint=settings.endpoint,
        headers={name: secret.reveal() for name, secret in settings.headers.items()},
        certificate_file=None if settings.authorities is None else str(settings.authorities),
        timeout=10,
    )
    resource = Resource({"service.name": settings.service, "service.component": role})
    provider = TracerProvider(resource=resource, id_generator=TracesOfJobs())
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider
