"""Real World Value Mappings drawn at random: what comes out is what each says of the value, or there is nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from pydicom import Dataset

import synthetic
from imaging.test_real_world_values import mapping
from whyray.base.errors import ImageError
from whyray.imaging import read_images, values_in_unit
from whyray.packages.manifest import Intensity

PLANES = synthetic.stack(3, (4, 4), spacing=(4.0, 4.0), distance=4.0)
OF_TARGET = {"mm2/s": 1.0, "um2/s": 1e-6}
"""How many mm2/s one of each is; ms are of another quantity."""
LARGEST = 12
"""Stored value."""


@st.composite
def items(draw: st.DrawFn, first: int, last: int, units: tuple[str, ...]) -> dict[str, Any]:
    said: dict[str, Any] = {"unit": draw(st.sampled_from(units)), "first": first, "last": last}
    if draw(st.booleans()):
        slopes = st.sampled_from([1.0, 2.0, -1.0, 3.0, 0.5, 0.0])
        return {**said, "slope": draw(slopes), "intercept": draw(st.integers(0, 3))}
    return {**said, "table": draw(st.lists(st.integers(0, 20), min_size=last - first + 1, max_size=last - first + 1))}


@st.composite
def mappings(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Of parts of the range, and perhaps one of any other part beside them."""
    cut = draw(st.integers(1, LARGEST))
    made = [draw(items(*ends, tuple(OF_TARGET))) for ends in ((0, cut - 1), (cut, LARGEST))]
    if draw(st.integers(0, 3)) == 0:
        first = draw(st.integers(0, LARGEST))
        made.append(draw(items(first, draw(st.integers(first, LARGEST)), (*OF_TARGET, "ms"))))
    return made[draw(st.sampled_from([0, 0, 0, 1])) :]


def dataset_of(said: dict[str, Any]) -> Dataset:
    scale = 1 / OF_TARGET.get(said["unit"], 1.0)
    if "table" in said:
        entries = {"RealWorldValueLUTData": [float(scale * value) for value in said["table"]]}
        return mapping(said["unit"], said["first"], said["last"], **entries)
    line = {"RealWorldValueSlope": scale * said["slope"], "RealWorldValueIntercept": float(scale * said["intercept"])}
    return mapping(said["unit"], said["first"], said["last"], **line)


def meant(frame: list[dict[str, Any]], stored: int) -> set[float]:
    """What the mappings of a frame say of a stored value, in mm2/s; NaN of a line of slope 0."""
    values = set()
    for one in frame:
        if one["unit"] not in OF_TARGET or not one["first"] <= stored <= one["last"]:
            continue
        if "table" in one:
            values.add(float(one["table"][stored - one["first"]]))
        else:
            values.add(one["slope"] * stored + one["intercept"] if one["slope"] else np.nan)
    return values


@pytest.mark.parametrize("multi_frame", [False, True])
@drawn(
    st.lists(mappings(), min_size=3, max_size=3),
    st.integers(0, 2**32 - 1),
    st.integers(0, LARGEST),
)
@settings(max_examples=120, deadline=None, derandomize=True)
def test_each_frame_has_what_its_own_mappings_say_or_the_image_is_refused(
    multi_frame: bool, frames: list[list[dict[str, Any]]], seed: int, top: int
) -> None:
    stored = np.random.default_rng(seed).integers(0, top + 1, (3, 4, 4)).astype(np.int16)
    said = [[meant(frame, value) for value in range(LARGEST + 1)] for frame in frames]
    if multi_frame:
        made = [synthetic.enhanced(stored, PLANES, modality="MR", rescale=(1.0, 0.0))]
        holders = made[0].PerFrameFunctionalGroupsSequence
    else:
        made = holders = synthetic.slices(stored, PLANES, modality="MR", shuffled=False)
    for holder, frame in zip(holders, frames, strict=True):
        holder.RealWorldValueMappingSequence = [dataset_of(one) for one in frame]
    (image,) = read_images(made).or_raise()
    of_pixels = [[said[index][value] for value in stored[index].ravel()] for index in range(3)]
    intensity = Intensity(source="modality", window=(5.0, 10.0), unit="mm2/s")
    try:
        values = np.asarray(values_in_unit(image, intensity)).reshape(3, -1)
    except ImageError:
        unusable = any(one.get("slope") == 0 and one["unit"] in OF_TARGET for frame in frames for one in frame)
        one_of_each = all(len(of_value) <= 1 for frame in said for of_value in frame)
        all_mapped = all(of_pixel for frame in of_pixels for of_pixel in frame)
        assert unusable or not one_of_each or not all_mapped, "what was refused can be applied"
        return
    for frame, of_frame in zip(values, of_pixels, strict=True):
        for value, wanted in zip(frame, of_frame, strict=True):
            assert len(wanted) == 1
            assert value == pytest.approx(next(iter(wanted)), rel=1e-4)
