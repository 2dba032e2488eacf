"""The whole battery, on radiographs that nothing was tuned to: `make trust` writes its tables into docs/trust.md.

Reads the folder that WHYRAY_TEST_DATA names. Images to judge the check of the image by are those of the patients that
the scope package neither learned from nor took what is usual from; intervals are by bootstrap over patients.
"""

from __future__ import annotations

import csv
import json
import os
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image
from scipy import ndimage

from synthetic import radiograph
from trust.bad_images import SPOILT, knee, leg, noise, other_scans, photographs, slices
from trust.bad_maps import BAD_MAPS
from trust.bad_models import bad_models
from trust.boxed import FoldPackages, Judged, judged, radiographs
from trust.tables import card_tables, share, table
from whyray.explain import Heatmap, explain, explained_image
from whyray.explain.anatomy import allowed_in
from whyray.imaging import read_images, to_model
from whyray.inference import Model, RuntimeOptions, load_package
from whyray.jobs.scope import scope_of_frame
from whyray.quality import Budget, QualityCard, assess
from whyray.quality.anatomy import inside_anatomy
from whyray.quality.card import Grade
from whyray.quality.known_answers import answers_as_known
from whyray_training.cxr_scope import parts_by_patient

DOCS = Path(__file__).resolve().parents[2] / "docs" / "trust.md"
QUICK = Budget(forwards=40, steps=2, random_orders=3, repeats=False)


def main(
    data: Annotated[Path, typer.Option(envvar="WHYRAY_TEST_DATA", help="Folder of the radiographs.")],
    package: Annotated[str, typer.Option(help="Package whose maps are judged.")] = "cxr-findings",
    target: Annotated[str, typer.Option(help="Its target for lung opacity.")] = "Consolidation",
    method: Annotated[str, typer.Option(help="Method whose maps are judged.")] = "grad-cam",
    images: Annotated[int, typer.Option(help="Ordinary radiographs that are checked; a quarter of them spoilt.")] = 200,
    boxed: Annotated[int, typer.Option(help="Radiographs with boxes whose maps are judged.")] = 24,
    folds: Annotated[
        Path | None,
        typer.Option(
            envvar="WHYRAY_FOLD_PACKAGES",
            help="Packages of cxr-opacity's folds (python -m whyray_training.cxr_opacity_folds): their cards, too.",
        ),
    ] = None,
    others: Annotated[int, typer.Option(help="Radiographs without boxes, of each way to be read, for cards.")] = 10,
    keep: Annotated[Path | None, typer.Option(help="File of cards: read where it is there, else written.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Parts alone: images, models, places, maps, cards.")] = None,
    docs: Annotated[Path, typer.Option(help="Page that gets the tables.")] = DOCS,
) -> None:
    """Measure and write the tables between the page's markers."""
    model = load_package(package, options=RuntimeOptions(device="cpu", intra_op_threads=1, cache=None))
    parts: dict[str, Callable[[], dict[str, str]]] = {
        "images": lambda: {"images": table(("image", "answered about"), _images(model, data, images))},
        "models": lambda: {"models": table(("model", "known answers"), _models(model))},
        "places": lambda: {"places": table(("map", "withheld by its place"), _places(model, data, target))},
        "maps": lambda: {"maps": table(("map", "shown"), _maps(model, data, target, method, boxed))},
    }
    if folds is not None:
        parts["cards"] = lambda: card_tables(_cards(data, folds, others, keep))
    tables = {name: made for part in only or parts for name, made in parts[part]().items()}
    page = docs.read_text("utf-8")
    for name, made in tables.items():
        before, rest = page.split(f"<!-- {name} -->\n")
        after = rest.split(f"<!-- end of {name} -->", 1)[1]
        page = f"{before}<!-- {name} -->\n{made}<!-- end of {name} -->{after}"
    docs.write_text(page, "utf-8")
    typer.echo("\n".join(tables.values()))


def _cards(data: Path, folds: Path, others: int, keep: Path | None) -> list[Judged]:
    if keep is not None and keep.is_file():
        return [Judged(**json.loads(line)) for line in keep.read_text("utf-8").splitlines()]
    with tempfile.TemporaryDirectory() as folder:
        packages = FoldPackages(folds, Path(folder))
        images = radiographs(data, folds, packages.model(0).spatial_shape[0], others)
        cards = list(judged(images, packages, QUICK))
    if keep is not None:
        keep.write_text("".join(f"{json.dumps(asdict(card))}\n" for card in cards), "utf-8")
    return cards


