"""The report of a reader study: the numbers as JSON, and a page that stands alone."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

import whyray
from whyray.reader_study.analysis import MEASURES, RATIOS, Analysis
from whyray.reader_study.bootstrap import Estimate
from whyray.reader_study.kit import Truth

_TEMPLATES = Path(__file__).parent / "templates"
_WIDTH = 300.0


def report_values(analysis: Analysis, truth: Truth, *, at: datetime, draws: int, seed: int) -> dict[str, Any]:
    """Everything as plain values for `report.json`."""
    return {
        "notice": "Research. Not for diagnostic use.",
        "whyray": whyray.__version__,
        "study": truth.name,
        "target": truth.target,
        "at": at.isoformat(),
        "packages": sorted({case.package for case in truth.cases}),
        "methods": sorted({method for case in truth.cases for method in case.methods}),
        "measures": [asdict(measure) for measure in MEASURES],
        "bootstrap": {"draws": draws, "seed": seed, "over": "readers and cases", "interval": "95 % percentile"},
        **asdict(analysis),
    }


def report_page(analysis: Analysis, truth: Truth, *, at: datetime, draws: int, seed: int) -> str:
    """The page as HTML, without anything from elsewhere."""
    environment = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("report.html").render(
        values=report_values(analysis, truth, at=at, draws=draws, seed=seed),
        rows=words_of(analysis),
        analysis=analysis,
        figure=_figure,
        version=whyray.__version__,
    )


def words_of(analysis: Analysis) -> list[dict[str, Any]]:
    """One row a measure: its figures in words, and what its difference allows to be said."""
    return [_row(measure.name, measure.meaning, measure.better, analysis) for measure in MEASURES]


def _row(name: str, meaning: str, better: int, analysis: Analysis) -> dict[str, Any]:
    difference = analysis.differences[name]
    ratio = name in RATIOS
    return {
        "name": name,
        "meaning": meaning,
        "with": _words(analysis.conditions["with"][name]),
        "without": _words(analysis.conditions["without"][name]),
        "difference": ("× " if ratio and difference.value is not None else "") + _words(difference, signed=not ratio),
        "verdict": _verdict(difference, better, 1.0 if ratio else 0.0),
        "bar": _bar(difference) if name not in ("confidence", *RATIOS) else None,
    }


def _words(estimate: Estimate, *, signed: bool = False) -> str:
    if estimate.value is None:
        return "–"
    sign = "+" if signed else ""
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:{sign}.3g}"
    return f"{estimate.value:{sign}.3g} ({estimate.low:{sign}.3g} to {estimate.high:{sign}.3g})"


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _verdict(difference: Estimate, better: int, nothing: float) -> str:
    """What the interval allows to be said: 'no difference was shown' is not 'there is none'."""
    if difference.low is None or difference.high is None:
        return "not measured"
    if difference.low <= nothing <= difference.high:
        return "no difference shown"
    more = difference.low > nothing
    if better == 0:
        return "higher with explanation" if more else "lower with explanation"
    return "better with explanation" if more == (better > 0) else "worse with explanation"


def _bar(difference: Estimate) -> dict[str, float] | None:
    """Places on a line from -1 to +1, in the drawing's units."""
    if difference.value is None or difference.low is None or difference.high is None:
        return None
    low, value, high = (
        _WIDTH * (max(-1.0, min(1.0, figure)) + 1) / 2 for figure in (difference.low, difference.value, difference.high)
    )
    return {"low": low, "value": value, "width": high - low}
