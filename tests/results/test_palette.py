"""Pages in 256 colours look as they were drawn; what would not, stays in true colour."""

from __future__ import annotations

import numpy as np
from pydicom.pixels import apply_color_lut

from results.answers import answer_about, image_of
from results.sources import read
from synthetic import radiograph
from whyray.results import build_results, compressed, encode
from whyray.results.palette import in_palette


def test_a_picture_of_few_colours_is_kept_as_it_is():
    picture = np.random.default_rng(0).integers(0, 6, (40, 50, 3), np.uint8) * 50
    kept = in_palette(picture)
    assert kept is not None
    np.testing.assert_array_equal(kept.picture, picture)


def test_greys_change_by_one_at_most_and_rare_colours_hardly():
    rng = np.random.default_rng(0)
    picture = np.repeat(np.tile(np.arange(256, dtype=np.uint8), (256, 1))[..., np.newaxis], 3, axis=2)
    heat = picture[:60, :200].astype(float)
    picture[:60, :200] = heat * 0.7 + rng.integers(0, 60, (60, 200, 1)) * np.array([1.0, 0.6, 0.1])
    picture[100, 100] = 0, 170, 255
    kept = in_palette(picture)
    assert kept is not None
    assert len(kept.colours) <= 256
    changes = np.abs(kept.picture.astype(int) - picture).max(axis=2)
    grey = (picture == picture[..., :1]).all(axis=2)
    assert changes[grey].max() <= 1
    assert changes.max() <= 16
    assert (np.diff(kept.colours @ [299, 587, 114]) >= 0).all(), "neighbours in the table look alike"


def test_a_smooth_picture_of_very_many_colours_stays_in_true_colour():
    for steps in (80, 256):
        rows, columns = np.indices((steps, steps)) * 255 // (steps - 1)
        assert in_palette(np.stack([rows, columns, 255 - rows], axis=2).astype(np.uint8)) is None


def test_a_page_is_in_a_palette_that_readers_know_and_a_third_of_true_colour(templates):
    source = radiograph(np.add.outer(np.arange(120), np.arange(90)) * 8, study="palette")
    for result in build_results(answer_about(image_of([source])), ["sc"], templates):
        dataset = read(encode(result.dataset))
        assert dataset.PhotometricInterpretation == "PALETTE COLOR"
        shown = apply_color_lut(dataset.pixel_array, dataset) // 257
        np.testing.assert_array_equal(shown, result.picture)
        assert len(dataset.PixelData) <= dataset.Rows * dataset.Columns + 1
        again = read(compressed(encode(result.dataset), "jpeg-ls"))
        np.testing.assert_array_equal(again.pixel_array, dataset.pixel_array)


def test_a_page_that_needs_true_colour_has_it(monkeypatch, templates):
    source = radiograph(np.add.outer(np.arange(120), np.arange(90)) * 8, study="palette")
    monkeypatch.setattr("whyray.results.palette._FAITHFUL", -1.0)
    for result in build_results(answer_about(image_of([source])), ["sc"], templates):
        dataset = read(encode(result.dataset))
        assert (dataset.PhotometricInterpretation, dataset.PlanarConfiguration) == ("RGB", 0)
        np.testing.assert_array_equal(dataset.pixel_array, result.picture)
