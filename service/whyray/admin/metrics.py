"""What Prometheus scrapes: gauges read from the catalog at that moment. No label names a patient, study or job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from sqlalchemy.orm import Session

import whyray
from whyray.admin.backend import Backend
from whyray.admin.drift_watch import drifting
from whyray.base.errors import StorageUnavailable
from whyray.catalog import DeliveryState, JobState, Study, feedback, jobs, stuck, tallies
from whyray.catalog.overview import destination_states, queue_state, role_states


class CatalogCollector(Collector):
    """Reads the catalog at each scrape, so that every admin process shows the same figures, also after a restart."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def _free_bytes(self) -> int:
        """0 where storage is away: all else is told, and whoever is alarmed by a full disk is by that."""
        store = self._backend.store
        try:
            # an empty folder on which nothing is mounted has as much room as the disk that it lies on
            return store.free_bytes() if store.hindrance() is None else 0
        except StorageUnavailable:
            return 0

    def collect(self) -> Iterator[Metric]:
        """All metric families."""
        info = GaugeMetricFamily(
            "whyray_build_info", "Always 1; the label says which version runs.", labels=["version"]
        )
        info.add_metric([whyray.__version__], 1)
        yield info
        yield GaugeMetricFamily("whyray_storage_free_bytes", "Free space of the storage.", value=self._free_bytes())
        with self._backend.catalog.read() as session:
            yield from self._jobs(session)
            yield from self._deliveries(session)
            yield from self._intake(session)
            yield from self._roles(session)
            yield from self._evaluation(session)

    def describe(self) -> Iterator[Metric]:
        """Nothing, so that registering does not read the catalog."""
        return iter(())

    def _jobs(self, session: Session) -> Iterator[Metric]:
        states = GaugeMetricFamily("whyray_jobs", "Jobs in the catalog by state.", labels=["state"])
        tally = jobs.tally(session)
        for state in JobState:
            states.add_metric([state.value], tally.get(state, 0))
        yield states
        failed = GaugeMetricFamily("whyray_jobs_failed", "Failed jobs by route and error.", labels=["route", "error"])
        for group in stuck.stuck(session, "jobs", JobState.FAILED):
            failed.add_metric([group.place, group.error_code or ""], group.count)
        yield failed
        oldest = queue_state(session).oldest_queued_at
        yield GaugeMetricFamily(
            "whyray_oldest_queued_job_age_seconds",
            "Age of the job that is queued longest; 0 if none is.",
            value=0 if oldest is None else (self._backend.catalog.clock() - oldest).total_seconds(),
        )
        grades = GaugeMetricFamily("whyray_results", "Results by kind and quality grade.", labels=["kind", "grade"])
        current: Counter[tuple[str, str]] = Counter()
        for row in tallies.counted(session, "results"):
            kind, _, grade, superseded, _ = row.facets
            if not superseded:
                current[kind, grade or "none"] += row.number
        for labels, count in current.items():
            grades.add_metric(labels, count)
        yield grades

    def _deliveries(self, session: Session) -> Iterator[Metric]:
        states = GaugeMetricFamily(
            "whyray_deliveries", "Deliveries by destination and state.", labels=["destination", "state"]
        )
        ages = GaugeMetricFamily(
            "whyray_oldest_queued_delivery_age_seconds",
            "Age of the delivery that is queued longest; 0 if none is.",
            labels=["destination"],
        )
        now = self._backend.catalog.clock()
        names = [destination.name for destination in self._backend.site().destinations]
        for destination in destination_states(session, names):
            for state in DeliveryState:
                states.add_metric([destination.destination, state.value], destination.states.get(state, 0))
            oldest = destination.oldest_queued_at
            ages.add_metric([destination.destination], 0 if oldest is None else (now - oldest).total_seconds())
        yield states
        yield ages

    def _intake(self, session: Session) -> Iterator[Metric]:
        instances = tallies.counted(session, "instances")
        count, size = (sum(row.number for row in instances), sum(row.size for row in instances))
        yield GaugeMetricFamily("whyray_instances_received", "Received instances in the catalog.", value=count)
        yield GaugeMetricFamily("whyray_instances_bytes", "Bytes of the received instances.", value=size)
        last = session.scalar(select(func.max(Study.last_received_at)))
        if last is not None:
            yield GaugeMetricFamily(
                "whyray_last_instance_timestamp_seconds", "When the last instance came.", value=last.timestamp()
            )
        waiting = sum(row.number for row in tallies.counted(session, "studies") if row.facets[1])
        yield GaugeMetricFamily("whyray_studies_receiving", "Studies that routing still waits for.", value=waiting)
        conflicts = sum(row.number for row in instances if row.facets[0])
        yield GaugeMetricFamily(
            "whyray_instance_conflicts", "Instances whose UID came again with other content.", value=conflicts
        )
        severities = GaugeMetricFamily("whyray_events", "Events in the catalog by severity.", labels=["severity"])
        events: Counter[str] = Counter()
        for row in tallies.counted(session, "events"):
            events[row.facets[1]] += row.number
        for severity, number in events.items():
            severities.add_metric([severity], number)
        yield severities

    def _roles(self, session: Session) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "whyray_processes", "Roles by whether they gave a sign of life in the last 30 s.", labels=["role", "alive"]
        )
        seen = role_states(session, self._backend.catalog.clock())
        for role in sorted({process.role for process in seen}):
            for alive in (True, False):
                count = sum(process.role == role and process.alive is alive for process in seen)
                family.add_metric([role, "true" if alive else "false"], count)
        yield family

    def _evaluation(self, session: Session) -> Iterator[Metric]:
        said = GaugeMetricFamily(
            "whyray_feedback", "Radiologists' verdicts on results by package version.", labels=["package", "verdict"]
        )
        for (package, verdict), count in feedback.tally(session).items():
            said.add_metric([package, verdict], count)
        yield said
        labels = ["package", "measure", "target", "method"]
        psi = GaugeMetricFamily(
            "whyray_drift_psi", "Population stability index of the latest numbers against the first.", labels=labels
        )
        drifted = GaugeMetricFamily("whyray_drifted", "1 where a series has drifted, 0 where not.", labels=labels)
        now = self._backend.catalog.clock()
        seen = self._backend.drift.look(session, now)
        alerts = {series.id for series in drifting(seen, now)}
        for series in seen:
            if series.shift is not None:
                names = [series.key.package, series.key.measure, series.key.target, series.key.method]
                psi.add_metric(names, series.shift.psi)
                drifted.add_metric(names, float(series.id in alerts))
        yield psi
        yield drifted


def registry(backend: Backend) -> CollectorRegistry:
    """WhyRay's own registry: nothing of the process or of other libraries gets into it."""
    own_registry = CollectorRegistry(auto_describe=False)
    own_registry.register(CatalogCollector(backend))
    return own_registry
