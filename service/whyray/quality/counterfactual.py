"""What a counterfactual is worth: does it stand for the image, does it flip, is the change small and plausible."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from whyray.base.arrays import BoolArray, FloatArray
from whyray.base.errors import WhyRayError
from whyray.explain import Case, Counterfactual, TypedMethod, as_input, checked_parameters, method_named, resampled
from whyray.explain.anatomy import allowed_in
from whyray.explain.counterfactual import LatentSpace, region_labels, space_of, with_regions_replaced
from whyray.inference import target_spec
from whyray.quality.anatomy import changed_inside
from whyray.quality.card import Grade, Measurement, largest_or_nan
from whyray.quality.case_space import case_distance
from whyray.quality.similarity import structural_similarity
from whyray.quality.typed import Question, assesses

PARITY_GREEN, PARITY_RED = 1e-3, 1e-2
FIDELITY = 0.1
"""The largest |f(x) - f(D(z))|, in probability (for a regression: of the change that is shown)."""
CARRIED = 0.5
MOVED = 0.01
"""Of the answer: a threshold that is crossed by less says nothing (7.0 % that become 6.6 %)."""
ALIKE, CHANGED, SPARSE = 0.7, 0.05, 0.3
PLAUSIBLE = 2.0
SAME = 1e-3
DIRECTIONS = 4
"""Random directions, each tried both ways; for regions as many pairs of random sets."""
_COHEN = "Cohen et al. 2021, section 2"
_VERMEIRE = "Vermeire et al. 2022"
_GUIDOTTI = "Guidotti 2022, section 5 (validity, proximity, sparsity, plausibility)"


@dataclass(frozen=True)
class _Seen:
    """The explanation, and what the model says now about what it shows."""

    explanation: Counterfactual
    question: Question
    before: float
    start: float
    end: float
    start_logit: float
    end_logit: float

    @property
    def case(self) -> Case:
        return self.question.case

    @property
    def target(self) -> int:
        return self.case.targets[0]

    @property
    def level(self) -> float:
        return float(target_spec(self.case.model, self.explanation.target).threshold)

    def logits(self, pictures: FloatArray) -> FloatArray:
        """(N, targets) logits about pictures (N, *spatial)."""
        inputs = as_input(pictures, self.case.model.manifest.input)
        return np.concatenate([self.case.model.session.logits(inputs[part]) for part in self.case.chunks(len(inputs))])

    def answers(self, pictures: FloatArray) -> FloatArray:
        """(N,) answers about the target."""
        target_answers: FloatArray = self.case.model.answer(self.logits(pictures))[:, self.target]
        return target_answers


@assesses("latent-shift")
def latent_shift(explanation: Counterfactual, question: Question) -> Iterator[Measurement]:
    """Measurements of a counterfactual that a decoder made."""
    pair = as_input(explanation.frames[[explanation.start, explanation.end]], question.model.manifest.input)
    seen = _seen(explanation, question, pair)
    named = explanation.parameters.get("autoencoder")
    space = space_of(question.case, method=explanation.method, reference=None if named is None else str(named))
    yield _engine(seen)
    yield _fidelity(seen)
    yield _same_side(seen)
    yield _valid(seen)
    yield _random_directions(seen, space)
    yield _carried(seen)
    yield from _small(seen)
    yield from changed_inside(explanation, _allowed(question))
    yield _given_back(seen, space)
    yield from _plausible(seen)
    yield from _repeatable(seen)


@assesses("region-counterfactual")
def region_counterfactual(explanation: Counterfactual, question: Question) -> Iterator[Measurement]:
    """Measurements of a counterfactual in which regions were replaced."""
    pair = np.concatenate([question.case.x, _replaced(question.case, explanation, str(explanation.parameters["fill"]))])
    seen = _seen(explanation, question, pair)
    yield _engine(seen)
    yield _valid(seen)
    yield _needed(seen)
    yield from _random_regions(seen)
    yield _other_filling(seen)
    yield from _small(seen)
    yield from changed_inside(explanation, _allowed(question))
    space = _space_if_any(seen)
    if space is not None:
        yield _given_back(seen, space)
    yield from _plausible(seen)
    yield from _repeatable(seen)


def _seen(explanation: Counterfactual, question: Question, pair: FloatArray) -> _Seen:
    """`pair` (2, C, *spatial): the model's input for the unchanged picture and for the changed one."""
    model, target = question.model, question.case.targets[0]
    logits = model.session.logits(pair)
    start, end = (float(answer) for answer in model.answer(logits)[:, target])
    before = float(model.answer(question.case.run.logits)[0, target])
    return _Seen(explanation, question, before, start, end, float(logits[0, target]), float(logits[1, target]))


