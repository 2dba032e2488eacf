"""What is drawn in the box that it takes is what would be drawn over the whole picture, at its edges too."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from whyray.results.page.mask_scaling import shrunk
from whyray.results.page.overlay import map_colours, plain, with_finding, with_outline
from whyray.results.templates import Templates

WIDTH, HEIGHT = 90, 70
COLOUR = (0, 170, 255)


def regions() -> dict[str, np.ndarray]:
    """Masks (HEIGHT, WIDTH) that touch edges, corners, each other or nothing."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    disc = (rows - 30) ** 2 + (columns - 40) ** 2 < 15**2
    return {
        "disc": disc,
        "corner": (rows < 12) & (columns > WIDTH - 20),
        "edge": (rows > HEIGHT - 9) & (abs(columns - 30) < 20),
        "whole": np.ones((HEIGHT, WIDTH), bool),
        "nothing": np.zeros((HEIGHT, WIDTH), bool),
        "two": disc | (rows + columns > HEIGHT + WIDTH - 30),
        "point": (rows == 3) & (columns == 0),
    }


def over_the_whole(background: np.ndarray, inside: np.ndarray, width: int) -> np.ndarray:
    """The outline by its definition."""
    drawn, dark = background.copy(), max(1, width // 2)
    core = inside & ~ndimage.binary_erosion(inside, iterations=width, border_value=1)
    within = inside & ~ndimage.binary_erosion(inside, iterations=width + dark, border_value=1)
    about = ndimage.binary_dilation(inside, iterations=dark) & ~inside
    drawn[within | about] = 0
    drawn[core] = COLOUR
    return drawn


@pytest.mark.parametrize("name", list(regions()))
@pytest.mark.parametrize("width", [1, 4])
def test_an_outline_is_drawn_as_over_the_whole_picture(name: str, width: int) -> None:
    region = regions()[name]
    background = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    kept = background.copy()
    made = with_outline(background, region, COLOUR, width)
    np.testing.assert_array_equal(made, over_the_whole(background, region, width))
    np.testing.assert_array_equal(background, kept)


@pytest.mark.parametrize("share", [0.0, 0.003, 0.3, 0.5, 0.7, 1.0])
def test_a_mask_is_shrunk_as_by_a_box_filter_and_a_threshold_of_a_half(share: float) -> None:
    rng = np.random.default_rng(0)
    for _ in range(60):
        rows, columns = rng.integers(1, 120, 2)
        size = int(rng.integers(1, columns + 1)), int(rng.integers(1, rows + 1))
        mask = rng.random((rows, columns)) < share
        mask[: rows // 3], mask[:, columns // 2 :] = False, False
        shares = np.asarray(Image.fromarray(mask.astype(np.float32)).resize(size, Image.Resampling.BOX))
        expected = shares >= 0.5 if (shares >= 0.5).any() else shares > 0
        made = shrunk(mask, size)
        assert made is not None
        np.testing.assert_array_equal(made, expected)


def test_a_mask_that_would_grow_is_not_shrunk() -> None:
    assert shrunk(np.ones((5, 9), bool), (9, 6)) is None


def test_a_map_leaves_the_picture_as_it_is_where_it_shows_nothing(templates: Templates) -> None:
    background = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    region = regions()["disc"]
    values = ndimage.gaussian_filter(region.astype(np.float32), 3)
    made = with_finding(background, values, region, float(values.max()), templates.layout)
    far = ~ndimage.binary_dilation(values > 0, iterations=4)
    assert far.any()
    np.testing.assert_array_equal(made[far], background[far])
    assert (made[region] != background[region]).any()


@pytest.mark.parametrize("signed", [False, True])
def test_colours_are_those_of_the_named_map(templates: Templates, signed: bool) -> None:
    values = np.linspace(-1.2, 1.2, 1001).astype(np.float32)[None]
    maps = templates.layout.colour_maps
    share = (values + 1) / 2 if signed else values
    expected = matplotlib.colormaps[maps.signed if signed else maps.unsigned](np.clip(share, 0, 1))[..., :3] * 255
    np.testing.assert_array_equal(map_colours(values, templates.layout, signed=signed), expected)


def test_a_grey_frame_is_resized_as_its_three_equal_colours_would_be() -> None:
    frame = np.random.default_rng(0).random((120, 100)).astype(np.float32)
    for size in ((40, 60), (150, 160)):
        np.testing.assert_array_equal(plain(frame, size), plain(np.repeat(frame[..., None], 3, axis=2), size))
