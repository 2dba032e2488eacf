"""Images that a chest package is not made for: radiographs spoilt by rules of the battery's own, and other things."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom import dcmread
from scipy import ndimage

Picture = np.ndarray
"""(rows, columns) float32 in 0..1, as displayed."""


def _half(picture: Picture) -> Picture:
    rows, columns = picture.shape
    return picture[rows // 4 : rows - rows // 4, columns // 4 : columns - columns // 4]


def _one_lung(picture: Picture) -> Picture:
    rows, columns = picture.shape
    return picture[rows // 8 : rows - rows // 4, : columns // 2]


SPOILT: dict[str, Callable[[Picture], Picture]] = {
    "inverted": lambda picture: 1 - picture,
    "rotated by 90°": lambda picture: np.rot90(picture),
    "rotated by 180°": lambda picture: np.rot90(picture, 2),
    "rotated by 270°": lambda picture: np.rot90(picture, 3),
    "mirrored": lambda picture: picture[:, ::-1],
    "cropped to the middle": _half,
    "cropped to one lung": _one_lung,
    "underexposed": lambda picture: picture * 0.25,
    "overexposed": lambda picture: np.clip(picture * 2.5, 0, 1),
}
"""By name: what is done to an ordinary radiograph."""


def noise(size: int, rng: np.random.Generator) -> Picture:
    return rng.random((size, size), np.float32)


def leg(size: int, rng: np.random.Generator) -> Picture:
    """Two shafts in soft tissue over black, the like of a lower leg; the upper end wider."""
    y, x = np.mgrid[:size, :size] / size - 0.5
    x = x + rng.uniform(-0.05, 0.05) + y * rng.uniform(-0.1, 0.1)
    tissue = np.clip((0.25 + 0.05 * np.cos(3 * y) - np.abs(x)) * 20, 0, 1) * 0.35
    for place, width in ((-0.06, 0.07), (0.11, 0.03)):
        half = width * (1 + 1.2 * np.exp(-(((y + 0.42) / 0.12) ** 2)))
        inside = np.clip(1 - ((x - place) / half) ** 2, 0, 1)
        tissue = tissue + 0.25 * np.sqrt(inside) + 0.2 * ((inside > 0) & (inside < 0.35))
    return np.clip(ndimage.gaussian_filter(tissue, 1.5) + rng.normal(0, 0.01, y.shape), 0, 1).astype(np.float32)


def knee(size: int, rng: np.random.Generator) -> Picture:
    """Two wide bone ends with a dark gap between them."""
    y, x = np.mgrid[:size, :size] / size - 0.5
    gap = rng.uniform(-0.05, 0.05)
    tissue = np.clip((0.33 + 0.04 * np.sin(4 * y) - np.abs(x)) * 15, 0, 1) * 0.3
    half = 0.1 + 0.13 * np.exp(-(((y - gap) / 0.15) ** 2))
    bone = np.clip(1 - (x / half) ** 2, 0, 1)
    made = tissue + 0.45 * np.sqrt(bone) * (np.abs(y - gap) > 0.015)
    made += 0.15 * (np.hypot((x - 0.02) / 0.08, (y - gap + 0.1) / 0.09) < 1)
    return np.clip(ndimage.gaussian_filter(made, 1.5) + rng.normal(0, 0.01, y.shape), 0, 1).astype(np.float32)


PHOTOGRAPHS = ("camera.png", "coins.png", "moon.png", "rocket.jpg", "motorcycle_right.png", "retina.jpg", "horse.png",
               "cell.png", "gravel.png", "text.png", "phantom.png", "clock_motion.png")  # fmt: skip
"""Of scikit-image's own pictures those that the scope package did not learn from."""


def photographs() -> Iterator[tuple[str, Picture]]:
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    for name in PHOTOGRAPHS:
        picture = Image.open(folder / name).convert("L")
        picture.thumbnail((512, 512))
        yield f"photograph {name}", np.asarray(picture, np.float32) / 255


def other_scans() -> Iterator[tuple[str, Picture]]:
    """CT, MR and other frames that come with pydicom, and with pydicom-data where that is installed."""
    from pydicom.data import get_testdata_file

    names = ("CT_small.dcm", "MR_small.dcm", "693_J2KR.dcm", "RG3_UNCR.dcm", "CT1_UNCR.dcm", "MR1_UNCR.dcm",
             "MR2_UNCR.dcm", "XA1_UNCR.dcm", "NM1_UNCR.dcm", "US1_UNCR.dcm", "examples_overlay.dcm")  # fmt: skip
    for name in names:
        try:
            path = get_testdata_file(name, download=False)
            pixels = None if path is None else dcmread(path).pixel_array
        except Exception:  # a file that this installation can't decode is no image for the battery
            continue
        if pixels is not None:
            frame = pixels if pixels.ndim == 2 else pixels[len(pixels) // 2] if pixels.ndim == 3 else None
            if frame is not None and min(frame.shape) >= 32:
                low, high = np.percentile(frame, [1, 99])
                grey = np.clip((frame.astype(np.float32) - low) / max(high - low, 1e-6), 0, 1)
                yield f"scan {name}", grey.astype(np.float32)


def slices(folder: Path, most: int = 8) -> Iterator[tuple[str, Picture]]:
    """Slices of a CT series in a brain window, evenly apart."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix in ("", ".dcm", ".ima", ".IMA"))
    for path in files[:: max(1, len(files) // most)][:most]:
        data = dcmread(path)
        hounsfield = data.pixel_array * float(data.RescaleSlope) + float(data.RescaleIntercept)
        yield f"slice {path.stem}", np.clip((hounsfield + 60) / 200, 0, 1).astype(np.float32)