def _allowed(question: Question) -> BoolArray | None:
    case = question.case
    return allowed_in(case.model, case.image, case.target_names[0], context=case.context)


def _replaced(case: Case, explanation: Counterfactual, fill: str) -> FloatArray:
    """(1, C, *spatial): the input with what the explanation replaced filled in this way."""
    changed = np.zeros(case.shape, bool) if explanation.changed is None else explanation.changed
    return with_regions_replaced(case, changed.astype(np.intp), np.array([[False, True]]), fill)


def _engine(seen: _Seen) -> Measurement:
    """The answers that are told, against the model's now."""
    explanation = seen.explanation
    pairs = (
        (explanation.answer_before, seen.before),
        (explanation.answers[explanation.start], seen.start),
        (explanation.answers[explanation.end], seen.end),
    )
    gap = largest_or_nan(abs(a - b) / max(1.0, abs(b)) for a, b in pairs)
    grade = Grade.GREEN if gap <= PARITY_GREEN else Grade.AMBER if gap <= PARITY_RED else Grade.RED
    rule = f"largest difference to the answers given again; green up to {PARITY_GREEN:g}, red above {PARITY_RED:g}"
    return Measurement("answers re-derived", "engine", gap, 0.0, grade, rule, "WhyRay", 2)


def _fidelity(seen: _Seen) -> Measurement:
    gap, unit = abs(seen.before - seen.start), "in probability"
    if seen.case.model.task == "regression":
        gap, unit = gap / max(abs(seen.end - seen.start), 1e-12), "as a share of the change that is shown"
    grade = Grade.GREEN if gap <= FIDELITY else Grade.RED
    rule = f"|f(x) - f(D(z))| {unit}; red above {FIDELITY:g}: the pictures don't stand for this image"
    return Measurement("autoencoder fidelity", "fidelity", gap, 0.0, grade, rule, _COHEN)


def _same_side(seen: _Seen) -> Measurement:
    same = (seen.before >= seen.level) == (seen.start >= seen.level)
    rule = "red: the autoencoder alone takes the answer across the threshold, so nothing shown explains that"
    return Measurement("threshold kept", "fidelity", float(same), None, _yes(same, Grade.RED), rule, "WhyRay")


def _valid(seen: _Seen) -> Measurement:
    """Whether the answer flips; if it does not even move towards the threshold, there is nothing to show."""
    flipped = (seen.start >= seen.level) != (seen.end >= seen.level)
    towards = (seen.end - seen.start) * (1 if seen.start < seen.level else -1) > 0
    moved = abs(seen.end - seen.start) >= (0 if seen.case.model.task == "regression" else MOVED)
    grade = Grade.GREEN if flipped and seen.explanation.flipped and moved else Grade.AMBER if towards else Grade.RED
    if seen.explanation.flipped and not flipped:
        grade = Grade.RED
    rule = (
        f"1: the answer crosses the threshold; amber: it only moves towards it, or by less than {MOVED:g}; "
        "red: it doesn't, or is said to"
    )
    return Measurement("validity", "fidelity", float(flipped), None, grade, rule, _GUIDOTTI)


def _random_directions(seen: _Seen, space: LatentSpace) -> Measurement:
    """Shifts as long as the one shown in random directions, from the same picture."""
    start = space.encode(seen.explanation.frames[[seen.explanation.start]])
    norm = float(seen.explanation.evidence.get("shift", 0.0)) * float(np.linalg.norm(start))
    random = seen.question.rng().normal(size=(DIRECTIONS, start.shape[1]))
    random *= norm / np.linalg.norm(random, axis=1, keepdims=True)
    moved = np.concatenate([start, start + random, start - random]).astype(np.float32)
    logits = seen.logits(space.decode(moved))[:, seen.target]
    return _against_random(seen, np.abs(logits[1:] - logits[0]), 2 * len(moved), "random directions of the same length")


