"""Figures of values for notebooks and scripts; what goes to a PACS is drawn by `whyray.results`."""

from __future__ import annotations

import base64
import html
import io
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from whyray.explain.types import Heatmap


NOT_EVALUATED = "not evaluated, not for diagnostic use"


def heatmap_figure(heatmap: Heatmap, image: NDArray[Any] | None) -> Figure:
    """The map with its colour scale, over the image where one is given; of a volume the slice that counts most.

    `image` has the map's shape, or that of the model's input with batch and channel axes before it.
    """
    from matplotlib.figure import Figure  # late: methods run without it

    values = heatmap.values
    under = None if image is None else np.asarray(image, np.float32).reshape(-1, *values.shape).mean(axis=0)
    if values.ndim == 3:
        strongest = int(np.abs(values).sum(axis=(1, 2)).argmax())
        values, under = values[strongest], None if under is None else under[strongest]
    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.add_subplot()
    top = float(np.abs(values).max(initial=0.0)) or 1.0
    if under is not None:
        axes.imshow(under, cmap="gray")
    shown = axes.imshow(
        values,
        cmap="RdBu_r" if heatmap.signed else "inferno",
        vmin=-top if heatmap.signed else 0,
        vmax=top,
        alpha=None if under is None else np.clip(np.abs(values) / top, 0, 1) * 0.7,
    )
    figure.colorbar(shown, label=heatmap.unit)
    axes.set_title(f"{heatmap.target}: {heatmap.title}")
    axes.set_axis_off()
    return figure


def heatmap_html(heatmap: Heatmap) -> str:
    """What a notebook shows of a map: its picture, and what it is; not graded, which the caption says."""
    words = f"{heatmap.target} by {heatmap.title}, in {heatmap.unit}; {NOT_EVALUATED}"
    return figure_html(heatmap_figure(heatmap, None), words)


def figure_html(figure: Figure, words: str) -> str:
    """A figure with its caption, in one piece of HTML."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=80)
    picture = base64.b64encode(stream.getvalue()).decode("ascii")
    return (
        f'<figure><img alt="{html.escape(words)}" src="data:image/png;base64,{picture}">'
        f"<figcaption>{html.escape(words)}</figcaption></figure>"
    )
