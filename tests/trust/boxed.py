"""Cards of radiographs with radiologists' boxes, by weights that had not seen the patient, and of wrong maps in the
place of the right ones."""

from __future__ import annotations

import csv
import shutil
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image

from trust.bad_maps import BAD_MAPS
from trust.bad_models import bad_models
from trust.records import onboarded_with
from whyray.explain import Case, ExplainedImage, Heatmap, explained_image, heatmaps
from whyray.explain.anatomy import allowed_in
from whyray.inference import Model, RuntimeOptions, load_package
from whyray.onboarding.localisation import (
    MarkedFinding,
    baseline_scores,
    intersection_over_union,
    localisation,
    pointing,
)
from whyray.quality import Budget, QualityCard, assess
from whyray.quality.anatomy import inside_anatomy
from whyray.quality.robustness import made_again

METHOD, TARGET = "local-evidence", "Lung Opacity"
OWN, ANOTHER = "the package's own", "the package's own, of another patient"
NAME = "cxr-opacity-fold{}"
_SHUFFLED = " shuffled"


@dataclass(frozen=True)
class Boxed:
    """One radiograph: where radiologists saw an opacity (none where they saw none), and whose weights may judge it."""

    name: str
    patient: int
    fold: int
    read_as: str
    truth: np.ndarray = field(repr=False)
    path: Path = field(repr=False)

    def picture(self, side: int) -> np.ndarray:
        """(side, side) in 0..1."""
        return np.asarray(Image.open(self.path).convert("L").resize((side, side)), np.float32) / 255


@dataclass(frozen=True)
class Judged:
    """One map's card. `iou` and `hit` are those of the map that was judged, whosever it is."""

    kind: str
    name: str
    patient: int
    fold: int
    read_as: str
    grade: str
    iou: float
    hit: bool
    values: dict[str, float]
    grades: dict[str, str]


