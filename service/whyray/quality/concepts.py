"""How far concepts can be trusted: do they say what the head does, are they known, are random ones worse."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from whyray.explain import ConceptScore, ConceptScores
from whyray.explain.concepts import (
    LEAST_AUC,
    LEAST_R2,
    ConceptKind,
    DirectionParameters,
    bottleneck_of,
    concept_head,
    directions_of,
    embedding_at,
    false_positives,
    layer_to_logits,
    surrogate_of,
)
from whyray.inference import parity_gap
from whyray.quality.card import Grade, Measurement, largest_or_nan
from whyray.quality.typed import Question, assesses

PARITY_GREEN, PARITY_RED = 1e-3, 1e-2
ADDED, NOT_ADDED = 1e-3, 1e-2
FAITHFUL = 0.9
FOLLOWS, DOES_NOT_FOLLOW = 0.9, 0.5
GAP_AMBER = 1.0
STEP, SLOPE_GREEN, SLOPE_RED = 0.02, 0.05, 0.2
FOUND_BY_CHANCE = 2.0
_OWN = "WhyRay"


@assesses("concept-bottleneck")
def assess_bottleneck(explanation: ConceptScores, question: Question) -> Iterable[Measurement]:
    """Parity of the head, additivity, interventions against scores, and how well concepts are known."""
    case, model = question.case, question.model
    bottleneck, head = bottleneck_of(case), concept_head(model)
    target = model.target_index(explanation.target)
    logit = float(case.run.logits[0, target])
    gap = parity_gap(head(bottleneck.values[None]), case.run.logits)
    yield Measurement(
        "head parity",
        "engine",
        gap,
        0.0,
        _lower(gap, PARITY_GREEN, PARITY_RED),
        f"the head run alone against the graph; green up to {PARITY_GREEN:g} of the largest logit, red above "
        f"{PARITY_RED:g}",
        _OWN,
    )
    yield _additivity(explanation, logit)
    # Each concept is put back to its reference, alone and in random company: what the logit loses must be the scores.
    if explanation.parameters["reference"] == "neutral":
        bottleneck = bottleneck_of(case, "neutral")
    scores = _in_order(explanation, [name.name for name in bottleneck.spec.names])
    random = question.rng()
    back = random.random((64, len(scores))) < 0.5
    back[: len(scores)] = np.eye(len(scores), dtype=bool)
    changed = np.where(back, bottleneck.reference, bottleneck.values).astype(np.float32)
    lost = logit - head(changed)[:, target]
    shuffled = [_correlation(lost, back @ random.permutation(scores)) for _ in range(20)]
    follows = _correlation(lost, back @ scores)
    yield Measurement(
        "interventions follow scores",
        "fidelity",
        follows,
        float(np.mean(shuffled)),
        _higher(follows, FOLLOWS, DOES_NOT_FOLLOW),
        f"correlation of what the logit loses when concepts are put back with the sum of their scores; green from "
        f"{FOLLOWS}, red below {DOES_NOT_FOLLOW}; baseline: scores dealt out at random",
        "Koh et al. 2020, section 4.3",
    )
    yield _chance(
        "shuffled concepts are worse",
        follows,
        float(np.mean(shuffled)),
        float(np.std(shuffled)),
        "scores dealt out at random among the concepts",
        "Margeloiu et al. 2021: concepts must carry what they are called",
    )
    yield _known(explanation, "AUC", LEAST_AUC)


@assesses("post-hoc-concepts")
def assess_post_hoc(explanation: ConceptScores, question: Question) -> Iterable[Measurement]:
    """Agreement of the surrogate with the network held out, against random concepts, and on this image."""
    model = question.model
    bank, surrogate = surrogate_of(model, explanation.method)
    target = model.target_index(explanation.target)
    agreement = float(surrogate.agreement[target])
    random, spread = float(surrogate.random_agreement[target]), float(surrogate.random_spread[target])
    yield Measurement(
        "surrogate agreement",
        "fidelity",
        agreement,
        random,
        Grade.GREEN if agreement >= FAITHFUL else Grade.RED,
        f"correlation of both logits on images held out; green from {FAITHFUL}, else red: not faithful; baseline: "
        "random concepts",
        "Yuksekgonul et al. 2023, section 3; threshold WhyRay's",
    )
    yield _chance(
        "random concepts are worse",
        agreement,
        random,
        spread,
        "as many concepts with their labels dealt out at random",
        "Yuksekgonul et al. 2023, appendix B",
    )
    read = surrogate.readings @ embedding_at(question.case, surrogate.tensor) + surrogate.offsets
    parts = surrogate.weights[target] * (read - surrogate.mean) / surrogate.spread
    used = [number for number, concept in enumerate(bank.concepts) if concept.name != explanation.target]
    own = _in_order(explanation, [bank.concepts[place].label for place in used])
    off = float(np.abs(own - parts[used]).max() / max(float(np.abs(parts).max()), 1e-9))
    yield Measurement(
        "scores are the surrogate's",
        "engine",
        off,
        0.0,
        _lower(off, PARITY_GREEN, PARITY_RED),
        f"largest difference to the surrogate run again; green up to {PARITY_GREEN:g} of the largest score, red above "
        f"{PARITY_RED:g}",
        _OWN,
    )
    yield _additivity(explanation, float(surrogate.biases[target] + parts.sum()))
    logit = float(question.case.run.logits[0, target])
    gap = abs((np.nan if explanation.total is None else explanation.total) - logit) / max(
        float(surrogate.logit_spread[target]), 1e-9
    )
    yield Measurement(
        "surrogate's error on this image",
        "case",
        gap,
        None,
        _lower(gap, GAP_AMBER, np.inf),
        f"in standard deviations of the network's logit over the references; green up to {GAP_AMBER:g}",
        _OWN,
    )
    yield _known(explanation, "AUC", LEAST_AUC)


@assesses("tcav", "rcv")
def assess_directions(explanation: ConceptScores, question: Question) -> Iterable[Measurement]:
    """Parity of the layers behind, derivatives against differences, random vectors found, concepts known."""
    case, model = question.case, question.model
    kind: ConceptKind = "presence" if explanation.method == "tcav" else "measure"
    bank, directions = directions_of(model, explanation.method, kind)
    target, layer = model.target_index(explanation.target), directions.tensor
    behind = layer_to_logits(model, layer)
    activations = model.session.tapped(case.x, [layer])[layer]
    gap = largest_or_nan(
        [
            parity_gap(behind.logits(activations), case.run.logits),
            float(explanation.evidence.get("engine_parity", np.inf)),
        ]
    )
    yield Measurement(
        "engine parity",
        "engine",
        gap,
        0.0,
        _lower(gap, PARITY_GREEN, PARITY_RED),
        f"largest difference of logits; green up to {PARITY_GREEN:g} of the largest, red above {PARITY_RED:g}",
        "WhyRay: ONNX Runtime on the same input",
        1,
    )
    names = [concept.label for concept in bank.concepts]
    places = [number for number, concept in enumerate(bank.concepts) if concept.kind == kind]
    scores = _in_order(explanation, [names[place] for place in places])
    steps = directions.steps[places].reshape(len(places), -1, *[1] * (activations.ndim - 2)) * STEP
    up, down = (behind.logits((activations + sign * steps).astype(np.float32))[:, target] for sign in (1, -1))
    differences = (up - down) / (2 * STEP)
    error = float(np.linalg.norm(differences - scores) / max(float(np.linalg.norm(differences)), 1e-9))
    yield Measurement(
        "derivatives against differences",
        "fidelity",
        error,
        None,
        _lower(error, SLOPE_GREEN, SLOPE_RED),
        f"relative error against moving the activations by ± {STEP:g} standard deviations in ONNX Runtime; green up "
        f"to {SLOPE_GREEN:.0%}, red above {SLOPE_RED:.0%}",
        _OWN,
    )
    level = float(explanation.parameters.get("level", DirectionParameters().level))  # type: ignore[arg-type]
    share = false_positives(directions.class_mean[target][directions.random], level)
    yield Measurement(
        "random vectors found",
        "sanity",
        share,
        level,
        _lower(share, FOUND_BY_CHANCE * level, 2 * FOUND_BY_CHANCE * level),
        f"share of random vectors that the test calls concepts; green up to {FOUND_BY_CHANCE * level:g}, red above "
        f"{2 * FOUND_BY_CHANCE * level:g}",
        "Kim et al. 2018, section 3.4",
    )
    significant = sum(concept.reliable for concept in explanation.concepts)
    yield Measurement(
        "concepts found",
        "case",
        significant,
        None,
        Grade.GREEN if significant else Grade.AMBER,
        f"well known and significant (corrected p up to {level:g}) for this class; amber where there is none",
        "Kim et al. 2018, section 3.4",
    )
    yield _known(explanation, "AUC", LEAST_AUC) if kind == "presence" else _known(explanation, "R²", LEAST_R2)


def _additivity(explanation: ConceptScores, wanted: float) -> Measurement:
    total = (explanation.base if explanation.base is not None else np.nan) + sum(
        concept.score for concept in explanation.concepts
    )
    stated = explanation.total if explanation.total is not None else np.nan
    gap = largest_or_nan([abs(total - wanted), abs(stated - wanted)]) / max(1.0, abs(wanted))
    return Measurement(
        "additivity gap",
        "fidelity",
        float(gap),
        0.0,
        _lower(float(gap), ADDED, NOT_ADDED),
        f"base and scores must add up to the logit; green up to {ADDED:g} of it, red above {NOT_ADDED:g}",
        "Lundberg and Lee 2017, property 1",
    )


def _known(explanation: ConceptScores, figure: str, least: float) -> Measurement:
    """`least` is for concepts that are there or not; measures among them have their own."""
    known = np.array([_well_known(concept) for concept in explanation.concepts], bool)
    weights = np.array([abs(concept.score) for concept in explanation.concepts])
    share = float(weights[known].sum() / weights.sum()) if weights.sum() > 0 else 0.0
    doubtful = [concept.name for concept, well in zip(explanation.concepts, known, strict=True) if not well]
    words = f"badly known: {_some(doubtful)}" if doubtful else "all are" if explanation.concepts else "there are none"
    return Measurement(
        "weight on well-known concepts",
        "case",
        share,
        None,
        Grade.AMBER if doubtful or not explanation.concepts else Grade.GREEN,
        f"{words}; green where all concepts are well known ({figure} held out from {least:g} on)",
        _OWN,
    )


def _some(names: list[str], most: int = 6) -> str:
    """The first of them, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def _well_known(score: ConceptScore) -> bool:
    least = LEAST_R2 if score.held_out_is == "R²" else LEAST_AUC
    return score.held_out is not None and score.held_out >= least


