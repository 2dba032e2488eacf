"""What a script or a notebook sees of a heatmap."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from whyray.explain import Heatmap


def heatmap(shape: tuple[int, ...], *, signed: bool = False) -> Heatmap:
    values = np.zeros(shape, np.float32)
    values[tuple(size // 2 for size in shape)] = 2.0
    return Heatmap(values, "Mass <b>", "grad-cam", signed, "logit")


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("shape", [(8, 9), (4, 8, 9)])
def test_a_map_is_drawn_over_the_input_of_the_model_with_its_scale(shape: tuple[int, ...], signed: bool) -> None:
    figure = heatmap(shape, signed=signed).plot(np.ones((1, 1, *shape), np.float32))
    map_axes, scale = figure.axes
    assert map_axes.get_title() == "Mass <b>: Grad-CAM"
    assert scale.get_ylabel() == "logit"
    under, over = map_axes.images
    assert under.get_array().shape == over.get_array().shape == shape[-2:]
    assert over.get_array().max() == 2.0, "the slice that counts most"
    assert over.get_clim() == ((-2.0 if signed else 0.0), 2.0)
    stream = io.BytesIO()
    figure.savefig(stream, dpi=20)
    assert Image.open(stream).size[0] > 0


def test_a_notebook_shows_the_map_with_what_it_is_and_that_nobody_evaluated_it() -> None:
    shown = heatmap((8, 9))._repr_html_()
    assert "data:image/png;base64," in shown
    assert "Mass &lt;b&gt; by Grad-CAM, in logit; not evaluated, not for diagnostic use" in shown


def test_the_readmes_example_goes_from_a_file_to_a_picture() -> None:
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text("utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL)
    assert 'read_images(["FILE.dcm"])' in example
    assert "savefig(" in example
    compile(example, "README.md", "exec")
