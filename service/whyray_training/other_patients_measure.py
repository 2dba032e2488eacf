"""What the older chest packages are worth on patients that are new to them, with 95 % intervals over patients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from whyray.base.arrays import BoolArray, DoubleArray, FloatArray
from whyray.explain import resampled
from whyray.inference import Autoencoder, Captioner, Model, load_package
from whyray_training import figures
from whyray_training.cxr_anatomy_labels import LEFT_LUNG, RIGHT_LUNG, implausible
from whyray_training.cxr_anatomy_student import tidied
from whyray_training.cxr_augment import plain
from whyray_training.cxr_autoencoder_measure import FIDELITY
from whyray_training.cxr_boxed_data import BoxedRadiographs
from whyray_training.cxr_captioner_figures import against, told_in
from whyray_training.cxr_captions import Phrasebook
from whyray_training.cxr_data import FINDINGS
from whyray_training.cxr_local_findings_measure import WORTH_ANSWERING
from whyray_training.cxr_opacity_measure import interval

BATCH = 16
FEWEST = 10
"""Radiographs with a finding, and sick ones without it, below which no figure is given."""
OBSERVERS = ("cxr-findings@2", "cxr-findings@1")
"""Packages whose answers the autoencoder's pictures are to keep: of the second it learned."""
PICTURES = 200
"""Radiographs, of as many patients, that go through the autoencoder, or are put into words: both take their time."""
_READER = "cxr-findings@1"
"""Whose answers the captioner puts into words."""


def prototypes(model: Model, data: BoxedRadiographs, seed: int) -> dict[str, Any]:
    """AUC of each target against the NIH's labels, and whether it is told from chance."""
    answers = _answers(model, data)
    return {
        **_counts(data),
        "targets": {
            name: _target(model, name, _truth(data, name), answers[:, place], data, seed)
            for place, name in enumerate(model.targets)
        },
    }


def abnormal(model: Model, data: BoxedRadiographs, seed: int) -> dict[str, Any]:
    """The same of 'Abnormal', and the AUC of each concept that it is made of."""
    spec = model.manifest.concepts
    assert spec is not None
    answers, concepts = [], []
    for x in _inputs(model, data):
        tapped = model.session.tapped(x, [model.network.logits_name, spec.output])
        answers.append(model.answer(tapped[model.network.logits_name]))
        concepts.append(tapped[spec.output].reshape(len(x), -1))
    said = np.concatenate(concepts)
    told = {}
    for place, name in enumerate(spec.names):
        truth = _truth(data, name.name)
        if min(truth.sum(), (~data.healthy & (truth == 0)).sum()) >= FEWEST:
            told[name.name] = {"positives": int(truth.sum()), "auc": _among_sick(truth, said[:, place], data, seed)}
    target = _target(
        model, "Abnormal", _truth(data, "Abnormal"), np.concatenate(answers)[:, 0].astype(np.float64), data, seed
    )
    return {**_counts(data), "targets": {"Abnormal": target}, "concepts": told}


def anatomy(model: Model, data: BoxedRadiographs, seed: int) -> dict[str, Any]:
    """Boxes inside the lungs; plausible answers, and how they agree with what cxr-scope calls an ordinary image."""
    scope = load_package("cxr-scope@1", options=model.options)
    plausible, ordinary, boxes, patients = [], [], [], []
    row = 0
    for x, other in zip(_inputs(model, data), _inputs(scope, data), strict=True):
        structures = model.session.logits(x).argmax(axis=1).astype(np.uint8)
        kinds = scope.session.logits(other).argmax(axis=1)
        for labels, kind in zip(structures, kinds, strict=True):
            tidy = tidied(labels)
            lungs = np.isin(tidy, (RIGHT_LUNG, LEFT_LUNG))
            plausible.append(not implausible(tidy))
            ordinary.append(bool(kind == 0))
            for x0, y0, width, height in data.boxes[row].get(("RSNA", "Lung Opacity"), ()):
                scale = lungs.shape[0] / data.images.shape[1]
                top, left = int(y0 * scale), int(x0 * scale)
                part = lungs[top : round((y0 + height) * scale), left : round((x0 + width) * scale)]
                boxes.append(float(part.mean()))
                patients.append(int(data.patients[row]))
            row += 1
    sound, usual, share = np.array(plausible), np.array(ordinary), np.array(boxes)
    of_boxes = np.array(patients)
    return {
        **_counts(data),
        "plausible": _mean(sound, data.patients, seed),
        "ordinary": _mean(usual, data.patients, seed),
        "plausible_of_ordinary": _mean(sound[usual], data.patients[usual], seed),
        "agree": _mean(sound == usual, data.patients, seed),
        "boxes": len(share),
        "box_inside_lungs": _mean(share, of_boxes, seed),
        "boxes_half_inside": _mean(share >= 0.5, of_boxes, seed),
        "boxes_outside": figures.rounded((share < 0.1).mean()),
    }


def autoencoder(model: Model, data: BoxedRadiographs, seed: int) -> dict[str, Any]:
    """Which findings survive the way through the latents, as other packages answer before and after."""
    space, some = Autoencoder(model), one_of_each_patient(data, PICTURES)
    return {
        **_counts(some),
        "observers": {
            name: _survived(space, load_package(name, options=model.options), some, seed) for name in OBSERVERS
        },
    }


