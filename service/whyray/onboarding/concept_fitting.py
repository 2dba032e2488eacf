"""From images in which people know concepts to the artefact 'concepts' of a package."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import DoubleArray, FloatArray
from whyray.base.errors import ConfigError, PackageError, TierMissing
from whyray.base.statistics import auc
from whyray.explain.concepts import (
    Concept,
    ConceptBank,
    Directions,
    LayerToLogits,
    Outputs,
    calibrated,
    curved_layer,
    folds,
    held_out,
    layer_to_logits,
    permuted,
    pooled,
    resampled,
    ridge,
)
from whyray.explain.concepts.surrogate import fit_surrogate
from whyray.inference import Model

Progress = Callable[[int, int, str], None]
FEWEST, FEWEST_MEASURED = 10, 30
"""Images with and without a concept, and images with a measure, below which nothing is fitted."""
CLASS_IMAGES = 10
"""Labelled images of a class below which those are taken on which the model itself says so."""


@dataclass(frozen=True)
class Examples:
    """Images in which concepts are known.

    Attributes
    ----------
    x
        Images, each (1, ...) in the layout of the manifest.
    concepts
        What is known of them; counts of examples are filled in when fitting.
    values
        (N, C): 1 or 0, or the measure; NaN where nobody knows.
    targets
        (N, T): whether the target's finding is there; NaN where nobody knows.
    groups
        (N,): images of the same patient have the same number and are never on both sides of a split.
    soft
        (N, C): what is fitted instead of `values` where it is known: a teacher's opinion, in any scale; what concepts
        are worth is measured against `values` all the same. None: nothing.
    """

    x: Sequence[FloatArray]
    concepts: tuple[Concept, ...]
    values: DoubleArray
    targets: DoubleArray
    groups: NDArray[np.int64]
    soft: DoubleArray | None = None

    @property
    def goals(self) -> DoubleArray:
        """(N, C): what readings are fitted to."""
        return self.values if self.soft is None else np.where(np.isfinite(self.soft), self.soft, self.values)


@dataclass(frozen=True)
class ConceptRecipe:
    """Numbers of a fit: cross-validation folds, resampled copies of each concept's vector, random vectors, seed."""

    folds: int = 5
    copies: int = 20
    random: int = 50
    seed: int = 0
    layer: str | None = None


@dataclass(frozen=True)
class _Seen:
    """What the network says: embeddings (N, E), pooled activations (N, D), slopes (N, T, D), logits, concepts."""

    embedding: FloatArray | None
    layer: FloatArray | None
    slopes: FloatArray | None
    logits: FloatArray
    outputs: FloatArray | None


def fit_bank(model: Model, examples: Examples, recipe: ConceptRecipe, progress: Progress) -> ConceptBank:
    """Fit all that this package can have: concept outputs' spread, a surrogate, concept directions.

    Raises ConfigError where there are too few examples of a concept, PackageError for a layer that there is not.
    """
    concepts = _counted(examples)
    rng = np.random.default_rng(recipe.seed)
    behind, reason = _tail(model, recipe.layer)
    seen = _look(model, examples, behind, progress)
    fold_of = folds(examples.groups, recipe.folds, rng)
    directions = surrogate = None
    if behind is not None and seen.layer is not None and seen.slopes is not None:
        directions = _directions(
            model, behind.layer, seen.layer, seen.slopes, seen, examples, fold_of, recipe, progress
        )
    name = embedding_name(model)
    if name is not None and seen.embedding is not None and model.task != "segmentation":
        surrogate = fit_surrogate(
            name,
            seen.embedding,
            seen.logits,
            concepts=concepts,
            values=examples.values,
            goals=examples.goals,
            targets=model.targets,
            groups=examples.groups,
            fold_of=fold_of,
            rng=rng,
            progress=progress,
        )
    return ConceptBank(
        targets=model.targets,
        concepts=concepts,
        outputs=_outputs(model, seen, examples),
        surrogate=surrogate,
        directions=directions,
        count=len(examples.x),
        details={"seed": recipe.seed, "folds": recipe.folds, **({"no directions": reason} if reason else {})},
    )


