"""Answers about given images, with maps and cards made to measure, for the tests of results."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
from pydicom import Dataset

from whyray.base.coded_concept import CodedConcept
from whyray.config import ResultKind
from whyray.imaging import SourceImage, read_images
from whyray.packages import TargetSpec
from whyray.quality import Grade, Measurement, QualityCard
from whyray.results import EVERY_KIND, Answer, Finding, MapInSource, PackageIdentity

AT = datetime(2026, 3, 4, 15, 16, 17, tzinfo=timezone(timedelta(hours=1)))
DEVICE_UID = "2.25.305419896"
PACKAGE = PackageIdentity(
    name="cxr-findings",
    version="1.2.3",
    title="Chest findings",
    manufacturer="WhyRay contributors",
    task="multi-label",
    digest="0123456789abcdef" * 4,
)
CARDIOMEGALY = TargetSpec(
    name="Cardiomegaly",
    code=CodedConcept(value="8186001", scheme="SCT", meaning="Cardiomegaly"),
    anatomy=CodedConcept(value="80891009", scheme="SCT", meaning="Heart"),
    threshold=0.4,
)
NODULE = TargetSpec(name="Nodule", threshold=0.5)
KINDS_OF_A_MAP = tuple(kind for kind in EVERY_KIND if kind != "cine")
"""What an answer with a heatmap gives: everything but what counterfactuals alone have."""
FOUR_KINDS: tuple[ResultKind, ...] = ("sc", "seg", "pm", "sr")
"""What refers to each other in a report: more than the default."""


def image_of(sources: Sequence[Path | str | Dataset], index: int = 0) -> SourceImage:
    return read_images(sources).or_raise()[index]


def card(grade: Grade, aspect: str = "fidelity") -> QualityCard:
    return QualityCard(
        (
            Measurement(
                "Deletion AUC", aspect, 0.21, 0.34, grade, "below random orders", "Petsiuk 2018, section 4.1", 40
            ),
            Measurement("Entropy", "complexity", 0.4, None, Grade.GREEN, "below 0.9", "Bhatt 2020, eq. 5"),
        )
    )


def blob(image: SourceImage, centre: tuple[int, int, int], radius: float = 0.12) -> np.ndarray:
    """A smooth map with its only maximum at one voxel (frame, row, column)."""
    axes = [(np.arange(size) - at) / max(size * radius, 1.0) for size, at in zip(image.shape, centre, strict=True)]
    grids = np.meshgrid(*axes, indexing="ij")
    return np.exp(-sum(grid**2 for grid in grids)).astype(np.float32)


def a_map(
    image: SourceImage,
    values: np.ndarray,
    *,
    grade: Grade = Grade.GREEN,
    aspect: str = "fidelity",
    method: str = "grad-cam",
    signed: bool = False,
) -> MapInSource:
    top = float(np.abs(values).max())
    return MapInSource(
        method=method,
        values=np.asarray(values, np.float32),
        covered=np.ones(image.shape, bool),
        region=((values if signed else np.abs(values)) >= 0.5 * top) if top else np.zeros(image.shape, bool),
        region_rule="at least 50 % of the maximum",
        signed=signed,
        unit="logit",
        card=card(grade, aspect),
        layer="features.norm5",
        parameters={"relu": True},
    )


def centre_of(image: SourceImage) -> tuple[int, int, int]:
    frames, rows, columns = image.shape
    return frames // 2, rows // 3, columns * 2 // 3


def answer_about(image: SourceImage, findings: Sequence[Finding] | None = None, **changes: object) -> Answer:
    if findings is None:
        lit = a_map(image, blob(image, centre_of(image)))
        findings = (
            Finding(CARDIOMEGALY, present=True, probability=0.82, maps=(lit,)),
            Finding(NODULE, present=False, probability=0.03),
        )
    made = {
        "package": PACKAGE,
        "image": image,
        "findings": tuple(findings),
        "route": "chest radiographs",
        "at": AT,
        "device_uid": DEVICE_UID,
    }
    return Answer(**{**made, **changes})  # type: ignore[arg-type]
