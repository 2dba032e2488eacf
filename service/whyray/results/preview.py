"""Every kind of page in every language, about an image that exists nowhere: what a site's edits look like."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
from pydicom import Dataset

from whyray.base.arrays import FloatArray
from whyray.imaging import SourceFrame, SourceImage
from whyray.packages import TargetSpec
from whyray.quality import Grade, Measurement, QualityCard
from whyray.results.answer import Answer, Finding, MapInSource, PackageIdentity
from whyray.results.page import (
    Page,
    legible_wording,
    map_details,
    map_pages,
    mask_pages,
    notice_page,
    on_paper,
    sheets,
    summary_page,
)
from whyray.results.page.overlay import Picture
from whyray.results.refusal import Refusal
from whyray.results.template_layout import Layout
from whyray.results.templates import Templates
from whyray.results.wording import Wording

_AT = datetime(2026, 1, 2, 15, 4, 5, tzinfo=UTC)
_DEVICE_UID = "2.25.1"
"""Of no installation: a preview is made from no study and sent nowhere."""
_PACKAGE = PackageIdentity("preview", "1.0.0", "Preview of pages", "WhyRay", "multi-label", "0123456789abcdef" * 4)


def previews(templates: Templates) -> Iterator[tuple[str, Picture]]:
    """(name, picture) of every page, e.g. ('de/overlay', …); the same templates give the same pictures.

    A language that no installed font can write is shown as results have it: in English.
    """
    planar, volume = _planar(), _volume()
    for language in sorted(templates.wordings):
        wording = legible_wording(templates, language)
        for name, picture in _in_one_language(planar, volume, templates.layout, wording):
            yield f"{language}/{name}", picture


def _in_one_language(
    planar: SourceImage, volume: SourceImage, layout: Layout, wording: Wording
) -> Iterator[tuple[str, Picture]]:
    film, series = _answer(planar), _answer(volume)
    finding = film.findings[0]
    yield "summary", summary_page(film, layout, wording).picture
    yield "details", map_details(film, finding, finding.maps[1], layout, wording).picture
    for name, answer, heatmap in (
        ("overlay", film, finding.maps[0]),
        ("overlay-signed-low-reliability", film, finding.maps[1]),
        ("overlay-of-a-volume", series, series.findings[0].maps[0]),
    ):
        yield from _numbered(name, map_pages(answer, answer.findings[0], heatmap, layout, wording))
    for name, answer in (("segment", film), ("segment-of-a-volume", series)):
        segment = answer.findings[1]
        assert segment.mask is not None
        yield from _numbered(name, mask_pages(answer, segment, segment.mask, layout, wording))
    withheld = [heatmap for heatmap in finding.maps if heatmap.card.withheld]
    yield "withheld", notice_page(film, finding, withheld, layout, wording).picture
    yield "refused", notice_page(film, film.findings[2], [], layout, wording).picture
    paper = on_paper(layout)
    printed = map_pages(film, finding, finding.maps[0], paper, wording)
    yield from _all_numbered("sheet", sheets(film, printed, paper, wording))


def _numbered(name: str, pages: list[Page]) -> Iterator[tuple[str, Picture]]:
    return _all_numbered(name, [page.picture for page in pages])


def _all_numbered(name: str, pictures: list[Picture]) -> Iterator[tuple[str, Picture]]:
    for number, picture in enumerate(pictures, start=1):
        yield (name if len(pictures) == 1 else f"{name}-{number}"), picture


def _answer(image: SourceImage) -> Answer:
    lit = _blob(image, 0.1)
    against = np.roll(lit, image.shape[2] // 4, axis=2)
    maps = (
        _map("grad-cam", lit, Grade.GREEN),
        replace(_map("integrated-gradients", lit - 0.7 * against, Grade.AMBER), signed=True, covered=_middle(image)),
        _map("rise", lit, Grade.RED),
    )
    nodule = Finding(TargetSpec(name="Nodule", threshold=0.4), present=True, probability=0.82, maps=maps)
    segment = Finding(
        TargetSpec(name="Organ"), present=True, probability=None, value=612.0, mask=_blob(image, 0.3) > 0.5
    )
    refused = Finding(
        TargetSpec(name="Effusion", threshold=0.4),
        present=True,
        probability=0.61,
        refused={"lrp": Refusal("model", "the model has no verified gradient engine")},
    )
    return Answer(_PACKAGE, image, (nodule, segment, refused), "preview", _AT, device_uid=_DEVICE_UID)


def _map(method: str, values: FloatArray, grade: Grade) -> MapInSource:
    measured = Measurement("deletion AUC", "fidelity", 0.21, 0.34, grade, "below random orders", "Petsiuk 2018")
    top = float(np.abs(values).max())
    return MapInSource(
        method=method,
        values=values,
        covered=np.ones(values.shape, bool),
        region=np.abs(values) >= 0.5 * top,
        region_rule="at least 50% of the maximum",
        signed=False,
        unit="logit",
        card=QualityCard((measured,)),
        layer="features.norm5" if method == "grad-cam" else None,
    )


def _middle(image: SourceImage) -> np.ndarray:
    seen = np.zeros(image.shape, bool)
    margin = image.shape[2] // 12
    seen[:, :, margin:-margin] = True
    return seen


def _blob(image: SourceImage, radius: float) -> FloatArray:
    """A smooth bump a little off the middle, of this share of the image's size."""
    grids = np.meshgrid(*(np.linspace(-1, 1, size) if size > 1 else np.zeros(1) for size in image.shape), indexing="ij")
    distance = (grids[0] ** 2 + (grids[1] + 0.1) ** 2 + (grids[2] - 0.35) ** 2) / (2 * radius) ** 2
    return np.asarray(np.exp(-distance), np.float32)