def captioner(model: Model, data: BoxedRadiographs, seed: int) -> dict[str, Any]:
    """What captions state, against the answers that they were taught to tell, and against the NIH's labels."""
    some, reader = one_of_each_patient(data, PICTURES), load_package(_READER, options=model.options)
    writer, book = Captioner(model), Phrasebook(FINDINGS)
    captions = [writer.caption(picture).text for x in _inputs(model, some) for picture in x[:, 0]]
    thresholds = np.array([target.threshold for target in reader.manifest.targets])
    present = _answers(reader, some) >= thresholds
    told = told_in(captions, book)
    return {
        **_counts(some),
        "answers": against(told, present, seed),
        "labels": against(told, some.labels > 0, seed),
        "different captions": len(set(captions)),
    }


def one_of_each_patient(data: BoxedRadiographs, most: int) -> BoxedRadiographs:
    """At most so many radiographs, evenly chosen, the first of each patient."""
    first = np.sort(np.unique(data.patients, return_index=True)[1])
    return data.take(first[np.unique(np.linspace(0, len(first) - 1, min(most, len(first))).astype(int))])


def _survived(space: Autoencoder, model: Model, data: BoxedRadiographs, seed: int) -> dict[str, Any]:
    before, after = [], []
    for x in _inputs(model, data):
        pictures = space.reconstruct(resampled(x[:, 0], space.shape))
        before.append(model.predict(x))
        after.append(model.predict(resampled(pictures, model.spatial_shape)[:, None]))
    was, now = np.concatenate(before), np.concatenate(after)
    thresholds = np.array([target.threshold for target in model.manifest.targets])
    present = was >= thresholds
    kept, near = present & (now >= thresholds), np.abs(was - now) <= FIDELITY

    def share(part: BoolArray) -> figures.Interval:
        return interval(
            lambda rows: float(part[rows].sum() / max(1, present[rows].sum())), data.patients,
            np.random.default_rng(seed),
        )  # fmt: skip

    return {
        "present": int(present.sum()),
        "survive": share(kept),
        "within": share(present & near),
        "appear": figures.rounded(((now >= thresholds) & ~present).sum() / max(1, (~present).sum())),
        "findings": {
            name: {"present": int(present[:, place].sum()), "survive": int(kept[:, place].sum())}
            for place, name in enumerate(model.targets)
            if present[:, place].any()
        },
    }


def _target(
    model: Model, name: str, truth: DoubleArray, answers: DoubleArray, data: BoxedRadiographs, seed: int
) -> dict[str, Any]:
    called = answers >= model.manifest.targets[model.target_index(name)].threshold
    # Almost any answer tells the healthy from the sick: what a finding is told from are other findings.
    auc = _auc(truth, answers, data, seed) if name == "Abnormal" else _among_sick(truth, answers, data, seed)
    return {
        "positives": int(truth.sum()),
        "auc": auc,
        "auc_of_all": figures.rounded(figures.auc(truth, answers)),
        "told": bool(auc["value"] >= WORTH_ANSWERING and auc["low"] > 0.5),
        "sensitivity": figures.rounded(called[truth == 1].mean()),
        "normals_called": figures.rounded(called[data.healthy].mean()),
        "ece": figures.expected_calibration_error(truth, answers),
    }


def _truth(data: BoxedRadiographs, name: str) -> DoubleArray:
    if name == "Abnormal":
        return np.asarray(~data.healthy, np.float64)
    return data.labels[:, FINDINGS.index(name)]


def _auc(truth: DoubleArray, score: NDArray[Any], data: BoxedRadiographs, seed: int) -> figures.Interval:
    values = np.asarray(score, np.float64)
    return interval(lambda rows: figures.auc(truth[rows], values[rows]), data.patients, np.random.default_rng(seed))


def _among_sick(truth: DoubleArray, score: NDArray[Any], data: BoxedRadiographs, seed: int) -> figures.Interval:
    sick = np.flatnonzero(~data.healthy)
    return _auc(truth[sick], score[sick], data.take(sick), seed)


def _mean(values: NDArray[Any], patients: NDArray[np.int64], seed: int) -> figures.Interval:
    return interval(lambda rows: float(values[rows].mean()), patients, np.random.default_rng(seed))


def _answers(model: Model, data: BoxedRadiographs) -> DoubleArray:
    return np.concatenate([model.predict(x) for x in _inputs(model, data)]).astype(np.float64)


def _inputs(model: Model, data: BoxedRadiographs) -> Iterator[FloatArray]:
    """The radiographs on the package's grid, in parts (n, 1, H, W) of the same radiographs for every package."""
    size = model.spatial_shape[0]
    for start in range(0, len(data), BATCH):
        yield plain(torch.from_numpy(data.images[start : start + BATCH]), size).numpy()


def _counts(data: BoxedRadiographs) -> dict[str, int]:
    return {"images": len(data), "patients": len(np.unique(data.patients)), "healthy": int(data.healthy.sum())}
