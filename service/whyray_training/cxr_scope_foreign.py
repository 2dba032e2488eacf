"""Images that are no radiograph of a chest, made by rule: what the scope network learns to tell from one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from whyray.base.arrays import FloatArray

Picture = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]


def foreign_picture(radiographs: Bytes, photographs: list[Bytes], side: int, rng: np.random.Generator) -> Picture:
    """(side, side) in 0..1: of a kind drawn at random.

    Parameters
    ----------
    radiographs
        (N, side, side), which some kinds are made of: pieces put together wrongly, spectra without their phases.
    photographs
        Grey pictures of at least 64 × 64 pixels, of which a part is cut; may be empty.
    """
    kinds: list[Callable[[], FloatArray]] = [
        lambda: _noise(side, rng),
        lambda: _blobs(side, rng),
        lambda: _long_bones(side, rng),
        lambda: _long_bones(side, rng),
        lambda: _slice(side, rng),
        lambda: _slice(side, rng),
        lambda: _stripes(side, rng),
        lambda: _pieces(_one_of(radiographs, rng), rng),
        lambda: _without_phase(_one_of(radiographs, rng), rng),
        lambda: _swirled(_one_of(radiographs, rng), rng),
    ]
    if photographs:
        kinds += [lambda: _part_of_photograph(photographs, side, rng)] * 4
    made = kinds[rng.integers(len(kinds))]()
    low, high = np.percentile(made, [0.5, 99.5])
    return np.asarray(np.clip((made - low) / max(high - low, 1e-6), 0, 1), np.float32)


def _one_of(radiographs: Bytes, rng: np.random.Generator) -> FloatArray:
    return np.asarray(radiographs[rng.integers(len(radiographs))], np.float32) / np.float32(255)


def _noise(side: int, rng: np.random.Generator) -> FloatArray:
    """White to smooth: power falls with frequency to the power of 0 to 4."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None]) + 1 / side
    spectrum = np.fft.fft2(rng.standard_normal((side, side))) * frequency ** -rng.uniform(0, 2)
    return np.asarray(np.fft.ifft2(spectrum).real, np.float32)


def _ellipse(
    side: int, rng: np.random.Generator, centre: tuple[float, float], radii: tuple[float, float]
) -> FloatArray:
    """Distance from the centre in radii: 1 on the rim."""
    turn = rng.uniform(0, np.pi)
    y, x = np.mgrid[:side, :side] / side
    y, x = y - centre[0], x - centre[1]
    along, across = y * np.cos(turn) + x * np.sin(turn), x * np.cos(turn) - y * np.sin(turn)
    return np.asarray(np.hypot(along / radii[0], across / radii[1]), np.float32)


def _blobs(side: int, rng: np.random.Generator) -> FloatArray:
    """Opaque ellipses of any grey, one over the other ('dead leaves')."""
    made = np.full((side, side), rng.random(), np.float32)
    for _ in range(rng.integers(3, 60)):
        radii = tuple(rng.uniform(0.02, 0.35, 2))
        made[_ellipse(side, rng, tuple(rng.random(2)), radii) < 1] = rng.random()
    return np.asarray(ndimage.gaussian_filter(made, rng.uniform(0, 2)), np.float32)


def _long_bones(side: int, rng: np.random.Generator) -> FloatArray:
    """Soft tissue as a band over the image, one to five bright shafts in it with wider ends, perhaps a joint."""
    y, x = np.mgrid[:side, :side] / side - 0.5
    turn = rng.uniform(-0.4, 0.4) + (np.pi / 2 if rng.random() < 0.3 else 0)
    along, across = y * np.cos(turn) + x * np.sin(turn), x * np.cos(turn) - y * np.sin(turn)
    joint = rng.uniform(-0.4, 0.4)
    widening = 1 + rng.uniform(0, 1.2) * np.exp(-(((along - joint) / rng.uniform(0.05, 0.15)) ** 2))
    width = rng.uniform(0.12, 0.45)
    tissue = np.clip((width - np.abs(across + 0.1 * along * rng.uniform(-1, 1))) / 0.05, 0, 1)
    made = tissue * rng.uniform(0.15, 0.6)
    count = rng.integers(1, 6)
    for index in range(count):
        place = 0.0 if count == 1 else (index / (count - 1) - 0.5) * width * rng.uniform(0.6, 1.4)
        half = rng.uniform(0.02, 0.12) / np.sqrt(count) * widening
        depth = np.clip(1 - ((across - place) / half) ** 2, 0, 1)
        shaft = np.sqrt(depth) * rng.uniform(0.2, 0.7) + (depth > 0) * (depth < 0.4) * rng.uniform(0, 0.25)
        made = made + shaft * (1 - np.exp(-(((along - joint) / 0.012) ** 2)) * (rng.random() < 0.7))
    made += rng.uniform(0, 0.03) * rng.standard_normal(made.shape)
    return np.asarray(ndimage.gaussian_filter(made, rng.uniform(0.3, 2)), np.float32)