def embedding_name(model: Model) -> str | None:
    """The tensor in which a surrogate reads concepts: the embedding, else the feature maps; None without either."""
    return model.manifest.output.embedding or model.network.features_name


def too_few(examples: Examples) -> dict[str, str]:
    """By name of the concept: why it can't be fitted. Empty where all can."""
    problems = {}
    for concept, column in zip(examples.concepts, examples.values.T, strict=True):
        known = column[np.isfinite(column)]
        positive, count = int((known > 0.5).sum()), len(known)
        if concept.kind == "measure":
            if count < FEWEST_MEASURED or np.ptp(known) == 0:
                problems[concept.name] = f"needs {FEWEST_MEASURED} images with different values, found {count}"
        elif min(positive, count - positive) < FEWEST:
            problems[concept.name] = (
                f"needs {FEWEST} images with it and {FEWEST} without, found {positive} and {count - positive}"
            )
    return problems


def _counted(examples: Examples) -> tuple[Concept, ...]:
    problems = too_few(examples)
    if problems or not examples.concepts:
        words = "; ".join(f"{name} {why}" for name, why in problems.items()) or "no concept is named"
        raise ConfigError(f"too few examples: {words}", advice="Label more images, or leave these columns out.")
    return tuple(
        replace(
            concept,
            examples=int(np.isfinite(column).sum()),
            positives=int((column > 0.5).sum()) if concept.kind == "presence" else 0,
        )
        for concept, column in zip(examples.concepts, examples.values.T, strict=True)
    )


def _tail(model: Model, layer: str | None) -> tuple[LayerToLogits | None, str]:
    if layer is not None:
        return layer_to_logits(model, layer), ""
    if model.task == "segmentation":
        return None, "concept directions are for packages that answer about the whole image"
    name = curved_layer(model) or model.manifest.output.embedding or model.network.features_name
    if name is None:
        return None, "no inner layer was found; name one by --layer"
    try:
        return layer_to_logits(model, name), ""
    except (TierMissing, PackageError) as error:
        return None, error.message


def _look(model: Model, examples: Examples, behind: LayerToLogits | None, progress: Progress) -> _Seen:
    concepts = model.manifest.concepts
    names = {
        "embedding": embedding_name(model),
        "layer": behind and behind.layer,
        "outputs": concepts and concepts.output,
    }
    collected: dict[str, list[FloatArray]] = {key: [] for key in (*names, "slopes", "logits")}
    targets = list(range(len(model.targets)))
    for number, image in enumerate(examples.x):
        progress(number, len(examples.x), f"image {number + 1} of {len(examples.x)}")
        x = model.network.checked_input(image)
        wanted = [name for name in names.values() if name]
        inner = model.session.tapped(x, [*wanted, model.network.logits_name])
        collected["logits"].append(inner[model.network.logits_name].reshape(1, len(targets), -1)[..., 0])
        for key, name in names.items():
            if name:
                collected[key].append(pooled(inner[name]) if inner[name].ndim > 2 else inner[name])
        if behind is not None:
            collected["slopes"].append(behind.slopes(inner[behind.layer], targets)[0])
    arrays = {key: np.concatenate(parts) if parts else None for key, parts in collected.items()}
    logits = arrays["logits"]
    assert logits is not None
    return _Seen(arrays["embedding"], arrays["layer"], arrays["slopes"], logits, arrays["outputs"])


