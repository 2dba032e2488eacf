"""A bright square is found at its place in every object, however the film stores it and the package prepares it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.dataset import FileDataset

from planted import BRIGHT, planted_package
from results.answers import AT
from results.sources import read
from synthetic import radiograph, write
from whyray.imaging import read_images
from whyray.inference import Model, RuntimeOptions, load_package
from whyray.jobs.answering import answer_images
from whyray.jobs.explanation_request import ExplanationRequest
from whyray.jobs.files import NO_ROUTE
from whyray.results import Answer, build_results, encode, load_templates
from whyray.results.page import map_pages

Film = Callable[[np.ndarray, str], FileDataset]
ROWS, COLUMNS = 150, 110
SHAPES = ((64, 64), (48, 96), (80, 60))


@cache
def model(fit: str, shape: tuple[int, int]) -> Model:
    folder = planted_package(Path(mkdtemp(prefix="whyray-planted-")), shape=shape, fit=fit, level=0.6)
    return load_package(folder, options=RuntimeOptions(device="cpu", intra_op_threads=1, cache=None))


def square(place: tuple[int, int], size: int) -> np.ndarray:
    """(rows, columns) in 0..1: as displayed."""
    shown = np.full((ROWS, COLUMNS), 0.1)
    shown[place[0] - size : place[0] + size, place[1] - size : place[1] + size] = 1
    return shown


def stored(shown: np.ndarray, bits: int = 12) -> np.ndarray:
    return np.round(shown * (2**bits - 1)).astype(np.uint16)


def plain(shown: np.ndarray, name: str, **options: Any) -> FileDataset:
    options = {"window": (2048, 4096), **options}
    return radiograph(stored(shown), study=f"planted {name}", **options)


def voi_sequence(shown: np.ndarray, name: str) -> FileDataset:
    """Stored values that mean nothing without the table: white is dark, and the middle is bright."""
    data = plain(1 - shown, name, window=None)
    item = Dataset()
    item.LUTDescriptor = [4096, 0, 16]
    item["LUTDescriptor"].VR = "US"
    item.LUTExplanation = "planted"
    item.LUTData = (65535 - np.arange(4096) * 16).astype("<u2").tobytes()
    item["LUTData"].VR = "OW"
    data.VOILUTSequence = [item]
    return data


def high_bit(shown: np.ndarray, name: str) -> FileDataset:
    """Twelve bits stored in the upper ones of sixteen, as some old readers of plates have them."""
    data = plain(shown, name)
    data.HighBit = 15
    data.PixelData = (stored(shown) << 4).astype("<u2").tobytes()
    return data


def overlaid(shown: np.ndarray, name: str) -> FileDataset:
    """What is in the bits that are not stored is no part of the values: an overlay of earlier editions."""
    data = plain(shown, name)
    noise = np.random.default_rng(0).integers(0, 16, shown.shape) << 12
    data.PixelData = (stored(shown) | noise).astype("<u2").tobytes()
    return data


def oriented(*orientation: str) -> Film:
    def film(shown: np.ndarray, name: str) -> FileDataset:
        data = plain(shown, name)
        data.PatientOrientation = list(orientation)
        return data

    return film


def ratio(shown: np.ndarray, name: str) -> FileDataset:
    data = plain(shown, name, spacing=None)
    data.PixelAspectRatio = ["3", "2"]
    return data


FILMS: dict[str, Film] = {
    "as usual": plain,
    "MONOCHROME1": lambda shown, name: plain(1 - shown, name, photometric="MONOCHROME1"),
    "no spacing": lambda shown, name: plain(shown, name, spacing=None),
    "imager's spacing, other along rows": lambda shown, name: plain(shown, name, spacing=(0.1, 0.25)),
    "own spacing, other along rows": lambda shown, name: plain(
        shown, name, spacing=(0.3, 0.1), spacing_keyword="PixelSpacing"
    ),
    "ratio of pixels alone": ratio,
    "table of values": voi_sequence,
    "upper bits": high_bit,
    "overlay in other bits": overlaid,
    "feet first": oriented("R", "H"),
    "lying": oriented("F", "L"),
    "mirrored": oriented("R", "F"),
    "slanted": oriented("LF", "FR"),
    "DX": lambda shown, name: plain(shown, name, modality="DX"),
}


def answered(film: str, place: tuple[int, int], size: int, fit: str, shape: tuple[int, int], folder: Path) -> Answer:
    shown = square(place, size)
    paths = write([FILMS[film](shown, f"{film} {place} {size}")], folder)
    images = read_images(paths).or_raise()
    request = ExplanationRequest(methods={"grad-cam": {}}, targets=(BRIGHT,), most_forwards=10)
    (answer,) = answer_images(images, model(fit, shape), request, route=NO_ROUTE, at=AT, progress=lambda *_: None)
    return answer


def _middle(weights: np.ndarray) -> np.ndarray:
    places = np.argwhere(weights > 0)
    return np.asarray(((places + 0.5) * weights[tuple(places.T)][:, None]).sum(axis=0) / weights.sum())


def _seen(fit: str, shape: tuple[int, int], place: tuple[int, int], size: int, pixel: tuple[float, float]) -> bool:
    """Whether all of the square is on what the package keeps of the film."""
    if fit != "crop":
        return True
    high, wide = ROWS * pixel[0], COLUMNS * pixel[1]
    scale = min(high / shape[0], wide / shape[1])
    kept = np.array([shape[0] * scale / high, shape[1] * scale / wide]) * (ROWS, COLUMNS)
    return bool((np.abs(np.array(place) - (ROWS / 2, COLUMNS / 2)) + size + 4 < kept / 2).all())


@pytest.mark.parametrize("film", FILMS)
@given(
    place=st.tuples(st.integers(30, ROWS - 30), st.integers(25, COLUMNS - 25)),
    size=st.integers(9, 14),
    fit=st.sampled_from(["pad", "stretch", "crop"]),
    shape=st.sampled_from(SHAPES),
)
@settings(max_examples=2, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_planted_square_is_found_at_its_place(
    film: str, place: tuple[int, int], size: int, fit: str, shape: tuple[int, int], tmp_path_factory: Any
) -> None:
    answer = answered(film, place, size, fit, shape, tmp_path_factory.mktemp("film"))
    pixel = answer.image.frames[0].pixel_shape
    if not _seen(fit, shape, place, size, pixel):
        return
    (finding,) = answer.findings
    assert finding.maps, finding
    grid = finding.maps[0].grid
    assert grid is not None
    cell = np.abs(np.diag(grid.to_reference))[:2].max() / 2 + 0.5  # half a cell of the package's grid, half a pixel
    built = build_results(answer, ["seg", "gsps"], load_templates(None))
    results = {result.kind: read(encode(result.dataset)) for result in built}
    segment = results["seg"].pixel_array.reshape(ROWS, COLUMNS).astype(float)
    np.testing.assert_allclose(_middle(segment), place, atol=cell)
    layer = results["gsps"].GraphicAnnotationSequence
    points = np.concatenate(
        [
            np.reshape(graphic.GraphicData, (-1, 2))
            for item in layer
            for graphic in item.get("GraphicObjectSequence", [])
        ]
    )
    columns, rows = (points.min(axis=0) + points.max(axis=0)) / 2
    np.testing.assert_allclose((rows, columns), place, atol=cell + 1)
    assert np.all(points.min(axis=0)[::-1] > np.array(place) - size - 2 * cell - 2)
    assert np.all(points.max(axis=0)[::-1] < np.array(place) + size + 2 * cell + 2)
    _on_the_map(answer, place, cell)
    _on_the_page(answer, place, cell)


def _on_the_map(answer: Answer, place: tuple[int, int], cell: float) -> None:
    """By what the Parametric Map says of itself: its grid, its first pixel and its spacing."""
    (result,) = build_results(answer, ["pm"], load_templates(None))
    data = read(encode(result.dataset))
    (shared,), (own,) = data.SharedFunctionalGroupsSequence, data.PerFrameFunctionalGroupsSequence
    spacing = np.array(shared.PixelMeasuresSequence[0].PixelSpacing, float)
    cosines = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    first = np.array(own.PlanePositionSequence[0].ImagePositionPatient, float)
    row, column = _middle(data.pixel_array.reshape(data.Rows, data.Columns)) - 0.5
    at = first + cosines[:3] * spacing[1] * column + cosines[3:] * spacing[0] * row
    of_film = np.array([at @ cosines[3:], at @ cosines[:3]])
    (frame,) = answer.image.frames
    np.testing.assert_allclose(of_film / np.array(frame.pixel_shape) + 0.5, place, atol=cell)


def _on_the_page(answer: Answer, place: tuple[int, int], cell: float) -> None:
    """By the colours of the overlay's panel that the film's beside it has not."""
    templates, (finding,) = load_templates(None), answer.findings
    (page,) = map_pages(answer, finding, finding.maps[0], templates.layout, templates.wording("en"))
    original, overlay = page.panels[:2]
    _, _, width, height = overlay.box
    pictures = [
        page.picture[panel.box[1] : panel.box[1] + height, panel.box[0] : panel.box[0] + width].astype(int)
        for panel in (original, overlay)
    ]
    # heat is coloured, the film below it and all that is drawn on both panels is not, or is the same
    before, after = (picture.max(axis=2) - picture.min(axis=2) for picture in pictures)
    heat = np.argwhere(after - before > 25)
    centre = (heat.min(axis=0) + heat.max(axis=0) + 1) / 2 * (ROWS / height, COLUMNS / width)
    np.testing.assert_allclose(centre, place, atol=cell + 1)