def _slice(side: int, rng: np.random.Generator) -> FloatArray:
    """A cross-section: a bright or grey ring round soft tissue with darker and brighter parts, on black."""
    radii = tuple(rng.uniform(0.25, 0.48, 2))
    body = _ellipse(side, rng, tuple(rng.uniform(0.4, 0.6, 2)), radii)
    made = np.where(body < 1, rng.uniform(0.3, 0.6), 0.0)
    rim = rng.uniform(0.85, 0.97)
    made[(body > rim) & (body < 1)] = rng.uniform(0.4, 1.0)
    for _ in range(rng.integers(2, 14)):
        inner = _ellipse(side, rng, tuple(rng.uniform(0.25, 0.75, 2)), tuple(rng.uniform(0.02, 0.2, 2)))
        made[(inner < 1) & (body < rim)] = rng.random()
    made = ndimage.gaussian_filter(made, rng.uniform(0.5, 2.5)) + rng.uniform(0, 0.05) * rng.standard_normal(made.shape)
    return np.asarray(np.where(body < 1.05, made, 0), np.float32)


def _stripes(side: int, rng: np.random.Generator) -> FloatArray:
    """Gratings, checkerboards, ramps, pages with lines of dark words."""
    y, x = np.mgrid[:side, :side] / side
    turn, count = rng.uniform(0, np.pi), rng.uniform(0.2, 20)
    wave = np.sin(2 * np.pi * count * (x * np.cos(turn) + y * np.sin(turn)) + rng.uniform(0, 6))
    kind = rng.integers(4)
    if kind == 0:
        return np.asarray(wave, np.float32)
    if kind == 1:
        return np.asarray(np.sign(wave * np.sin(2 * np.pi * count * y)), np.float32)
    if kind == 2:
        return np.asarray(x * np.cos(turn) + y * np.sin(turn) + 0.1 * wave, np.float32)
    page = np.ones((side, side), np.float32)
    for row in range(8, side - 8, int(rng.integers(5, 14))):
        page[row : row + 3, 8:-8] = np.repeat(rng.random((side - 16) // 4 + 1) < 0.4, 4)[: side - 16]
    return page


def _pieces(picture: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Cut into 2 × 2 to 6 × 6 tiles that change their places."""
    count = int(rng.integers(2, 7))
    tile = len(picture) // count
    tiles = [picture[r * tile : (r + 1) * tile, c * tile : (c + 1) * tile] for r in range(count) for c in range(count)]
    order = rng.permutation(len(tiles))
    if (order == np.arange(len(tiles))).sum() > len(tiles) / 3:
        order = np.roll(np.arange(len(tiles)), 1)
    mixed = [np.hstack([tiles[i] for i in order[r * count : (r + 1) * count]]) for r in range(count)]
    small = np.vstack(mixed)
    return np.asarray(np.pad(small, [(0, len(picture) - len(small))] * 2, mode="edge"), np.float32)


def _without_phase(picture: FloatArray, rng: np.random.Generator) -> FloatArray:
    """The same power at each frequency, in another arrangement."""
    noise = np.fft.fft2(rng.standard_normal(picture.shape))
    return np.asarray(np.fft.ifft2(np.abs(np.fft.fft2(picture)) * noise / np.abs(noise)).real, np.float32)


def _swirled(picture: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Bent beyond what a body can be."""
    side = len(picture)
    fields = [ndimage.gaussian_filter(rng.standard_normal(picture.shape), side / 12) for _ in range(2)]
    shifts = [field / np.abs(field).max() * side * rng.uniform(0.2, 0.4) for field in fields]
    places = np.mgrid[:side, :side] + np.stack(shifts)
    return np.asarray(ndimage.map_coordinates(picture, places, order=1, mode="reflect"), np.float32)


def _part_of_photograph(photographs: list[Bytes], side: int, rng: np.random.Generator) -> FloatArray:
    whole = photographs[rng.integers(len(photographs))]
    size = int(min(whole.shape) * rng.uniform(0.4, 1.0))
    top, left = (int(rng.integers(length - size + 1)) for length in whole.shape)
    part = np.asarray(whole[top : top + size, left : left + size], np.float32)
    part = np.asarray(ndimage.zoom(part, side / size, order=1, grid_mode=True, mode="nearest"), np.float32)
    if rng.random() < 0.5:
        part = part[:, ::-1]
    return part if rng.random() < 0.7 else -part