def radiographs(data: Path, folds: Path, side: int, others: int) -> list[Boxed]:
    """All with boxes of an opacity by RSNA's radiologists, and `others` of each way to be read without."""
    folder = data / "nih-cxr-boxes"
    with (folds / "fold-rows.csv").open(newline="") as file:
        fold_of = {row["image"]: int(row["fold"]) for row in csv.DictReader(file)}
    boxes: dict[str, list[list[float]]] = defaultdict(list)
    with (folder / "boxes.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["source"] == "RSNA":
                corners = [float(row[key]) / 512 * side for key in ("x", "y", "width", "height")]
                boxes[row["Image Index"]].append(corners)
    with (folder / "labels.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["Image Index"] in fold_of]
    by_reading: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        by_reading["boxed" if row["Image Index"] in boxes else row["rsna_class"] or "not read"].append(row)
    rng, chosen = np.random.default_rng(11), []
    for reading, of_it in by_reading.items():
        picked = of_it if reading == "boxed" else [of_it[index] for index in rng.permutation(len(of_it))[:others]]
        for row in picked:
            truth = np.zeros((side, side), bool)
            for x, y, width, height in boxes.get(row["Image Index"], []):
                truth[int(y) : int(y + height), int(x) : int(x + width)] = True
            name = row["Image Index"]
            path = folder / "images" / name
            chosen.append(Boxed(name, int(row["Patient ID"]), fold_of[name], reading, truth, path))
    return chosen


class FoldPackages:
    """The packages of the folds, copied, so that each can be given a report of what the others' maps hit."""

    def __init__(self, folds: Path, folder: Path) -> None:
        names = sorted(path.name for path in folds.glob(NAME.format("*")))
        for name in names:
            shutil.copytree(folds / name, folder / name, dirs_exist_ok=True)
        self._folder, self.count = folder, len(names)

    def model(self, fold: int) -> Model:
        """The package of a fold, loaded anew."""
        options = RuntimeOptions(device="cpu", intra_op_threads=1, cache=None)
        return load_package(self._path(fold), options=options)

    def onboard(self, images: list[Boxed], maps: dict[str, Heatmap]) -> None:
        """Give each package the record of the maps of all other folds' patients, by the weights of those folds."""
        model = self.model(0)
        boxed = [image for image in images if image.truth.any()]
        findings = [
            MarkedFinding(str(image.patient), number, _input(model, image), TARGET, np.ascontiguousarray(image.truth))
            for number, image in enumerate(boxed)
        ]
        baselines = baseline_scores(model, findings, 0)
        made = {number: maps[image.name] for number, image in enumerate(boxed)}
        for fold in range(self.count):
            rows = [number for number, image in enumerate(boxed) if image.fold != fold]
            measured = localisation(findings, made, rows, baselines, 0)
            onboarded_with(self._path(fold), {METHOD: measured})

    def _path(self, fold: int) -> Path:
        return next(self._folder.glob(f"{NAME.format(fold)}/*"))


def judged(images: list[Boxed], packages: FoldPackages, budget: Budget) -> Iterator[Judged]:
    """The card of each radiograph's own map; for the boxed ones also those of wrong maps in its place."""
    maps: dict[str, Heatmap] = {}
    for fold in range(packages.count):
        model = packages.model(fold)
        maps |= {image.name: _map(model, image) for image in images if image.fold == fold}
    packages.onboard(images, maps)
    boxed = [image for image in images if image.truth.any()]
    for fold in range(packages.count):
        model = packages.model(fold)
        deranged = {kind: other for kind, other in bad_models(model) if kind.endswith(_SHUFFLED)}
        for image in (image for image in images if image.fold == fold):
            x = _input(model, image)
            held, own = explained_image(model, x), maps[image.name]
            allowed = allowed_in(model, held, TARGET)
            wrong: dict[str, np.ndarray] = {}
            if image.truth.any():
                rng = np.random.default_rng(int(image.name.split("_")[0]))
                wrong |= {kind: make(image.picture(x.shape[-1]), rng) for kind, make in BAD_MAPS.items()}
                foreign = [other for other in boxed if other.patient != image.patient]
                wrong[ANOTHER] = maps[foreign[int(rng.integers(len(foreign)))].name].values
                for kind, other in deranged.items():
                    wrong[f"of the {kind}"] = _map(other, image).values
            yield _judged(OWN, image, own.values, assess(model, held, own, budget=budget, allowed=allowed))
            for kind, values in wrong.items():
                heatmap = replace(own, values=values)
                card = _in_short(model, held, heatmap, allowed)
                if not card.withheld:
                    card = assess(model, held, heatmap, budget=budget, allowed=allowed)
                yield _judged(kind, image, values, card)


def _in_short(model: Model, held: ExplainedImage, heatmap: Heatmap, allowed: np.ndarray | None) -> QualityCard:
    """What of a card takes no forward pass: where that withholds, the whole card does, since the worst counts."""
    case = Case(model, held, [model.target_index(heatmap.target)])
    return QualityCard((made_again(case, heatmap, affordable=1), *inside_anatomy(heatmap, allowed, None)))


def _input(model: Model, image: Boxed) -> np.ndarray:
    return image.picture(model.spatial_shape[0]).reshape(model.network.input_shape)


def _map(model: Model, image: Boxed) -> Heatmap:
    return heatmaps(model, _input(model, image), target=[TARGET], method=METHOD)[0]


def _judged(kind: str, image: Boxed, values: np.ndarray, card: QualityCard) -> Judged:
    marked = bool(image.truth.any())
    return Judged(
        kind,
        image.name,
        image.patient,
        image.fold,
        image.read_as,
        card.grade.value,
        intersection_over_union(values, image.truth, True) if marked else float("nan"),
        bool(pointing(values, image.truth)) if marked else False,
        {measured.name: measured.value for measured in card.measurements},
        {measured.name: measured.grade.value for measured in card.measurements},
    )