def _planar() -> SourceImage:
    """A disc-shaped body with two darker fields, as a radiograph of 0.4 mm pixels."""
    rows, columns = np.mgrid[-1:1:512j, -1:1:448j]
    body = np.clip(1.2 - (rows / 1.05) ** 4 - (columns / 0.95) ** 4, 0, 1)
    fields = sum(np.exp(-(((rows / 0.55) ** 2 + ((columns - side) / 0.3) ** 2) ** 2)) for side in (-0.45, 0.45))
    ribs = 0.06 * np.cos(18 * (rows + 0.35 * np.abs(columns)))
    return _image("planar", np.clip(0.85 * body - 0.5 * fields + ribs * body, 0, 1)[np.newaxis], (0.4, 0.4))


def _volume() -> SourceImage:
    """A hollow ellipsoid in 16 slices of 0.9 mm pixels."""
    slices, rows, columns = np.mgrid[-1:1:16j, -1:1:160j, -1:1:160j]
    radius = np.sqrt((slices / 1.1) ** 2 + (rows / 0.85) ** 2 + (columns / 0.7) ** 2)
    shell = np.exp(-(((radius - 0.95) / 0.06) ** 2))
    inside = (radius < 0.95) * (0.42 + 0.08 * np.cos(9 * columns) * np.cos(7 * rows))
    return _image("volume", np.clip(shell + inside, 0, 1), (0.9, 0.9))


def _image(kind: str, display: np.ndarray, spacing: tuple[float, float]) -> SourceImage:
    frames, headers = [], {}
    for number in range(len(display)):
        uid = f"2.25.{number + 1}"
        header = Dataset()
        header.SOPInstanceUID = uid
        header.PatientName, header.PatientID, header.PatientBirthDate = "Preview^Page", "PREVIEW", "19600102"
        header.StudyDate, header.AccessionNumber = "20260102", "PREVIEW-1"
        header.PatientOrientation = ["L", "F"] if kind == "planar" else ["L", "P"]
        header.PixelSpacing = list(spacing)
        headers[uid] = header
        frames.append(SourceFrame(uid, 1, (display.shape[1], display.shape[2]), spacing, None))
    values = display.astype(np.float32)
    padding = np.zeros(values.shape, bool)
    return SourceImage("planar" if kind == "planar" else "volume", tuple(frames), headers, values, values, padding)