def _chance(name: str, value: float, mean: float, spread: float, what: str, source: str) -> Measurement:
    """How far a value lies above what chance gives: `mean` and standard deviation `spread` of it."""
    beyond = value - mean
    grade = Grade.GREEN if beyond > 2 * spread and beyond > 0.02 else Grade.AMBER if beyond > 0.02 else Grade.RED
    return Measurement(
        name,
        "sanity",
        beyond,
        0.0,
        grade,
        f"how much better than {what} ({mean:.2f} ± {spread:.2f}); green above 2 standard deviations, red if not "
        "better by 0.02",
        source,
    )


def _in_order(explanation: ConceptScores, names: list[str]) -> NDArray[np.float64]:
    """Scores in the order of the names; NaN for one that is missing."""
    given = {concept.name: concept.score for concept in explanation.concepts}
    return np.array([given.get(name, np.nan) for name in names])


def _correlation(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    pair = np.asarray(one, np.float64), np.asarray(other, np.float64)
    if min(float(values.std()) for values in pair) < 1e-12:
        return 0.0
    return float(np.corrcoef(*pair)[0, 1])


def _lower(value: float, green: float, red: float) -> Grade:
    return Grade.GREEN if value <= green else Grade.AMBER if value <= red else Grade.RED


def _higher(value: float, green: float, red: float) -> Grade:
    return Grade.GREEN if value >= green else Grade.AMBER if value >= red else Grade.RED