def _directions(
    model: Model,
    layer: str,
    activations: FloatArray,
    slopes: FloatArray,
    seen: _Seen,
    examples: Examples,
    fold_of: NDArray[np.int64],
    recipe: ConceptRecipe,
    progress: Progress,
) -> Directions:
    rng = np.random.default_rng((recipe.seed, 1))
    reading = ridge(activations, examples.goals)
    read = held_out(activations, examples.goals, fold_of)
    calibration, known = calibrated(examples.concepts, examples.values, read)
    copies = []
    for number in range(recipe.copies):
        progress(number, recipe.copies, "resampling concept vectors")
        rows = resampled(examples.groups, rng)
        copies.append(ridge(activations[rows], examples.goals[rows], reading.penalties).weights)
    count = len(examples.concepts)
    shuffled = np.stack([permuted(examples.goals[:, number % count], rng) for number in range(recipe.random)], axis=1)
    penalties = reading.penalties[np.arange(recipe.random) % count]
    random = ridge(activations, shuffled, penalties).weights
    vectors = np.concatenate([reading.weights, np.stack(copies, axis=1).reshape(-1, activations.shape[1]), random])
    steps = in_standard_deviations(vectors, activations)
    classes, labelled = _classes(model, examples, seen.logits)
    moved = [slopes[members, number] @ steps.T for number, members in enumerate(classes)]
    return Directions(
        tensor=layer,
        readings=reading.weights.astype(np.float32),
        offsets=reading.offsets.astype(np.float32),
        calibration=calibration,
        held_out=known,
        steps=steps,
        class_mean=np.stack([sensitivity.mean(axis=0) for sensitivity in moved]),
        class_spread=np.stack([sensitivity.std(axis=0) for sensitivity in moved]),
        class_score=np.stack([(sensitivity > 0).mean(axis=0) for sensitivity in moved]),
        class_count=np.array([len(one_class) for one_class in classes], np.float32),
        class_is=labelled,
        copies=np.array([recipe.copies], np.float32),
    )


def in_standard_deviations(vectors: DoubleArray, activations: FloatArray) -> FloatArray:
    """(V, D) steps along the vectors, each as long as the standard deviation of the projections on it."""
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-24)
    spread = (activations @ unit.T).std(axis=0)
    return np.asarray(unit * spread[:, None], np.float32)


def _classes(model: Model, examples: Examples, logits: FloatArray) -> tuple[list[NDArray[np.intp]], FloatArray]:
    """For each target the images of its class, and whether labels (1) or the model's answers (0) say so."""
    classes, labelled = [], np.zeros(len(model.targets), np.float32)
    answers = model.answer(logits)
    for number, target in enumerate(model.manifest.targets):
        known = np.flatnonzero(examples.targets[:, number] > 0.5)
        labelled[number] = len(known) >= CLASS_IMAGES
        if model.task == "regression":
            rows = np.arange(len(logits))
        elif labelled[number]:
            rows = known
        elif model.task == "classification":
            rows = np.flatnonzero(answers.argmax(axis=1) == number)
        else:
            rows = np.flatnonzero(answers[:, number] >= target.threshold)
        if len(rows) < CLASS_IMAGES:
            rows = np.argsort(logits[:, number])[-CLASS_IMAGES:]
        classes.append(rows)
    return classes, labelled


def _outputs(model: Model, seen: _Seen, examples: Examples) -> Outputs | None:
    spec = model.manifest.concepts
    if spec is None or seen.outputs is None:
        return None
    columns = {concept.name: column for concept, column in zip(examples.concepts, examples.values.T, strict=True)}
    known = []
    for number, concept in enumerate(spec.names):
        column = columns.get(concept.name, np.full(len(seen.outputs), np.nan))
        rows = np.isfinite(column)
        known.append(auc(column[rows], seen.outputs[rows, number]) if rows.any() else np.nan)
    low, high = np.percentile(seen.outputs, [5, 95], axis=0)
    return Outputs(
        mean=np.asarray(seen.outputs.mean(axis=0), np.float32),
        low=np.asarray(low, np.float32),
        high=np.asarray(high, np.float32),
        auc=np.asarray(known, np.float32),
    )
