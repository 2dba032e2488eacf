"""The tables of docs/trust.md that say how methods fare on boxes, from the reports that come with bundled packages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from whyray.packages import BUNDLED, MANIFEST, read_package
from whyray.packages.localisation_report import Figure, MapFigures, MethodLocalisation, best_first, localisation_in
from whyray.packages.onboarding_report import read_report

PAGE = Path(__file__).resolve().parents[2] / "docs" / "trust.md"
START, END = "<!-- methods on boxes -->", "<!-- end of methods on boxes -->"
_HEAD = "| package | map | hits | hit rate | mIoU (Otsu) | AUPRC | above the best baseline (AUPRC) |"


def table(bundled: Path = BUNDLED) -> str:
    """All methods of all packages with boxes, best first, and what maps that know no model reach."""
    rows, agreed = [], []
    for folder in sorted(path.parent for path in bundled.glob(f"*/*/{MANIFEST}")):
        package = read_package(folder)
        report = read_report(package)
        measured = localisation_in(report, package)
        if report is not None and measured:
            rows += list(_rows(f"{package.manifest.name}@{package.manifest.version}", measured))
            agreed += list(_agreed(f"{package.manifest.name}@{package.manifest.version}", report))
    return "\n".join([_HEAD, "| --- " * 7 + "|", *rows, "", *agreed])


def renewed(text: str) -> str:
    """The page `text` with the tables that follow from the reports."""
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n{table()}\n{END}{after}"


def _rows(identity: str, measured: dict[str, MethodLocalisation]) -> Iterator[str]:
    ranked = best_first(measured)
    for name in [*ranked, *sorted(set(measured) - set(ranked))]:
        told = measured[name]
        of = f" of {told.parameters['of']}" if "of" in told.parameters else ""
        lead = told.ahead["AUPRC"]
        row = _row(identity, f"{name}{of}", told.boxes, told.maps)
        yield f"{row} {_interval(lead.difference)} to {lead.baseline} |"
    whole = measured[ranked[0]] if ranked else max(measured.values(), key=lambda told: told.boxes)
    for name, figures in whole.baselines.items():
        yield f"{_row(identity, f'*{name}*', whole.boxes, figures)} |"


def _row(identity: str, name: str, boxes: int, figures: MapFigures) -> str:
    cells = (figures.hit_rate, figures.iou, figures.auprc)
    return f"| {identity} | {name} | {figures.hits} of {boxes} | {' | '.join(map(_interval, cells))} |"


def _agreed(identity: str, report: dict[str, Any]) -> Iterator[str]:
    if "agreement" in report:
        figure = report["agreement"]
        yield (
            f"* {identity}: the strongest tenths of maps by {', '.join(figure['methods'])} overlap by "
            f"{figure['value']:.2f} ({figure['low']:.2f}–{figure['high']:.2f}; by chance {figure['by chance']:.2f})."
        )


def _interval(figure: Figure) -> str:
    return f"{figure.value:.2f} ({figure.low:.2f}–{figure.high:.2f})"
