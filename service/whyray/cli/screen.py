"""What the terminal shows: progress, and tables of findings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from whyray.base.number_text import significant
from whyray.base.shown import shown_path
from whyray.cli.progress_lines import told_by_lines
from whyray.imaging import passed_over
from whyray.jobs.file_report import Report
from whyray.jobs.input_files import sorted_files
from whyray.results import Wording

_LEVELS = {"reliable": "green", "caution": "yellow", "not_shown": "red"}
NOTICE = "Not for diagnostic use."


@contextmanager
def progress_bar() -> Iterator[Callable[[float, str], None]]:
    """A bar for one piece of work, called with the share done (0..1) and words; lines where there is no terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        with told_by_lines(partial(console.print, markup=False, highlight=False, soft_wrap=True)) as tell:
            yield tell
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=1.0)

        def show(done: float, words: str) -> None:
            bar.update(task, completed=done, description=words)

        yield show


def image_files(paths: Iterable[Path]) -> list[Path]:
    """The images, DICOM or pictures, among `paths` and in the folders among them; one line tells what lies beside them.

    Raises
    ------
    ImageError
        If there is no image.
    """
    files = sorted_files(paths)
    beside = passed_over([*files.others, *["Segmentation"] * len(files.segmentations)])
    if beside is not None:
        Console(stderr=True, soft_wrap=True).print(f"note: {beside}", highlight=False, markup=False)
    return list(files.images)


def number(value: object) -> str:
    """A figure as people read it; a dash where there is none."""
    return f"{value:.3g}" if isinstance(value, int | float) else "–"


def print_report(report: Report, out: Path, wording: Wording) -> None:
    """What was found, how good the explanations are, and where the files are."""
    console = Console()
    several = len(report.images) > 1
    table = Table(title=f"{report.package}", caption=NOTICE)
    for name in (
        *(["image"] if several else []),
        "finding",
        "present",
        "probability",
        "value",
        "explained by",
        "explanation",
    ):
        table.add_column(name, justify="right" if name in ("probability", "value") else "left", overflow="fold")
    for finding in report.findings:
        maps = [explanation for explanation in finding["explanations"] if explanation["part"] is None]
        for index, explanation in enumerate([*maps, *finding["typed_explanations"]] or [None]):
            cells = _finding_cells(finding, several) if index == 0 else [""] * (4 + several)
            table.add_row(*cells, explanation["title"] if explanation else "–", _trust(explanation))
    console.print(table)
    for words in _sentences(report, wording):
        console.print(words, highlight=False, markup=False)
    for unanswered in report.no_statement:
        reasons = ", ".join(unanswered["reasons"]).replace("_", " ")
        console.print(f"no statement: {unanswered['words']} ({reasons})", highlight=False, markup=False, style="red")
    for finding in report.findings:
        agreed = finding["agreement"]
        if agreed is not None:
            words = f"{finding['finding']}: the strongest tenths of {len(agreed['methods'])} maps overlap by"
            chance = f"{agreed['value']:.0%} (by chance {agreed['by_chance']:.0%})"
            console.print(f"{words} {chance}", highlight=False, markup=False)
    for words in report.notes:
        console.print(wording.lines.note.format(words=words), highlight=False, markup=False)
    for words in report.refused:
        console.print(f"refused: {words}", highlight=False, markup=False, style="yellow")
    for words in report.withheld:
        console.print(wording.lines.withheld.format(words=words), highlight=False, markup=False, style="yellow")
    console.print(f"{len(report.files)} files and report.json in {shown_path(out)}", highlight=False, markup=False)


def print_stages(report: Report) -> None:
    """Where the time went: what took longest first, and of each how much of that other stages took."""
    table = Table(title=f"{sum(stage.own for stage in report.stages):.2f} s")
    table.add_column("stage")
    for name in ("s", "with stages within, s", "times"):
        table.add_column(name, justify="right")
    for stage in report.stages:
        table.add_row(stage.name, f"{stage.own:.3f}", f"{stage.total:.3f}", str(stage.times))
    Console().print(table)


def _finding_cells(finding: dict[str, Any], several: bool) -> list[str]:
    frame = "" if finding["frame"] is None else f" frame {finding['frame']}"
    image = [f"…{finding['images'][0][-8:]}{frame}"] if several else []
    return [
        *image,
        str(finding["finding"]),
        "–" if finding["present"] is None else "yes" if finding["present"] else "no",
        number(finding.get("probability")),
        _value(finding),
    ]


def _value(finding: dict[str, Any]) -> str:
    """What was measured, with its unit, as pages write it: 4120 ml, not 4.12e+03."""
    value, unit = finding.get("value"), finding.get("unit")
    return "–" if value is None else f"{significant(value, 3)} {unit or ''}".strip()


def _trust(explanation: dict[str, Any] | None) -> str:
    if explanation is None:
        return "–"
    trust = explanation["quality"]["trust"]
    return f"[{_LEVELS[trust['level']]}]{trust['name']}[/]"


def _sentences(report: Report, wording: Wording) -> Iterator[str]:
    """How far what is shown can be trusted, and why; what is withheld is told apart."""
    for finding in report.findings:
        for explanation in (*finding["explanations"], *finding["typed_explanations"]):
            sentence = explanation["quality"]["trust"]["sentence"]
            if sentence and not explanation["withheld"] and explanation.get("part") is None:
                yield wording.lines.explanation_of.format(
                    title=explanation["title"], finding=wording.named(finding["finding"]), sentence=sentence
                )
