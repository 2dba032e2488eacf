"""The onboarding report as one HTML page with pictures."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyray.explain import Heatmap

_STYLE = """body{font:15px/1.5 sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#222}
table{border-collapse:collapse}td,th{padding:.3rem .7rem;border-bottom:1px solid #ccc;text-align:left}
img{max-width:26rem}.no{color:#a33}.yes{color:#262}"""


def page(report: Mapping[str, Any]) -> str:
    """The report as HTML; pictures are files beside it, named by method."""
    facts = "".join(
        f"<tr><th>{escape(key)}</th><td>{escape(str(value))}</td></tr>"
        for key, value in report.items()
        if key != "methods"
    )
    rows = "".join(_row(name, entry) for name, entry in report["methods"].items())
    title = f"Onboarding of {report['package']} {report['version']}"
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(title)}</title><style>{_STYLE}</style>"
        f"<h1>{escape(title)}</h1><table>{facts}</table><h2>Methods</h2><table><tr><th>method<th>tier<th>seconds"
        f"<th>forward passes<th>grades<th>sanity check<th>example (image, map)</tr>{rows}</table></html>\n"
    )


def picture(x: NDArray[np.float32], heatmap: Heatmap) -> bytes:
    """PNG of the image (of a volume its slice with the strongest map) beside the map, in perceptually even colour."""
    from matplotlib import colormaps
    from PIL import Image

    values, image = heatmap.values, x[0].mean(axis=0)
    if values.ndim == 3:
        strongest = int(np.abs(values).reshape(len(values), -1).sum(axis=1).argmax())
        values, image = values[strongest], image[strongest]
    grey = (image - image.min()) / max(float(np.ptp(image)), 1e-12)
    peak = max(float(np.abs(values).max()), 1e-12)
    coloured = colormaps["RdBu_r"]((values / peak + 1) / 2) if heatmap.signed else colormaps["viridis"](values / peak)
    both = np.concatenate([np.repeat(grey[..., None], 3, axis=2), coloured[..., :3]], axis=1)
    file = BytesIO()
    Image.fromarray((both * 255).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def _row(name: str, entry: Mapping[str, Any]) -> str:
    start = f"<tr><td>{escape(name)}<td>{entry['tier']}"
    if "refused" in entry:
        return f"{start}<td colspan=5 class=no>{escape(entry['refused'])}</tr>"
    sanity = entry["sanity"]
    passed = "yes" if sanity["passed"] else "no"
    stages = "<br>".join(
        f"{escape(stage)}: {value}" for stage, value in sanity["SSIM by share of weights randomised"].items()
    )
    grades = ", ".join(f"{count} {grade}" for grade, count in entry["grades"].items() if count)
    return (
        f"{start}<td>{entry['seconds']:.3g}<td>{entry['forward passes']}<td>{grades}<td class={passed}>"
        f"passed: {passed}<br>{stages}<br>"
        f"unrelated maps: {sanity['SSIM of unrelated maps']}<td><img src={escape(name)}.png alt=''></tr>"
    )