def _random_regions(seen: _Seen) -> Iterator[Measurement]:
    """As many other regions, chosen at random, replaced in the same way."""
    case, explanation, parameters = seen.case, seen.explanation, dict(seen.explanation.parameters)
    labels = region_labels(
        case,
        "grid" if parameters["regions"] == "grid" else "slic",
        _whole(parameters["count"]),
        _real(parameters["compactness"]),
    )
    count = int(labels.max()) + 1
    chosen = np.unique(labels[explanation.changed]) if explanation.changed is not None else np.empty(0, int)
    others = np.setdiff1d(np.arange(count), chosen)
    if not len(others):
        rule = "amber: all regions were replaced, so that there are no others to compare with"
        own = abs(seen.end_logit - seen.start_logit)
        yield Measurement("change against random", "sanity", own, None, Grade.AMBER, rule, "after Adebayo et al. 2018")
        return
    members = np.zeros((2 * DIRECTIONS, count), bool)
    rng = seen.question.rng()
    for row in members:
        row[rng.choice(others, min(len(chosen), len(others)), replace=False)] = True
    inputs = with_regions_replaced(case, labels, members, str(parameters["fill"]))
    logits = np.concatenate([case.model.session.logits(inputs[part]) for part in case.chunks(len(inputs))])
    yield _against_random(seen, np.abs(logits[:, seen.target] - seen.start_logit), len(inputs), "as many other regions")


def _against_random(seen: _Seen, changes: FloatArray, forwards: int, words: str) -> Measurement:
    own, most = abs(seen.end_logit - seen.start_logit), float(changes.max())
    grade = Grade.GREEN if own > most else Grade.AMBER if own > float(changes.mean()) else Grade.RED
    rule = f"change of the logit, against {words}: green above all {len(changes)}, red not above their mean"
    name = "change against random"
    return Measurement(name, "sanity", own, float(changes.mean()), grade, rule, "after Adebayo et al. 2018", forwards)


def _carried(seen: _Seen) -> Measurement:
    """The difference, added to the image itself: does it change the answer there too?"""
    added = np.clip(seen.case.display + seen.explanation.difference, 0, 1)[None]
    change = seen.end - seen.start
    share = float(seen.answers(added)[0] - seen.before) / change if change else 0.0
    grade = Grade.GREEN if share >= CARRIED else Grade.AMBER
    rule = f"share of the change that the difference makes when it is added to the image itself; green from {CARRIED:g}"
    return Measurement("difference carries over", "robustness", share, 0.0, grade, rule, "WhyRay", 1)


def _needed(seen: _Seen) -> Measurement:
    evidence = seen.explanation.evidence
    sure = evidence.get("irreducible", 0.0) > 0 or not seen.explanation.flipped
    smallest = evidence.get("certified", 0.0) >= evidence.get("replaced", np.inf)
    grade = Grade.GREEN if sure and seen.explanation.flipped else Grade.AMBER
    rule = (
        "1: no region can be left out, 2: and no set of fewer regions flips the answer; amber below 1, or not flipped"
    )
    value = float(seen.explanation.flipped and sure) * (1.0 + float(smallest))
    return Measurement("no region too many", "complexity", value, None, grade, rule, _VERMEIRE)


def _other_filling(seen: _Seen) -> Measurement:
    """Does the answer flip because something is missing, or because of what was put there?"""
    case, explanation = seen.case, seen.explanation
    fills = [fill for fill in ("inpaint", "mean", "blur") if fill != explanation.parameters["fill"]]
    inputs = np.concatenate([_replaced(case, explanation, fill) for fill in fills])
    answers = case.model.answer(case.model.session.logits(inputs))[:, seen.target]
    held = float(np.mean((answers >= seen.level) != (seen.start >= seen.level)))
    grade = Grade.GREEN if held == 1 else Grade.AMBER
    rule = f"share of {len(fills)} other fillings with which the answer flips too; amber unless all"
    return Measurement("other fillings", "robustness", held, None, grade, rule, "WhyRay", len(fills))


