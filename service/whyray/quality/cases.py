"""What similar cases and prototypes are worth: found by the model's own space, or by chance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import FloatArray
from whyray.base.statistics import evenly_spread
from whyray.explain import Case, CaseMatches, explain, filled, method_named
from whyray.explain.cases import (
    Metric,
    Search,
    Weighting,
    class_of,
    nearest,
    neighbours_of_all,
    prototype_head,
    says,
    search_for,
    similarity_maps,
)
from whyray.explain.latent import ReferenceIndex, index_of, required_embedding
from whyray.inference import Model
from whyray.quality.card import Grade, Measurement, largest_or_nan
from whyray.quality.case_space import NEIGHBOURS, correlation
from whyray.quality.randomisation import alike, random_pair_similarity, randomised
from whyray.quality.typed import Question, assesses, recomputed

FOUND_GREEN, FOUND_RED = 0.99, 0.9
FORETOLD = 0.5
OVERLAP_GREEN, OVERLAP_RED = 0.5, 0.8
SUM_GREEN, SUM_RED = 1e-3, 1e-2
USUAL = 5.0
"""Percentile of the references' own nearest similarities below which a case has nothing like it among them."""
_QUERIES = 400
_PATCH = 0.3
"""Side of what is hidden, as a share of the image's."""
_RANDOM_PATCHES = 9
_ADEBAYO = "Adebayo et al. 2018, section 3, for neighbours instead of maps; thresholds WhyRay's"
_TWIN = "Kenny and Keane 2019, section 4 (agreement of twin systems); threshold WhyRay's"
_PROTOPNET = "Chen et al. 2019, section 2.1"


@assesses("similar-cases")
def similar_cases(explanation: CaseMatches, question: Question) -> Iterator[Measurement]:
    """Measurements of similar cases. No forward pass: references are known by their embeddings."""
    case, model = question.case, question.model
    target = case.targets[0]
    index = index_of(model, method=explanation.method)
    search = _search_in_force(explanation, index, model, target)
    known = _among_references(search, index, model, target)
    yield recomputed(_apart(explanation, question), "similarities")
    yield known.finds_itself
    yield known.predicted
    yield from randomised_neighbours(index)
    if search.weights is not None:
        yield _shuffled_head(search, case, question.rng())
    yield _alike_enough(explanation, known.usual_similarity)
    yield _answered_alike(explanation, index, model, case, target)


@assesses("prototypes")
def prototypes(explanation: CaseMatches, question: Question) -> Iterator[Measurement]:
    """Measurements of prototypes. Costs about 15 forward passes an image, shared by its targets, and 2 a stage."""
    yield _gap(
        "sum of contributions", explanation.evidence["sum gap"], "base plus all weight × similarity is the logit"
    )
    yield _gap("maximum of maps", explanation.evidence["maximum gap"], "each similarity is its map's maximum")
    yield _recomputed(explanation, question.case)
    if question.budget.repeats:
        yield from _hidden(explanation, question)
        yield from _randomised_maps(explanation, question)


# --- similar cases ---------------------------------------------------------------------------------------------------
def _search_in_force(explanation: CaseMatches, index: ReferenceIndex, model: Model, target: int) -> Search:
    metric: Metric = "euclidean" if explanation.parameters["metric"] == "euclidean" else "cosine"
    weighting: Weighting = "contribution" if explanation.parameters["weighting"] == "contribution" else "none"
    return search_for(index, model, target, metric=metric, weighting=weighting)


def _apart(explanation: CaseMatches, question: Question) -> float:
    """1 where the method finds other references now, else the largest difference of a similarity; NaN of none."""
    known = method_named(explanation.method).Parameters.model_fields
    parameters: dict[str, Any] = {name: value for name, value in explanation.parameters.items() if name in known}
    case = question.case
    again = explain(
        question.model,
        case.image,
        target=explanation.target,
        method=explanation.method,
        context=case.context,
        **parameters,
    )
    assert isinstance(again, CaseMatches)
    said, now = ((*shown.matches, *shown.contrasts) for shown in (explanation, again))
    if len(explanation.matches) != len(again.matches) or [one.label for one in said] != [one.label for one in now]:
        return 1.0
    return largest_or_nan(abs(one.similarity - other.similarity) for one, other in zip(said, now, strict=True))


@dataclass(frozen=True)
class _AmongReferences:
    """What hangs on the references and the search among them, and on no image that is explained.

    It holds its index, so that no other has that one's identity.
    """

    index: ReferenceIndex
    finds_itself: Measurement
    predicted: Measurement
    usual_similarity: float


def _among_references(search: Search, index: ReferenceIndex, model: Model, target: int) -> _AmongReferences:
    """Measured once for a loaded model."""

    def measured() -> _AmongReferences:
        rows = _rows(len(index))
        itself, predicted = _finds_itself(search, rows), _predicted(search, index, target, rows)
        return _AmongReferences(index, itself, predicted, _usual_similarity(search, rows))

    weights = None if search.weights is None else search.weights.tobytes()
    return model.once(("among references", id(index), search.metric, weights, target), measured)