def _rows(data: Path) -> Iterator[tuple[Path, int]]:
    for folder in (data / "nih-cxr", data / "nih-cxr-boxes"):
        with (folder / "labels.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                yield folder / "images" / row["Image Index"], int(row["Patient ID"])


def _picture(path: Path, side: int = 512) -> np.ndarray:
    return np.asarray(Image.open(path).convert("L").resize((side, side)), np.float32) / 255


def ordinary_apart(data: Path, count: int) -> Iterator[tuple[np.ndarray, int]]:
    """Radiographs, drawn by chance, of patients that the scope package does not know, and the patients' numbers."""
    every = list(_rows(data))
    part = parts_by_patient(np.array([patient for _, patient in every]), 0)
    for index in np.random.default_rng(5).permutation(np.flatnonzero(part == 2))[:count]:
        yield _picture(every[index][0]), every[index][1]


def _images(model: Model, data: Path, count: int) -> list[tuple[str, str]]:
    passed: dict[str, list[bool]] = defaultdict(list)
    of: dict[str, list[int]] = defaultdict(list)

    def look(kind: str, picture: np.ndarray, patient: int) -> None:
        pixels = np.ascontiguousarray(np.round(np.clip(picture, 0, 1) * 4095).astype(np.uint16))
        (image,) = read_images([radiograph(pixels, window=(2048, 4096))]).images
        given = to_model(image, model.manifest.input)
        passed[kind].append(not scope_of_frame(image, explained_image(model, given.tensor), given).refused)
        of[kind].append(patient)

    for picture, patient in ordinary_apart(data, count):
        look("ordinary", picture, patient)
    for picture, patient in ordinary_apart(data, max(1, count // 4)):
        for kind, spoil in SPOILT.items():
            look(kind, spoil(picture), patient)
    rng = np.random.default_rng(0)
    made: dict[str, Callable[[int, np.random.Generator], np.ndarray]] = {"noise": noise, "leg": leg, "knee": knee}
    for kind, make in made.items():
        for number in range(12):
            look(kind, make(512, rng), number)
    for kind, pictures in (
        ("photograph", photographs()),
        ("CT, MR, angiography, tibia (pydicom)", other_scans()),
        ("CT slice of a head", slices(data / "head-ct" / "ge-human-28-variable-tilt", 12)),
    ):
        for number, (_, picture) in enumerate(pictures):
            look(kind, picture, number)
    strange = [kind for kind in passed if kind != "ordinary"]
    together = [one for kind in strange for one in passed[kind]], [one for kind in strange for one in of[kind]]
    return [*((kind, share(passed[kind], of[kind])) for kind in passed), ("all but the ordinary", share(*together))]


def _models(model: Model) -> list[tuple[str, str]]:
    rows = [("as it is", answers_as_known(model))]
    rows += [(name, answers_as_known(other)) for name, other in bad_models(model)]
    return [(name, f"{measured.grade.value} ({measured.value:.3g})") for name, measured in rows]


def _boxes(data: Path) -> dict[str, list[tuple[float, ...]]]:
    boxes: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    with (data / "nih-cxr-boxes" / "boxes.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["source"] == "RSNA":
                boxes[row["Image Index"]].append(tuple(float(row[key]) / 512 for key in ("x", "y", "width", "height")))
    return boxes


def _of_boxes(boxes: list[tuple[float, ...]], shape: tuple[int, ...]) -> np.ndarray:
    made = np.zeros(shape)
    for x, y, width, height in boxes:
        rows = slice(int(y * shape[0]), int((y + height) * shape[0]))
        made[rows, int(x * shape[1]) : int((x + width) * shape[1])] = 1
    return np.asarray(ndimage.gaussian_filter(made, shape[0] / 37), np.float32)


def _places(model: Model, data: Path, target: str) -> list[tuple[str, str]]:
    """Of maps alone, without asking the model: which the third question withholds."""
    rng = np.random.default_rng(0)
    shape = model.spatial_shape
    withheld: dict[str, list[bool]] = defaultdict(list)
    of: dict[str, list[int]] = defaultdict(list)
    before: np.ndarray | None = None
    for name, boxes in _boxes(data).items():
        path = data / "nih-cxr-boxes" / "images" / name
        picture = _picture(path, shape[0])
        allowed = allowed_in(model, picture.reshape(model.network.input_shape), target)
        right = _of_boxes(boxes, shape)
        maps = {"of the boxes": right, **{kind: make(picture, rng) for kind, make in BAD_MAPS.items()}}
        if before is not None:
            maps["of another patient's boxes"] = before
        for kind, values in maps.items():
            heatmap = Heatmap(values, target, "grad-cam", False, "logit")
            grades = [measurement.grade for measurement in inside_anatomy(heatmap, allowed, None)]
            withheld[kind].append(Grade.RED in grades)
            of[kind].append(int(name.split("_")[0]))
        before = right
    return [(kind, share(withheld[kind], of[kind])) for kind in withheld]


def _maps(model: Model, data: Path, target: str, method: str, count: int) -> list[tuple[str, str]]:
    """The whole card of the package's own maps, by whether they hit, and of maps that are none of the model's."""
    rng = np.random.default_rng(1)
    shown: dict[str, list[bool]] = defaultdict(list)
    of: dict[str, list[int]] = defaultdict(list)
    before: np.ndarray | None = None
    for name, boxes in list(_boxes(data).items())[:: max(1, len(_boxes(data)) // count)][:count]:
        picture = _picture(data / "nih-cxr-boxes" / "images" / name, model.spatial_shape[0])
        x = picture.reshape(model.network.input_shape)
        own = explain(model, x, target=target, method=method)
        assert isinstance(own, Heatmap)
        allowed = allowed_in(model, x, target)

        def card(values: np.ndarray, own: Heatmap = own, x: np.ndarray = x, allowed: object = allowed) -> QualityCard:
            return assess(model, x, replace(own, values=values), budget=QUICK, allowed=allowed)  # type: ignore[arg-type]

        hit = _of_boxes(boxes, own.values.shape)[np.unravel_index(own.values.argmax(), own.values.shape)] > 0.3
        kinds = {"the package's own, hit" if hit else "the package's own, missed": own.values}
        kinds |= {kind: make(picture, rng) for kind, make in BAD_MAPS.items()}
        if before is not None:
            kinds["the package's own, of another patient"] = before
        for kind, values in kinds.items():
            shown[kind].append(not card(values).withheld)
            of[kind].append(int(name.split("_")[0]))
        before = own.values
    return [(kind, share(shown[kind], of[kind])) for kind in shown]


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    typer.run(main)
