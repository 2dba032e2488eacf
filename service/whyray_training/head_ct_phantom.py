"""Draws procedural phantoms of heads in HU with their labels, evaluated at any points, so at any orientation.

Skull, brain, ventricles, bleeding, calcification, scalp, orbits, sinuses, face bones, neck, table and holder, each
drawn at random; shapes are bent by a smooth random field. They teach what two series can't: that heads differ.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from whyray.base.arrays import DoubleArray
from whyray_training.head_ct_labels import BACKGROUND, BONE, SOFT_TISSUE

Labels = npt.NDArray[np.uint8]
AIR = -1024.0


@dataclass
class _Canvas:
    """HU and labels over points (..., 3) mm: towards the head, back and left, from the middle of the head."""

    points: DoubleArray
    hu: DoubleArray
    labels: Labels

    def paint(self, where: npt.NDArray[np.bool_], hu: float, label: int) -> None:
        self.hu[where] = hu
        self.labels[where] = label

    def ellipsoid(self, centre: DoubleArray, radii: DoubleArray) -> DoubleArray:
        """0 in the middle, 1 on the surface."""
        return np.asarray(np.sqrt((((self.points - centre) / radii) ** 2).sum(axis=-1)))


def phantom(points: DoubleArray, random: np.random.Generator) -> tuple[npt.NDArray[np.float32], Labels]:
    """HU and labels at (..., 3) mm (towards the head, the back, the left) of one random head around the origin."""
    canvas = _Canvas(_bent(points, random), np.full(points.shape[:-1], AIR), np.zeros(points.shape[:-1], np.uint8))
    radii = np.array([random.uniform(62, 82), random.uniform(74, 95), random.uniform(60, 78)])
    _table(canvas, points, radii, random)
    _soft_parts(canvas, radii, random)
    _face(canvas, radii, random)
    _skull_and_brain(canvas, radii, random)
    return canvas.hu.astype(np.float32), canvas.labels


def _bent(points: DoubleArray, random: np.random.Generator) -> DoubleArray:
    bent = points.copy()
    for wavelength in (170.0, 70.0, 35.0):
        for axis in range(3):
            direction = random.normal(size=3)
            direction *= 2 * np.pi / (wavelength * np.linalg.norm(direction))
            bent[..., axis] += (
                random.uniform(0, 0.03) * wavelength * np.sin(points @ direction + random.uniform(0, 6.3))
            )
    return bent


def _table(canvas: _Canvas, straight: DoubleArray, radii: DoubleArray, random: np.random.Generator) -> None:
    """A shell of plastic or carbon behind the head, sometimes with foam inside."""
    if random.random() < 0.15:
        return
    wide, deep = radii[2] + random.uniform(22, 45), radii[1] + random.uniform(14, 40)
    distance = np.sqrt((straight[..., 2] / wide) ** 2 + (straight[..., 1] / deep) ** 2)
    behind = straight[..., 1] > random.uniform(-30, 40)
    thickness = random.uniform(1.5, 4.0) / wide
    if random.random() < 0.5:
        canvas.paint((distance < 1) & behind, random.uniform(-1000, -850), BACKGROUND)
    canvas.paint((np.abs(distance - 1) < thickness) & behind, random.uniform(-250, 350), BACKGROUND)
    if random.random() < 0.3:
        bed = straight[..., 1] > deep + random.uniform(3, 15)
        canvas.paint(bed & (straight[..., 1] < deep + random.uniform(18, 40)), random.uniform(-800, 150), BACKGROUND)


def _soft_parts(canvas: _Canvas, radii: DoubleArray, random: np.random.Generator) -> None:
    """Scalp with fat, and the neck; sometimes none, as in a dry skull."""
    if random.random() < 0.12:
        return
    scalp = radii + random.uniform(5, 13)
    head = canvas.ellipsoid(np.zeros(3), scalp) < 1
    lower = canvas.points[..., 0] < 0
    neck_back, neck_wide = random.uniform(45, 75), random.uniform(45, 65)
    neck = (((canvas.points[..., 1] - 15) / neck_back) ** 2 + (canvas.points[..., 2] / neck_wide) ** 2 < 1) & lower
    face = canvas.ellipsoid(np.array([-65.0, -35.0, 0.0]), np.array([random.uniform(50, 70), 62.0, 60.0])) < 1
    canvas.paint(head | neck | face, random.uniform(20, 65), SOFT_TISSUE)
    fat = canvas.labels == SOFT_TISSUE
    canvas.paint(
        fat & (canvas.ellipsoid(np.zeros(3), radii + random.uniform(2, 6)) > 1) & ~neck,
        random.uniform(-120, 20),
        SOFT_TISSUE,
    )
    for side in (-1.0, 1.0):
        ear = canvas.ellipsoid(np.array([-25.0, 10.0, side * (scalp[2] + 2)]), np.array([25.0, 12.0, 9.0])) < 1
        canvas.paint(ear, random.uniform(-80, 40), SOFT_TISSUE)


def _face(canvas: _Canvas, radii: DoubleArray, random: np.random.Generator) -> None:
    """Orbits, nasal cavity and sinuses with thin walls, jaw, vertebra with its canal."""
    for side in (-1.0, 1.0):
        orbit = np.array([-random.uniform(22, 38), -radii[1] * 0.78, side * random.uniform(28, 36)])
        canvas.paint(canvas.ellipsoid(orbit, np.full(3, 22.0)) < 1, random.uniform(600, 1100), BONE)
        canvas.paint(canvas.ellipsoid(orbit, np.full(3, 19.5)) < 1, random.uniform(-110, -40), SOFT_TISSUE)
        canvas.paint(canvas.ellipsoid(orbit + np.array([0, -8.0, 0]), np.full(3, 12.0)) < 1, 20.0, SOFT_TISSUE)
        sinus = np.array([-random.uniform(55, 75), -radii[1] * 0.62, side * random.uniform(22, 32)])
        canvas.paint(canvas.ellipsoid(sinus, np.array([18.0, 17, 15])) < 1, random.uniform(500, 1000), BONE)
        canvas.paint(canvas.ellipsoid(sinus, np.array([15.5, 14.5, 12.5])) < 1, AIR, BACKGROUND)
        jaw = canvas.ellipsoid(np.array([-random.uniform(75, 95), -20.0, side * 48.0]), np.array([35.0, 14, 6])) < 1
        canvas.paint(jaw, random.uniform(700, 1500), BONE)
    nose = canvas.ellipsoid(np.array([-55.0, -radii[1] * 0.72, 0.0]), np.array([28.0, 24, 11]))
    canvas.paint(nose < 1, AIR, BACKGROUND)
    canvas.paint((np.abs(canvas.points[..., 2]) < 1.2) & (nose < 1), 300.0, BONE)
    throat = canvas.ellipsoid(np.array([-85.0, -18.0, 0.0]), np.array([35.0, 8, 12])) < 1
    canvas.paint(throat, AIR, BACKGROUND)
    down, spine = canvas.points[..., 0] < -radii[0] * 0.9, random.uniform(15, 32)
    ring = np.sqrt((canvas.points[..., 1] - spine) ** 2 + canvas.points[..., 2] ** 2)
    canvas.paint(down & (ring < random.uniform(19, 26)), random.uniform(300, 800), BONE)
    canvas.paint(down & (ring < random.uniform(9, 13)), 30.0, SOFT_TISSUE)


def _skull_and_brain(canvas: _Canvas, radii: DoubleArray, random: np.random.Generator) -> None:
    thickness = random.uniform(3.0, 9.0)
    depth = canvas.ellipsoid(np.zeros(3), radii)
    floor = (
        canvas.points[..., 0] > -radii[0] * random.uniform(0.72, 0.92) + 0.25 * canvas.points[..., 1] * random.random()
    )
    skull = (depth < 1) & floor
    canvas.paint(skull, random.uniform(650, 1500), BONE)
    marrow = np.abs(depth - (1 - 0.5 * thickness / radii[1])) < 0.15 * thickness / radii[1]
    canvas.paint(skull & marrow, random.uniform(250, 800), BONE)
    height = canvas.points[..., 0] - thickness
    inner_floor = height > -radii[0] * 0.78 - 0.2 * canvas.points[..., 1]
    inside = (canvas.ellipsoid(np.zeros(3), radii - thickness) < 1) & floor & inner_floor
    if random.random() < 0.12:
        _dry_skull(canvas, inside, radii, random)
        return
    canvas.paint(inside, random.uniform(25, 45), SOFT_TISSUE)
    white = canvas.ellipsoid(np.array([8.0, 0, 0]), radii - thickness - random.uniform(8, 14)) < 1
    canvas.paint(inside & white, random.uniform(20, 35), SOFT_TISSUE)
    for side in (-1.0, 1.0):
        ventricle = canvas.ellipsoid(
            np.array([10.0, random.uniform(-10, 10), side * random.uniform(8, 18)]),
            np.array([random.uniform(6, 16), random.uniform(18, 34), random.uniform(4, 10)]),
        )
        canvas.paint(inside & (ventricle < 1), random.uniform(0, 12), SOFT_TISSUE)
    for _ in range(random.integers(0, 5)):
        place, size = random.normal(size=3) * radii * 0.4, random.uniform(2, 20)
        hu = random.uniform(120, 500) if size < 6 else random.uniform(0, 95)
        canvas.paint(inside & (canvas.ellipsoid(place, np.full(3, size)) < 1), hu, SOFT_TISSUE)
    if random.random() < 0.4:
        falx = (np.abs(canvas.points[..., 2]) < 1.5) & (canvas.points[..., 0] > 10)
        canvas.paint(inside & falx, random.uniform(50, 250), SOFT_TISSUE)
    if random.random() < 0.15:
        burr = canvas.ellipsoid(
            radii * random.normal(size=3) * 0.4 + np.array([radii[0] * 0.7, 0, 0]), np.full(3, 12.0)
        )
        canvas.paint((burr < 1) & skull & ~inside, 30.0, SOFT_TISSUE)


def _dry_skull(canvas: _Canvas, inside: npt.NDArray[np.bool_], radii: DoubleArray, random: np.random.Generator) -> None:
    """An empty skull with inserts, as quality assurance uses."""
    canvas.paint(inside, AIR, BACKGROUND)
    for _ in range(random.integers(2, 7)):
        place, size = random.normal(size=3) * radii * 0.3, random.uniform(6, 25, 3)
        canvas.paint(inside & (canvas.ellipsoid(place, size) < 1), random.uniform(-100, 200), SOFT_TISSUE)