def _rows(count: int) -> NDArray[np.int64]:
    return evenly_spread(count, _QUERIES)


def _finds_itself(search: Search, rows: NDArray[np.int64]) -> Measurement:
    prepared = search.prepared(search.index.embeddings)
    share = float(np.mean(search.similarities(prepared[rows], prepared).argmax(axis=1) == rows))
    grade = Grade.GREEN if share >= FOUND_GREEN else Grade.AMBER if share >= FOUND_RED else Grade.RED
    rule = f"share of references that are most similar to themselves; green from {FOUND_GREEN}, red below {FOUND_RED}"
    return Measurement("self-retrieval", "engine", share, 1 / len(prepared), grade, rule, "WhyRay")


def _predicted(search: Search, index: ReferenceIndex, target: int, rows: NDArray[np.int64]) -> Measurement:
    near = neighbours_of_all(search, min(NEIGHBOURS, len(index) - 1), rows=rows)
    own = index.logits[:, target]
    correlated = correlation(own[near].mean(axis=1), own[rows], np.random.default_rng(0))
    value, chance = correlated["r"], correlated["chance"]
    grade = Grade.GREEN if value >= FORETOLD else Grade.AMBER if value > chance else Grade.RED
    rule = (
        f"correlation of the mean logit of {NEIGHBOURS} neighbours with a reference's own, over {len(rows)} "
        f"references; green from {FORETOLD}, red at what mixed pairs reach (95th percentile)"
    )
    return Measurement("neighbours foretell the answer", "fidelity", value, chance, grade, rule, _TWIN)


def randomised_neighbours(index: ReferenceIndex) -> Iterator[Measurement]:
    """What was measured when the index was made: how many neighbours stay when all weights are randomised."""
    measured = index.details.get("randomised")
    if measured:
        stage, value = measured["stages"][-1]
        how = f"{stage} randomised, over all targets, measured when the index was made"
        yield _overlap("neighbours with randomised weights", float(value), float(measured["chance"]), how)


def _shuffled_head(search: Search, case: Case, rng: np.random.Generator) -> Measurement:
    """Neighbours by another head: the same embedding, the target's weights in another order."""
    assert search.weights is not None
    vector = required_embedding(case.model, case.run)
    others = ~search.itself(vector)
    before = set(map(int, nearest(search.of(vector), others, NEIGHBOURS)))
    overlaps = []
    for _ in range(5):
        changed = Search(search.index, np.asarray(rng.permutation(search.weights)), search.metric)
        overlaps.append(len(before & set(map(int, nearest(changed.of(vector), others, NEIGHBOURS)))) / len(before))
    chance = len(before) / max(int(others.sum()), 1)
    return _overlap("neighbours with the head's weights shuffled", float(np.mean(overlaps)), chance, "5 shuffles")


def _overlap(name: str, value: float, chance: float, how: str) -> Measurement:
    grade = Grade.GREEN if value <= OVERLAP_GREEN else Grade.AMBER if value <= OVERLAP_RED else Grade.RED
    rule = f"share of neighbours that stay, {how}; green up to {OVERLAP_GREEN}, red above {OVERLAP_RED}"
    return Measurement(name, "sanity", value, chance, grade, rule, _ADEBAYO)


def _usual_similarity(search: Search, rows: NDArray[np.int64]) -> float:
    """What a reference has to its nearest, but for the least alike."""
    prepared = search.prepared(search.index.embeddings)
    among = search.similarities(prepared[rows], prepared)
    among[np.arange(len(rows)), rows] = -np.inf
    return float(np.percentile(among.max(axis=1), USUAL))


def _alike_enough(explanation: CaseMatches, least: float) -> Measurement:
    value = explanation.matches[0].similarity if explanation.matches else float("-inf")
    grade = Grade.GREEN if value >= least else Grade.AMBER
    rule = f"the most similar reference; green from the {USUAL:.0f}th percentile of that among references"
    return Measurement("nearest similarity", "case", value, least, grade, rule, "WhyRay")


def _answered_alike(
    explanation: CaseMatches, index: ReferenceIndex, model: Model, case: Case, target: int
) -> Measurement:
    here = bool(says(model, model.answer(case.run.logits), target)[0])
    usual = float(np.mean(says(model, index.answers, target) == here))
    value = explanation.evidence["answered alike"]
    grade = Grade.GREEN if value >= min(usual, 0.8) else Grade.AMBER
    classes = class_of(index, model, target)
    rule = (
        f"share of its neighbours that the model answers alike, against that of all references; green from there or "
        f"0.8; {int((classes == here).sum())} of {len(index)} references are of the answered class"
    )
    return Measurement("neighbours answered alike", "case", value, usual, grade, rule, _TWIN)


# --- prototypes ------------------------------------------------------------------------------------------------------
def _gap(name: str, gap: float, words: str) -> Measurement:
    grade = Grade.GREEN if gap <= SUM_GREEN else Grade.AMBER if gap <= SUM_RED else Grade.RED
    rule = f"{words}; relative, green up to {SUM_GREEN:g}, red above {SUM_RED:g}"
    return Measurement(name, "engine", gap, 0.0, grade, rule, _PROTOPNET)


