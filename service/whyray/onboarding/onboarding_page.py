"""The onboarding report as one HTML page with pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyray.explain import Heatmap
from whyray.packages import Package
from whyray.packages.localisation_report import Figure, MethodLocalisation, best_first, why_none_is_best
from whyray.packages.randomisation_report import ORDER_KEPT, SIMILARITY, CheckOutcome, check_outcomes
from whyray.packages.report_warnings import (
    DISCRIMINATION,
    FAITHFULNESS,
    LEARNED,
    ONE_QUESTION,
    discrimination_words,
    warnings_in,
)
from whyray.quality import NOT_TOLD

_STYLE = """body{font:15px/1.5 sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#222}
table{border-collapse:collapse}td,th{padding:.3rem .7rem;border-bottom:1px solid #ccc;text-align:left}
img{max-width:26rem}.no{color:#a33}.yes{color:#262}"""


def page(report: Mapping[str, Any], package: Package) -> str:
    """The report of a package as HTML, what it warns of first; pictures are files beside it, named by method."""
    outcomes = check_outcomes(report, package)
    facts = "".join(
        f"<tr><th>{escape(key)}</th><td>{escape(str(value))}</td></tr>"
        for key, value in report.items()
        if key not in ("methods", "calibration", DISCRIMINATION, LEARNED, "batch", "compiled", "agreement")
    )
    rows = "".join(
        _refused_row(name, entry) if "refused" in entry else _row(name, entry, outcomes[name])
        for name, entry in report["methods"].items()
    )
    title = f"Onboarding of {report['package']} {report['version']}"
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(title)}</title><style>{_STYLE}</style>"
        f"<h1>{escape(title)}</h1>{_warnings(warnings_in(report, package))}"
        f"<table>{facts}{_learned(report.get(LEARNED))}</table>{_engines(report)}"
        "<h2>Methods</h2><table><tr><th>method<th>tier<th>seconds"
        f"<th>forward passes<th>maps<th>randomisation check<th>example (image, map)</tr>{rows}</table>"
        f"<p>{escape(ONE_QUESTION, quote=False)}</p>"
        f"{_agreement(report.get('agreement'))}"
        f"{_localisation(report['methods'], outcomes)}{_discrimination(report.get(DISCRIMINATION, {}))}"
        f"{_calibration(report.get('calibration', {}))}</html>\n"
    )


def _warnings(warnings: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(words)}.</li>" for words in warnings)
    return f"<h2 class=no>Warnings</h2><ul class=no>{items}</ul>" if items else ""


def _learned(entry: Mapping[str, Any] | None) -> str:
    words = NOT_TOLD if entry is None else f"{entry['grade']}: {entry['share']:.0%}, {entry['rule']}"
    return f"<tr><th>weights that learned nothing</th><td>{escape(words)}</td></tr>"


def _discrimination(targets: Mapping[str, Any]) -> str:
    items = "".join(f"<li>{escape(discrimination_words(name, entry))}.</li>" for name, entry in targets.items())
    method = next((entry["method"] for entry in targets.values() if "method" in entry), None)
    unknown = max((entry["images of unknown patients"] for entry in targets.values()), default=0)
    by = "" if method is None else f"<p>Intervals by {escape(method)}.</p>"
    by += f"<p>{unknown} images count as a patient each, since nobody said whose they are.</p>" if unknown else ""
    return f"<h2>Discrimination</h2><ul>{items}</ul>{by}" if items else ""


def _engines(report: Mapping[str, Any]) -> str:
    """Batches and compiled gradients, in words."""
    rows = ""
    for kind, entry in report.get("batch", {}).items():
        item_bytes = entry.get("bytes per item")
        memory = (
            "memory not told by this system" if item_bytes is None else f"{item_bytes / 1e6:.1f} MB an item at most"
        )
        rate = entry["items per second"][str(entry["items"])]
        rows += f"<tr><th>batch, {escape(kind)}</th><td>{entry['items']} items, {rate:.3g} a second, {memory}</td></tr>"
    for kind, entry in report.get("compiled", {}).items():
        seconds = ", ".join(f"{name} {value:.3g} s" for name, value in entry.get("seconds", {}).items())
        count = entry["used up to targets"]
        words = f"used up to {count} targets" if count else "not used"
        why = entry.get("why not") or f"{seconds}; difference to the twin {entry['difference to the twin']:g}"
        rows += f"<tr><th>compiled {escape(kind)}</th><td>{words}: {escape(why)}</td></tr>"
    return f"<h2>Engines</h2><table>{rows}</table>" if rows else ""


def _agreement(agreement: Mapping[str, Any] | None) -> str:
    if agreement is None:
        return ""
    words = (
        f"The strongest tenths of the maps by {len(agreement['methods'])} methods overlap by "
        f"{agreement['value']:.0%} on average ({agreement['low']:.0%} to {agreement['high']:.0%}; by chance "
        f"{agreement['by chance']:.0%}). Agreement is no proof: methods can agree on a wrong place."
    )
    return f"<h2>Agreement</h2><p>{escape(words)}</p>"


def _localisation(methods: Mapping[str, Any], outcomes: Mapping[str, CheckOutcome]) -> str:
    measured = {
        name: MethodLocalisation.model_validate(entry["localisation"])
        for name, entry in methods.items()
        if "localisation" in entry
    }
    rows = ""
    for name, localisation in measured.items():
        ways = {"maps": localisation.maps, **localisation.baselines}
        for way, figures in ways.items():
            cells = "".join(f"<td>{_interval(figure)}" for figure in (figures.hit_rate, figures.iou, figures.auprc))
            rows += f"<tr><td>{escape(name)}<td>{escape(way)}<td>{figures.hits} of {localisation.boxes}{cells}</tr>"
        leads = "".join(
            f"<td class={'yes' if lead.above else 'no'}>{_interval(lead.difference)} to {escape(lead.baseline)}"
            for lead in localisation.ahead.values()
        )
        rows += f"<tr><td>{escape(name)}<td>maps above the best of these<td>{leads}</tr>"
    if not rows:
        return ""
    independent = [name for name, outcome in outcomes.items() if outcome is CheckOutcome.WITHHELD]
    best = next((name for name in best_first(measured) if name not in independent), None)
    words = (
        f"<p>{escape(best)}: {escape(measured[best].words)}.</p>"
        if best is not None
        else f"<p>No method is preferred: {escape(why_none_is_best(measured, independent))}.</p>"
    )
    head = "<tr><th>method<th>what<th>hits<th>hit rate<th>IoU<th>AUPRC</tr>"
    about = "<p>Against what readers marked, without tolerance; 95 % bootstrap intervals over patients.</p>"
    return f"<h2>Localisation</h2>{words}{about}<table>{head}{rows}</table>"


def _interval(figure: Figure) -> str:
    return f"{figure.value:.2f} ({figure.low:.2f} to {figure.high:.2f})"


def _calibration(targets: Mapping[str, Any]) -> str:
    def error(entry: Mapping[str, Any]) -> str:
        return _figure({**entry, "value": entry["ECE"]}) if "ECE" in entry else "too few images"

    rows = "".join(
        f"<tr><td>{escape(name)}<td>{entry['images']}<td>{entry['positive']}<td>{error(entry)}</tr>"
        for name, entry in targets.items()
    )
    head = "<tr><th>target<th>images<th>with the finding<th>expected calibration error</tr>"
    return f"<h2>Calibration</h2><table>{head}{rows}</table>" if rows else ""


def _figure(figure: Mapping[str, Any]) -> str:
    low, high = figure["interval"]
    return f"{figure['value']:.3f} ({low:.3f} to {high:.3f})"


def picture(x: NDArray[np.float32] | None, heatmap: Heatmap) -> bytes:
    """PNG of the image (1, C, *spatial) beside the map, or of the map alone, in perceptually even colour.

    Of a volume the slice with the strongest map.
    """
    from matplotlib import colormaps
    from PIL import Image

    values, image = heatmap.values, None if x is None else x[0].mean(axis=0)
    if values.ndim == 3:
        strongest = int(np.abs(values).reshape(len(values), -1).sum(axis=1).argmax())
        values, image = values[strongest], None if image is None else image[strongest]
    peak = max(float(np.abs(values).max()), 1e-12)
    coloured = colormaps["RdBu_r"]((values / peak + 1) / 2) if heatmap.signed else colormaps["viridis"](values / peak)
    parts = [coloured[..., :3]]
    if image is not None:
        grey = (image - image.min()) / max(float(np.ptp(image)), 1e-12)
        parts.insert(0, np.repeat(grey[..., None], 3, axis=2))
    file = BytesIO()
    Image.fromarray((np.concatenate(parts, axis=1) * 255).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def _refused_row(name: str, entry: Mapping[str, Any]) -> str:
    return f"<tr><td>{escape(name)}<td>{entry['tier']}<td colspan=5 class=no>{escape(entry['refused'])}</tr>"


def _row(name: str, entry: Mapping[str, Any], outcome: CheckOutcome) -> str:
    grades = ", ".join(
        f"{entry['grades'][grade]} {words}" for grade, words in FAITHFULNESS.items() if entry["grades"][grade]
    )
    return (
        f"<tr><td>{escape(name)}<td>{entry['tier']}<td>{entry['seconds']:.3g}<td>{entry['forward passes']}<td>{grades}"
        f"{_check(entry['sanity'], outcome)}<td><img src={escape(name)}.png alt=''></tr>"
    )


def _check(sanity: Mapping[str, Any], outcome: CheckOutcome) -> str:
    """The cell of the randomisation check: what it says, and what it was told by."""
    colour = {CheckOutcome.PASSED: " class=yes", CheckOutcome.WITHHELD: " class=no"}.get(outcome, "")
    order = sanity.get(ORDER_KEPT, {})
    stages = "<br>".join(
        f"{escape(stage)}: no map by these weights, or none of its own"
        if value is None
        else f"{escape(stage)}: SSIM {value}, rank correlation {order.get(stage, '–')}"
        for stage, value in sanity[SIMILARITY].items()
    )
    return f"<td{colour}>{outcome}<br>{stages}<br>SSIM of unrelated maps: {sanity['SSIM of unrelated maps']}"