def _small(seen: _Seen) -> Iterator[Measurement]:
    """Proximity and sparsity of the change."""
    start, end = seen.explanation.frames[seen.explanation.start], seen.explanation.frames[seen.explanation.end]
    valid = seen.case.context.valid
    inside = np.ones(start.shape, bool) if valid is None else valid
    change = np.abs(end - start)[inside]
    alike = structural_similarity(start, end)
    grade = Grade.GREEN if alike >= ALIKE else Grade.AMBER
    rule = f"SSIM to the unchanged picture; green from {ALIKE:g}; mean change {float(change.mean()):.3g} of the range"
    yield Measurement("proximity", "complexity", alike, 1.0, grade, rule, _GUIDOTTI)
    share = float((change > CHANGED).mean()) if np.isfinite(change).all() else np.nan
    grade = Grade.GREEN if share <= SPARSE else Grade.AMBER
    rule = f"share of the image that changes by more than {CHANGED:g} of the range; green up to {SPARSE:g}"
    yield Measurement("sparsity", "complexity", share, None, grade, rule, _GUIDOTTI)


def _given_back(seen: _Seen, space: LatentSpace) -> Measurement:
    """An autoencoder gives back what is like its training images: does it give back the changed picture as well?"""
    pair = seen.explanation.frames[[seen.explanation.start, seen.explanation.end]]
    theirs = resampled(pair, space.autoencoder.shape)
    errors = ((space.autoencoder.reconstruct(theirs) - theirs) ** 2).mean(axis=tuple(range(1, theirs.ndim)))
    ratio = float(errors[1] / max(float(errors[0]), 1e-9))
    grade = Grade.GREEN if ratio <= PLAUSIBLE else Grade.AMBER
    rule = f"reconstruction error of the changed picture over that of the unchanged one; green up to {PLAUSIBLE:g}"
    return Measurement("realism", "case", ratio, 1.0, grade, rule, f"{_GUIDOTTI}; Dhurandhar et al. 2018, section 3")


def _plausible(seen: _Seen) -> Iterator[Measurement]:
    """The distance of the changed picture to the onboarding images, in the classifier's own embedding."""
    end = as_input(seen.explanation.frames[[seen.explanation.end]], seen.case.model.manifest.input)
    for distance in case_distance(Case(seen.case.model, end, seen.case.targets)):
        yield Measurement(
            "changed picture: distance from onboarding images",
            "case",
            distance.value,
            distance.baseline,
            distance.grade,
            distance.rule,
            distance.source,
            1,
        )


def _repeatable(seen: _Seen) -> Iterator[Measurement]:
    """The same again, where the budget allows."""
    method = method_named(seen.explanation.method)
    cost = int(seen.explanation.evidence.get("forwards", 0)) or method.cost(_parameters(seen.explanation))
    if not seen.question.budget.repeats or cost > seen.question.budget.forwards or not isinstance(method, TypedMethod):
        return
    before = seen.case.model.session.forwards
    again = method.explain_case(seen.case, _parameters(seen.explanation))[0]
    spent = seen.case.model.session.forwards - before
    same = isinstance(again, Counterfactual) and again.frames.shape == seen.explanation.frames.shape
    gap = (
        float(np.abs(again.frames - seen.explanation.frames).max())
        if same and isinstance(again, Counterfactual)
        else 1.0
    )
    rule = f"largest difference of any frame to the same made again; red above {SAME:g} of the range"
    yield Measurement("repeatability", "robustness", gap, 0.0, _yes(gap <= SAME, Grade.RED), rule, "WhyRay", spent)


def _space_if_any(seen: _Seen) -> LatentSpace | None:
    if "autoencoder" not in seen.case.model.manifest.companions:
        return None
    try:
        return LatentSpace(seen.case.model, method=seen.explanation.method)
    except WhyRayError:  # realism is then not measured: this method needs no autoencoder
        return None


def _parameters(explanation: Counterfactual) -> object:
    known = method_named(explanation.method).Parameters.model_fields
    return checked_parameters(
        explanation.method, {name: value for name, value in explanation.parameters.items() if name in known}
    )


def _whole(value: object) -> int:
    return int(str(value))


def _real(value: object) -> float:
    return float(str(value))


def _yes(good: bool, otherwise: Grade) -> Grade:
    return Grade.GREEN if good else otherwise
