"""Graphs that make masked images where a model runs, here on ONNX Runtime's CPU provider, against numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whyray.base.errors import PackageError
from whyray.explain.masks import Masks, Segments, ShiftedGrids, UpsampledGrids, Windows
from whyray.explain.occlusion import windows
from whyray.explain.rise import mask_numbers
from whyray.inference import RuntimeOptions
from whyray.inference.masked_passes import MaskedPass, MaskedPasses, MaskNumbers, MaskSums, RegionScores
from whyray.inference.session import placed

CPU = RuntimeOptions(device="cpu", intra_op_threads=1, perturbed_on="device")
SHAPES = st.one_of(st.tuples(*[st.integers(1, 24)] * 2), st.tuples(*[st.integers(1, 12)] * 3))
SEEDS = st.integers(0, 2**32 - 1)
FEW = settings(max_examples=60, deadline=None)


def images(shape: tuple[int, ...], channels: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    shown, hidden = rng.normal(0, 2, (2, 1, channels, *shape)).astype(np.float32)
    return shown, hidden


def passes(masks: Masks, shown: np.ndarray, hidden: np.ndarray, input_type: Any = np.float32) -> MaskedPasses:
    """Of a model that answers with what it was given."""
    return MaskedPasses(
        masks.rule,
        shown,
        hidden,
        input_type=input_type,
        options=CPU,
        answer=lambda batch: batch,
        on_host=lambda raw, count: raw,
    )


def both(masks: Masks, numbers: MaskNumbers, shown: np.ndarray, hidden: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The images that numpy makes, and those of the graph."""
    there = passes(masks, shown, hidden)
    return masks.images(shown, hidden, masks.masks(numbers)), there.logits(there.run(numbers))


