"""Head CT as the training script takes it: read, labelled and brought to the package's grid by the service's own code.

Image and labels go through `whyray.imaging.to_model`, so that a network is trained and measured on exactly what it
gets at run time, whatever tilt or slice distance.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from whyray.demo.phantom import Scan, write_phantom
from whyray.imaging import SourceImage, read_images, to_model
from whyray.packages import InputSpec
from whyray.packages.manifest import Intensity
from whyray_training.head_ct_labels import CLASSES, derive_labels
from whyray_training.head_ct_phantom import phantom

SHAPE = (32, 96, 96)
SPACING = (5.0, 2.5, 2.5)
WINDOW = (100.0, 1400.0)


@dataclass(frozen=True)
class Case:
    """A head on the package's grid.

    image: (D, H, W) float32 in 0..1, as the network takes it; labels: (D, H, W) uint8, numbers of CLASSES;
    valid: (D, H, W), where the series has slices.
    """

    image: npt.NDArray[np.float32]
    labels: npt.NDArray[np.uint8]
    valid: npt.NDArray[np.bool_]

    @property
    def hu(self) -> npt.NDArray[np.float32]:
        """HU, within the window."""
        return np.asarray((self.image - 0.5) * WINDOW[1] + WINDOW[0], dtype=np.float32)


def read_volume(folder: Path) -> SourceImage:
    """The volume of the most slices in `folder`."""
    volumes = read_images(sorted(path for path in folder.iterdir() if path.is_file())).images
    if not volumes:
        raise FileNotFoundError(f"no CT slices in {folder}")
    return max(volumes, key=lambda volume: len(volume.frames))


def label_source(image: SourceImage) -> npt.NDArray[np.uint8]:
    """Labels on the pixels of the source, derived on pixels of twice the size."""
    slices, rows, columns = image.modality.shape
    halved = (
        np.asarray(image.modality).reshape(slices, rows // 2, 2, columns // 2, 2).mean(axis=(2, 4), dtype=np.float32)
    )
    affines = np.array([frame.to_patient for frame in image.frames])
    normal = affines[0, :3, 2] / np.linalg.norm(affines[0, :3, 2])
    heights = affines[:, :3, 3] @ normal
    distance = abs(float(heights[-1] - heights[0])) / (slices - 1)
    labels = derive_labels(halved, 2 * float(np.linalg.norm(affines[0, :3, 0])), distance)
    return labels.repeat(2, axis=1).repeat(2, axis=2)


def on_grid(image: SourceImage, labels: npt.NDArray[np.uint8], spec: InputSpec, zoom: float = 1.0) -> Case:
    """Image and labels on the grid of `spec`, with voxels `zoom` times as large; the class that fills most wins."""
    if spec.spacing is None:
        raise ValueError("the head-CT package has a fixed spacing")
    spec = spec.model_copy(update={"spacing": tuple(zoom * step for step in spec.spacing)})
    prepared = to_model(image, spec)
    masks = spec.model_copy(update={"intensity": Intensity(source="modality", window=(0.5, 1.0))})
    shares = [
        to_model(replace(image, modality=(labels == number).astype(np.float32)), masks).tensor[0, 0]
        for number in range(1, len(CLASSES))
    ]
    filled = np.stack([1 - np.sum(shares, axis=0), *shares]).argmax(axis=0).astype(np.uint8)
    return Case(prepared.tensor[0, 0], filled, prepared.valid)


def demo_head(scan: Scan, spec: InputSpec) -> Case:
    """The head that the demo sends, scanned as `scan` says, labelled by the same rules as the real series."""
    with tempfile.TemporaryDirectory() as folder:
        write_phantom(Path(folder), scan)
        image = read_volume(Path(folder))
    return on_grid(image, label_source(image), spec)


def random_scan(random: np.random.Generator) -> Scan:
    """A tilt, turn, spacing and noise for `demo_head`; never the seed that the demo itself takes."""
    pixel = float(random.uniform(1.0, 1.4))
    return Scan(
        slices=int(random.integers(24, 34)),
        distance=float(random.uniform(4.0, 6.0)),
        size=192,
        spacing=(pixel, pixel),
        rotation=tuple(float(angle) for angle in random.uniform(-15, 15, 3)),  # type: ignore[arg-type]
        tilt=float(random.uniform(-20, 20)),
        seed=int(random.integers(1000, 100_000)),
        noise=float(random.uniform(2, 30)),
    )


def random_head(random: np.random.Generator) -> Case:
    """A head of `head_ct_phantom`, turned by up to 20 degrees, off centre, at up to 15 % other spacing."""
    steps = np.array(SPACING) * random.uniform(0.85, 1.15)
    axes = [(np.arange(size) - (size - 1) / 2) * step for size, step in zip(SHAPE, steps, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1) @ _turned(random, 20.0) + random.uniform(-15, 15, 3)
    hu, labels = phantom(points, random)
    return Case(windowed(hu), labels, np.ones(SHAPE, np.bool_))


def windowed(hu: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """HU to 0..1, as `intensity` in model.yaml says."""
    centre, width = WINDOW
    return np.asarray(np.clip((hu - centre) / width + 0.5, 0, 1), dtype=np.float32)


def _turned(random: np.random.Generator, degrees: float) -> npt.NDArray[np.float64]:
    return np.asarray(Rotation.from_euler("xyz", random.uniform(-degrees, degrees, 3), degrees=True).as_matrix())
