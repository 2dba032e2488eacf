"""What the demo shows on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from sqlalchemy import select

from whyray.catalog import Catalog, DeliveryState, Job, JobState, Study
from whyray.demo.studies import DemoStudy

NOTICE = "Not for diagnostic use."


def progress_table(catalog: Catalog, studies: Sequence[DemoStudy]) -> Table:
    """Where each study is: its jobs, and how many of their results are back in the PACS."""
    table = Table(caption=NOTICE)
    for name in ("study", "package", "job", "progress", "back in the PACS"):
        table.add_column(name, overflow="fold")
    with catalog.read() as session:
        for study in studies:
            row = session.scalar(select(Study).where(Study.study_instance_uid == study.study_instance_uid))
            newest = 0 if row is None else max((job.revision for job in row.jobs), default=0)
            jobs = [] if row is None else [job for job in row.jobs if job.revision == newest]
            if not jobs:
                table.add_row(study.title, study.package, "arriving" if row is None else row.note or "received", "", "")
                continue
            for job in jobs:
                deliveries = [delivery for result in job.results for delivery in result.deliveries]
                back = sum(delivery.state in (DeliveryState.SENT, DeliveryState.COMMITTED) for delivery in deliveries)
                words = f"{100 * job.progress:3.0f} % {job.progress_text or job.error_message or ''}"
                table.add_row(study.title, job.package, job.state.value, words, f"{back} of {len(deliveries)}")
    return table


def print_results(console: Console, catalog: Catalog, studies: Sequence[DemoStudy]) -> None:
    """One line for each explanation of each answer, with the study that it is of and how far it can be trusted."""
    titles = {study.study_instance_uid: study.title for study in studies}
    why = "Why an explanation is not shown, or to be used with caution, stands on its page."
    table = Table(title="results", caption=f"{NOTICE} {why}")
    for name in ("study", "package", "finding", "answer", "explained by", "explanation"):
        table.add_column(name, overflow="fold")
    with catalog.read() as session:
        for job in session.scalars(select(Job).order_by(Job.created_at)):
            title = titles.get(job.study.study_instance_uid, "–")
            if job.state is JobState.FAILED:
                table.add_row(title, job.package, "[red]failed[/]", "–", "–", f"{job.error_message} {job.error_advice}")
            for _ in job.no_statement or ():
                table.add_row(title, job.package, "no statement", "–", "–", "not an image it was made for")
            for finding in job.finding_records:
                for explanation in finding.all_explanations:
                    if explanation.part is not None:
                        continue
                    trust = explanation.quality.trust
                    table.add_row(
                        title,
                        job.package,
                        finding.finding,
                        _answer(finding.probability, finding.value),
                        explanation.title or explanation.method,
                        "–" if trust is None else trust.name,
                    )
    console.print(table)


def _answer(probability: float | None, millilitres: float | None) -> str:
    """A probability, or the volume that a segmentation gives."""
    if probability is not None:
        return f"{probability:.2f}"
    return "–" if millilitres is None else f"{millilitres:,.0f} ml"