def _recomputed(explanation: CaseMatches, case: Case) -> Measurement:
    """Whether what is shown are the terms that the graph gives: nothing but rounding may lie between."""
    head = prototype_head(case.model)
    _, similarities = similarity_maps(case.model, case.x)
    target = case.targets[0]
    terms = head.weight[target] * similarities
    gaps = [
        abs((match.weight or 0.0) * match.similarity - float(terms[_number(match.label)]))
        for match in explanation.matches
    ]
    scale = 1 + float(np.abs(terms).max())
    return _gap("contributions told again", largest_or_nan(gaps) / scale, "weight × similarity of another pass")


def _hidden(explanation: CaseMatches, question: Question) -> Iterator[Measurement]:
    """What the map says at a place must come from that place: hiding it changes the value there more than others do."""
    case, rng = question.case, question.rng()
    first = explanation.matches[0]
    assert first.resembles is not None
    number, place = _number(first.label), _peak(first.resembles)
    blurred = filled(case.x, "blur")
    changes = []
    for hidden in (place, *_elsewhere(place, case.shape, rng)):
        maps, _ = similarity_maps(case.model, _patched(case.x, blurred, hidden))
        there = _drawn(case, maps[number])
        changes.append(abs(float(there[place]) - float(first.resembles[place])))
    usual, highest = float(np.mean(changes[1:])), float(np.max(changes[1:]))
    grade = Grade.GREEN if changes[0] > highest else Grade.AMBER if changes[0] > usual else Grade.RED
    rule = (
        f"how far blurring the place that is most like {first.label} changes the similarity there, against blurring "
        f"{_RANDOM_PATCHES} other places of the same size; green above all of them, red up to their mean"
    )
    source = "after Sacha et al. 2024 (spatial misalignment of prototypical parts), section 3"
    cost = 1 + _RANDOM_PATCHES
    yield Measurement("map tells the place", "fidelity", changes[0], usual, grade, rule, source, cost)


def _peak(values: FloatArray) -> tuple[int, ...]:
    return tuple(int(index) for index in np.unravel_index(int(values.argmax()), values.shape))


def _elsewhere(place: tuple[int, ...], shape: tuple[int, ...], rng: np.random.Generator) -> list[tuple[int, ...]]:
    """Centres of patches that don't overlap with that at `place`; of few tries, the farthest."""
    centres = []
    for _ in range(_RANDOM_PATCHES):
        tries = [tuple(int(rng.integers(size)) for size in shape) for _ in range(20)]
        apart = [max(abs(a - b) / size for a, b, size in zip(centre, place, shape, strict=True)) for centre in tries]
        far = [centre for centre, share in zip(tries, apart, strict=True) if share >= _PATCH]
        centres.append(far[0] if far else tries[int(np.argmax(apart))])
    return centres


def _patched(x: FloatArray, fill: FloatArray, centre: tuple[int, ...]) -> FloatArray:
    patched = x.copy()
    box = tuple(
        slice(max(0, round(at - _PATCH * size / 2)), max(1, round(at + _PATCH * size / 2)))
        for at, size in zip(centre, x.shape[2:], strict=True)
    )
    patched[(slice(None), slice(None), *box)] = fill[(slice(None), slice(None), *box)]
    return patched


def _randomised_maps(explanation: CaseMatches, question: Question) -> Iterator[Measurement]:
    case, model = question.case, question.model
    seed = question.seed
    models = model.once(("randomised", seed), lambda: tuple(randomised(model, np.random.default_rng(seed))))
    first = explanation.matches[0]
    assert first.resembles is not None
    own = first.resembles
    number = _number(first.label)
    stage, other = models[-1]
    changed = _drawn(case, similarity_maps(other, case.x)[0][number])
    value = alike(_spread(own), _spread(changed))
    maps = [_spread(similarity_map) for similarity_map in _drawn(case, similarity_maps(model, case.x)[0])]
    unrelated = random_pair_similarity(maps, question.rng())
    enough = max(unrelated, OVERLAP_GREEN)
    grade = Grade.GREEN if value <= enough else Grade.AMBER if value <= OVERLAP_RED else Grade.RED
    rule = (
        f"SSIM of the map of {first.label} with {stage} randomised; green up to {OVERLAP_GREEN} or what maps of two "
        f"prototypes share, red above {OVERLAP_RED}"
    )
    yield Measurement("map with randomised weights", "sanity", value, unrelated, grade, rule, _ADEBAYO, 2)


def _drawn(case: Case, maps: FloatArray) -> FloatArray:
    """Similarity maps (..., *grid) on the input's grid."""
    spec = case.model.manifest.prototypes
    assert spec is not None
    return case.drawn(maps, spec.maps)


def _spread(values: FloatArray) -> FloatArray:
    """A similarity map from its lowest to its highest: similarities never come near 0."""
    low, high = float(values.min()), float(values.max())
    return np.asarray((values - low) / max(high - low, 1e-12), np.float32)


def _number(label: str) -> int:
    return int(label.rpartition("-")[2]) - 1