@given(SHAPES, st.integers(1, 9), st.integers(1, 3), st.integers(1, 4), SEEDS)
@FEW
def test_shifted_grids_are_those_of_numpy(
    shape: tuple[int, ...], cells: int, channels: int, count: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    masks = ShiftedGrids(shape, cells)
    numbers = mask_numbers(masks, 0.5, count, rng)
    shown, hidden = images(shape, channels, rng)
    expected, perturbed = both(masks, numbers, shown, hidden)
    assert perturbed.shape == (count, channels, *shape)
    assert np.abs(perturbed - expected).max() <= 1e-6 * max(1, np.abs(shown - hidden).max())
    drawn = passes(masks, shown, hidden).run(numbers, masks=True).masks.numpy()
    assert np.abs(drawn - masks.masks(numbers)).max() <= 1e-6


@given(SHAPES, st.data(), st.booleans(), st.integers(1, 4), SEEDS)
@FEW
def test_upsampled_grids_are_those_of_numpy(
    shape: tuple[int, ...], data: st.DataObject, scaled: bool, count: int, seed: int
) -> None:
    counts = data.draw(st.tuples(*(st.integers(1, 2 * size) for size in shape)))
    rng = np.random.default_rng(seed)
    cells = rng.random((count, *counts)).astype(np.float32)
    masks = UpsampledGrids(shape, counts, scaled=scaled)
    made = UpsampledGrids(shape, counts).masks({"cells": cells}).reshape(count, -1)
    if scaled and np.ptp(made, axis=1).min() < 0.1:
        return  # of a mask that is the same everywhere, what is scaled to 0..1 is rounding
    shown, hidden = images(shape, 1, rng)
    expected, perturbed = both(masks, {"cells": cells}, shown, hidden)
    assert np.abs(perturbed - expected).max() <= (1e-5 if scaled else 2e-6) * max(1, np.abs(shown - hidden).max())


@given(SHAPES, st.data(), st.integers(1, 3), SEEDS)
@FEW
def test_windows_are_exactly_those_of_numpy_also_where_the_border_cuts_them(
    shape: tuple[int, ...], data: st.DataObject, channels: int, seed: int
) -> None:
    window, stride = (data.draw(st.tuples(*(st.integers(1, size) for size in shape))) for _ in range(2))
    places = windows(shape, window, stride)
    rng = np.random.default_rng(seed)
    places = [places[number] for number in rng.permutation(len(places))[:6]]
    masks = Windows(shape, window)
    shown, hidden = images(shape, channels, rng)
    expected, perturbed = both(masks, masks.numbers(places), shown, hidden)
    assert np.array_equal(perturbed, expected)
    for image, place in zip(perturbed, places, strict=True):
        inside = np.zeros(shape, bool)
        inside[place] = True
        assert np.array_equal(image, np.where(inside, hidden[0], shown[0]))


@given(SHAPES, st.integers(1, 9), st.integers(1, 3), st.integers(1, 4), SEEDS)
@FEW
def test_segments_are_exactly_those_of_numpy(
    shape: tuple[int, ...], segments: int, channels: int, count: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    masks = Segments(rng.integers(0, segments, shape))
    shown, hidden = images(shape, channels, rng)
    expected, perturbed = both(masks, {"keep": rng.random((count, segments)) < 0.5}, shown, hidden)
    assert np.array_equal(perturbed, expected)


@pytest.mark.parametrize("shape", [(9, 11), (4, 5, 6)])
def test_a_model_in_half_precision_gets_what_numpy_rounds_to_it(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    shown, hidden = images(shape, 2, rng)
    segments = Segments(rng.integers(0, 5, shape))
    numbers = {"keep": rng.random((3, 5)) < 0.5}
    made = passes(segments, shown, hidden, np.float16).run(numbers).logits.numpy()
    assert made.dtype == np.float16
    assert np.array_equal(made, segments.images(shown, hidden, segments.masks(numbers)).astype(np.float16))
    grids = ShiftedGrids(shape, 3)
    numbers = mask_numbers(grids, 0.5, 3, rng)
    made = passes(grids, shown, hidden, np.float16).run(numbers).logits.numpy()
    expected = grids.images(shown, hidden, grids.masks(numbers))
    assert np.abs(made.astype(np.float32) - expected).max() <= 2**-10 * np.abs(expected).max()


@given(SHAPES, st.integers(1, 4), st.lists(st.integers(1, 4), min_size=1, max_size=3), SEEDS)
@FEW
def test_sums_of_masks_are_those_of_numpy(shape: tuple[int, ...], targets: int, batches: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    sums = MaskSums(shape, targets, CPU)
    weighted, alone = np.zeros((targets, *shape)), np.zeros(shape)
    for count in batches:
        scores = rng.normal(size=(count, targets)).astype(np.float32)
        masks = rng.random((count, *shape)).astype(np.float32)
        sums.add(scores, placed(masks, "cpu"))
        weighted += np.tensordot(scores.T.astype(np.float64), masks, axes=1)
        alone += masks.sum(axis=0, dtype=np.float64)
    summed, masks_alone = sums.values()
    assert summed.dtype == masks_alone.dtype == np.float64
    assert np.abs(summed - weighted).max() <= 1e-5
    assert np.abs(masks_alone - alone).max() <= 1e-5


@given(SHAPES, st.integers(1, 4), st.integers(1, 3), st.sampled_from([np.float32, np.float16]), SEEDS)
@FEW
def test_scores_of_regions_are_those_of_numpy(
    grid: tuple[int, ...], count: int, items: int, kind: Any, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    targets = sorted({int(target) for target in rng.integers(0, count, 2)})
    regions = rng.random((len(targets), *grid)).astype(np.float32)
    regions /= regions.reshape(len(targets), -1).sum(axis=1).reshape(-1, *[1] * len(grid))
    logits = rng.normal(size=(items, count, *grid)).astype(kind)
    scores = RegionScores(targets, regions, count, CPU).of(MaskedPass(items, placed(logits, "cpu")))
    picked = logits[:, targets].astype(np.float64) * regions
    assert scores is not None
    assert np.abs(scores - picked.reshape(items, len(targets), -1).sum(axis=2)).max() <= 1e-5


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_an_output_that_is_not_finite_or_of_another_shape_is_left_to_the_host(wrong: float) -> None:
    regions = np.full((1, 4, 4), 1 / 16, np.float32)
    scores = RegionScores([1], regions, 3, CPU)
    logits = np.zeros((2, 3, 4, 4), np.float32)
    assert scores.of(MaskedPass(2, placed(logits, "cpu"))) is not None
    assert scores.of(MaskedPass(2, placed(np.zeros((2, 4, 4, 3), np.float32), "cpu"))) is None
    logits[1, 0, 2, 2] = wrong  # of a target that nobody explains: the host would refuse it all the same
    assert scores.of(MaskedPass(2, placed(logits, "cpu"))) is None


def test_numbers_that_do_not_fit_are_refused_with_what_was_to_be_made() -> None:
    shown, hidden = images((6, 7), 1, np.random.default_rng(0))
    there = passes(UpsampledGrids((6, 7), (2, 3)), shown, hidden)
    with pytest.raises(PackageError, match="images with parts hidden could not be made on CPUExecutionProvider"):
        there.run({"cells": np.ones((2, 3, 3), np.float32)})
