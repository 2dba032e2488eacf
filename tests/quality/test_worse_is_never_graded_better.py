"""A worse measurement never gets a better grade, and one that is missing or no number is never green."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from whyray.explain import ConceptScore, ConceptScores, Heatmap
from whyray.quality import (
    anatomy,
    answer,
    cases,
    concepts,
    counterfactual,
    fidelity,
    language,
    latent,
    record,
    scope,
    units,
)
from whyray.quality.assess import engine, map_health
from whyray.quality.card import QUESTIONS, Grade, Measurement, QualityCard, largest_or_nan
from whyray.quality.complexity import complexity
from whyray.quality.deletion import Curves
from whyray.quality.known_answers import answers_as_known
from whyray.quality.scope_check import ScopeCheck, scope_measured
from whyray.quality.typed import recomputed

RANK = {Grade.GREEN: 0, Grade.AMBER: 1, Grade.RED: 2}
NAN = math.nan
NUMBERS = st.floats(-1e6, 1e6) | st.sampled_from([0.0, 1.0, math.inf, -math.inf])
AMONG = st.sampled_from([0.0, 1e-3, 1e-2, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.6, 0.8, 0.9, 0.95, 1.0, 2.0, 95.0])
ANY: Any = None
"""Stands for what a grader does not look at."""


def heatmap(**evidence: float) -> Heatmap:
    return Heatmap(np.eye(4, dtype=np.float32), "one", "made", False, "logit", evidence=evidence)


def curves(gap: float) -> Curves:
    return Curves(np.zeros(1), np.array([gap]))


def stand_in(**fields: Any) -> Any:
    return SimpleNamespace(**fields)


def concept_scores(total: float | None, *scores: float, base: float | None = 0.0) -> ConceptScores:
    rows = tuple(ConceptScore(f"concept {number}", score, held_out=0.9) for number, score in enumerate(scores))
    return ConceptScores(target="one", method="made", unit="logit", concepts=rows, base=base, total=total)


def seen(before: float = 0.9, start: float = 0.9, end: float = 0.1, **claims: Any) -> Any:
    said = {"answer_before": 0.9, "answers": (0.9, 0.1), "start": 0, "end": 1, "flipped": True, "evidence": {}}
    model = stand_in(task=claims.pop("task", "multi-label"))
    return stand_in(
        explanation=stand_in(**{**said, **claims}),
        before=before,
        start=start,
        end=end,
        start_logit=start,
        end_logit=end,
        level=0.5,
        case=stand_in(model=model),
    )


def of_one(made: Any) -> Measurement:
    return made if isinstance(made, Measurement) else next(iter(made))


LOWER: dict[str, Callable[[float], Any]] = {
    "engine parity of a map": lambda gap: engine(heatmap(engine_parity=gap), 0.0),
    "engine parity of batches": lambda gap: engine(heatmap(engine_parity=0.0), gap),
    "completeness": lambda gap: fidelity.completeness(heatmap(completeness_gap=gap)),
    "conservation": lambda gap: fidelity.completeness(heatmap(conservation_gap=gap)),
    "kept by biases": lambda kept: fidelity.completeness(heatmap(kept_by_biases=kept)),
    "recomputed": lambda gap: recomputed(gap, "anything"),
    "scope": lambda place: scope._judged("place", place, 99.0, "far")[0],
    "sum of shares": lambda gap: anatomy.sums(stand_in(outside=1.0 + abs(gap), regions=())),
    "efficiency": lambda gap: anatomy._promises(stand_in(evidence={"efficiency_gap": gap}, regions=())),
    "parity of coalitions": lambda gap: anatomy._promises(stand_in(evidence={"engine_parity": gap}, regions=())),
    "engine parity of units": units._engine,
    "sum of units": lambda gap: units._sum(stand_in(evidence={"completeness_gap": gap})),
    "prototypes": lambda gap: cases._gap("gap", gap, "anything"),
    "neighbours that stay": lambda share: cases._overlap("overlap", share, 0.1, "anyhow"),
    "additivity of the total": lambda gap: concepts._additivity(concept_scores(1.0 + abs(gap), 1.0), 1.0),
    "additivity of the base": lambda gap: concepts._additivity(concept_scores(1.0, 1.0, base=abs(gap)), 1.0),
    "additivity of a score": lambda gap: concepts._additivity(concept_scores(1.0, 1.0, abs(gap)), 1.0),
    "unusual": lambda place: latent._usual(stand_in(percentile=place, distance_is="any")),
    "autoencoder": lambda gap: counterfactual._fidelity(seen(start=0.9 - abs(gap))),
    "answers of the explanation": lambda gap: counterfactual._engine(seen(answer_before=0.9 + abs(gap))),
    "answers of frames": lambda gap: counterfactual._engine(seen(answers=(0.9, 0.1 + abs(gap)))),
}
HIGHER: dict[str, Callable[[float], Any]] = {
    "against random orders": lambda gap: stand_in(
        grade=fidelity.gap_against_random(curves(gap), [curves(0.5), curves(-0.5)], 0)[1]
    ),
    "against random orders, made again": lambda gap: stand_in(
        grade=fidelity.gap_against_random(curves(gap), [curves(0.5), curves(-0.5)], 0, True)[1]
    ),
    "share inside anatomy": lambda share: anatomy._inside(share, 0.3),
    "plane": lambda trust: latent._plane(stand_in(trustworthiness=trust, plane="PCA")),
    "nearest similarity": lambda like: cases._alike_enough(stand_in(matches=(stand_in(similarity=like),)), 0.5),
    "better than chance": lambda value: concepts._chance("better", value, 0.1, 0.05, "chance", "nowhere"),
}


def grade_of(made: Any) -> Grade:
    return made.grade if isinstance(made, SimpleNamespace) else of_one(made).grade


@pytest.mark.parametrize("name", [*LOWER, *HIGHER])
@settings(max_examples=150, deadline=None)
@given(one=NUMBERS | AMONG, other=NUMBERS | AMONG)
def test_a_worse_value_never_gets_a_better_grade(name: str, one: float, other: float) -> None:
    grader, sign = (LOWER[name], 1) if name in LOWER else (HIGHER[name], -1)
    if sign < 0 and not (math.isfinite(one) and math.isfinite(other)):
        return  # nothing that was measured is infinitely good
    better, worse = sorted([one, other], key=lambda value: sign * value)
    if sign > 0 and better < 0:
        better, worse = sorted([abs(one), abs(other)])  # gaps and shares are no less than 0
    with np.errstate(all="ignore"):
        assert RANK[grade_of(grader(better))] <= RANK[grade_of(grader(worse))]


@pytest.mark.parametrize("name", [*LOWER, *HIGHER])
def test_what_is_no_number_is_not_green(name: str) -> None:
    with np.errstate(all="ignore"):
        assert grade_of((LOWER | HIGHER)[name](NAN)) is not Grade.GREEN


@pytest.mark.parametrize("name", [*LOWER, *HIGHER])
def test_and_the_same_graders_can_be_green(name: str) -> None:
    assert grade_of(LOWER[name](0.0) if name in LOWER else HIGHER[name](1.0)) is Grade.GREEN


# --- the type that all of them are -----------------------------------------------------------------------------------
@pytest.mark.parametrize("value", [NAN, math.inf, -math.inf])
def test_no_measurement_is_green_without_a_number(value: float) -> None:
    measured = Measurement("any", "engine", value, 0.0, Grade.GREEN, "green up to 1", "nowhere")
    assert measured.grade is Grade.RED
    assert measured.rule.startswith("red")
    assert Measurement("any", "case", value, 0.0, Grade.AMBER, "amber", "nowhere").grade is Grade.AMBER


@given(numbers=st.lists(st.floats(0, 10) | st.just(NAN), max_size=6))
@example(numbers=[0.0, NAN])
@example(numbers=[NAN, 0.0])
def test_the_largest_of_some_numbers_is_unknown_where_one_is(numbers: list[float]) -> None:
    largest = largest_or_nan(numbers)
    assert math.isnan(largest) == (not numbers or any(map(math.isnan, numbers)))
    assert math.isnan(largest) or largest == max(numbers)


MEASURED = st.builds(
    lambda aspect, grade: Measurement("any", aspect, 1.0, None, grade, "rule", "nowhere"),
    st.sampled_from(sorted({*frozenset().union(*QUESTIONS.values()), "robustness", "complexity"})),
    st.sampled_from(list(Grade)),
)


@given(measured=st.lists(MEASURED, max_size=6), further=MEASURED)
def test_a_card_is_as_good_as_its_worst_answer_and_none_is_red(
    measured: list[Measurement], further: Measurement
) -> None:
    card = QualityCard(tuple(measured))
    deciding = [one.grade for one in measured if one.aspect not in ("robustness", "complexity")]
    assert card.grade is max(deciding, key=RANK.__getitem__, default=Grade.RED)
    if deciding:
        assert RANK[QualityCard((*measured, further)).grade] >= RANK[card.grade]


# --- graders of more than one number ---------------------------------------------------------------------------------
def test_no_random_orders_is_no_better_than_random_orders() -> None:
    with np.errstate(all="ignore"):
        assert fidelity.gap_against_random(curves(1.0), [curves(0.0)], 0)[1] is Grade.RED
        assert fidelity.gap_against_random(curves(1.0), [curves(NAN)], 0, True)[1] is Grade.RED


def test_entropy_of_no_numbers_is_not_green_and_padding_is_no_part_of_a_map() -> None:
    values = np.ones((4, 4), np.float32)
    values[0, 0] = np.nan
    assert all(measured.grade is not Grade.GREEN for measured in complexity(values))
    valid = np.ones((4, 4), bool)
    valid[0] = False
    values[0] = 0
    sparse, spread = complexity(values, valid)
    assert (sparse.value, spread.value) == (0, pytest.approx(np.log(12)))
    assert sparse.grade is Grade.AMBER, "the same everywhere, but for what lies beside the image"


@pytest.mark.parametrize(
    "values", [np.zeros((3, 3)), np.ones((3, 3)), np.full((3, 3), NAN), np.ones((1, 1)), np.ones(0)]
)
def test_a_map_that_says_nothing_is_red(values: np.ndarray) -> None:
    assert map_health(values.astype(np.float32)).grade is Grade.RED


@pytest.mark.parametrize("probability", [0.0, 1e-12, 0.3, 0.5, 1.0, NAN])
def test_the_answer_is_graded_by_its_odds(probability: float) -> None:
    model = stand_in(
        task="multi-label", targets=("one",), answer=lambda _: np.array([[probability]]), manifest=stand_in(targets=())
    )
    model.manifest.targets = (stand_in(name="one", threshold=0.5),)
    model.target_index = lambda _: 0
    case = stand_in(model=model, targets=(0,), run=stand_in(logits=ANY))
    (measured,) = answer.answer_against_threshold(case)
    green = probability / (1 - probability) >= answer.SPOKEN if 0 < probability < 1 else probability == 1
    assert (measured.grade is Grade.GREEN) == green


@settings(max_examples=150, deadline=None)
@given(data=st.data(), boxes=st.integers(1, 60))
def test_fewer_hits_never_make_a_better_record(data: st.DataObject, boxes: int) -> None:
    blind, fewer, more = (data.draw(st.integers(0, boxes)) for _ in range(3))
    fewer, more = sorted([fewer, more])
    worse, better = (record._graded(hits, boxes, {"the centre": blind}, "maps hit") for hits in (fewer, more))
    assert RANK[better.grade] <= RANK[worse.grade]
    assert worse.grade is not Grade.GREEN or fewer > blind


def test_no_anatomy_is_red() -> None:
    assert anatomy.anatomy_found((), None).grade is Grade.RED


def test_a_map_that_lies_on_padding_alone_has_no_place_inside_anatomy() -> None:
    valid = np.ones((6, 6), bool)
    valid[:2] = False
    on_padding = np.where(valid, 0, 1).astype(np.float32)
    measured = anatomy._strongest_place(on_padding, np.ones((6, 6), bool), valid)
    assert measured.grade is Grade.RED


def test_units_that_change_nothing_known_are_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    def graded(changes: list[float], count: int = 12, picked: tuple[int, ...] = (0, 1)) -> Grade:
        monkeypatch.setattr(units, "ablated_together", lambda *_: np.array([changes]))
        contributed = np.r_[3.0, 2.0, np.full(count - 2, 0.1)].astype(np.float32)
        return units._necessary(ANY, "layer", picked, contributed, ANY, np.random.default_rng(0)).grade

    others = [0.1] * units.RANDOM_GROUPS
    assert graded([1.0, *others]) is Grade.GREEN
    assert graded([NAN, *others]) is Grade.RED
    assert graded([1.0, *others[1:], NAN]) is not Grade.GREEN
    assert graded([0.1, *others]) is Grade.RED, "as much as any others"
    assert graded([1.0, *others], count=3) is not Grade.GREEN, "one other unit against two says nothing"
    assert graded([1.0, *([0.0] * units.RANDOM_GROUPS)], count=2) is not Grade.GREEN, "there are no others"


@pytest.mark.parametrize(("change", "grade"), [(1.0, Grade.AMBER), (0.1, Grade.RED)])
def test_that_other_units_are_too_few_is_said_of_amber_alone(
    change: float, grade: Grade, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(units, "ablated_together", lambda *_: np.array([[change, *[0.1] * units.RANDOM_GROUPS]]))
    contributed = np.array([3.0, 2.0, 0.1], np.float32)
    measured = units._necessary(ANY, "layer", (0, 1), contributed, ANY, np.random.default_rng(0))
    assert measured.grade is grade
    assert ("amber: there are not so many others" in measured.rule) is (grade is Grade.AMBER)


def test_concepts_that_are_none_are_not_well_known() -> None:
    nothing = concepts._known(concept_scores(0.0), "AUC", 0.7)
    assert nothing.grade is Grade.AMBER
    assert "none" in nothing.rule
    assert concepts._known(concept_scores(0.0, 1.0), "AUC", 0.7).grade is Grade.GREEN
    assert concepts._additivity(concept_scores(None, 1.0), 1.0).grade is Grade.RED
    assert concepts._additivity(concept_scores(1.0, 1.0, base=None), 1.0).grade is Grade.RED


def test_better_than_chance_is_by_two_whole_standard_deviations() -> None:
    assert concepts._chance("better", 0.1 + 1.9 * 0.05, 0.1, 0.05, "", "").grade is Grade.AMBER
    assert concepts._chance("better", 0.1 + 2.1 * 0.05, 0.1, 0.05, "", "").grade is Grade.GREEN
    assert concepts._chance("better", 0.1 + 2.1 * 0.05, 0.1, NAN, "", "").grade is not Grade.GREEN


def test_text_that_retells_nothing_rests_on_nothing() -> None:
    assert language.rests_on(stand_in(shown=(), numbers={})).grade is Grade.AMBER
    assert language.rests_on(stand_in(shown=("a", "b"), numbers={"a.grade": 0.0, "b.grade": NAN})).grade is Grade.AMBER
    assert language.rests_on(stand_in(shown=("a",), numbers={"a.grade": 0.0})).grade is Grade.GREEN


@pytest.mark.parametrize("task", ["multi-label", "regression"])
def test_an_answer_that_is_no_number_flips_nothing(task: str) -> None:
    assert counterfactual._valid(seen(end=0.1, task=task)).grade is Grade.GREEN
    assert counterfactual._valid(seen(end=NAN, task=task)).grade is Grade.RED


def test_a_smallest_set_that_nobody_certified_is_not_told_as_one() -> None:
    measured = counterfactual._needed(seen(evidence={"irreducible": 1.0}))
    assert (measured.value, measured.grade) == (1.0, Grade.GREEN)
    assert counterfactual._needed(seen(evidence={"irreducible": NAN})).grade is Grade.AMBER
    assert counterfactual._needed(seen()).grade is Grade.AMBER


def test_an_image_that_nothing_was_compared_with_is_amber() -> None:
    (unknown,) = scope_measured(ScopeCheck())
    assert unknown.grade is Grade.AMBER


def test_a_model_whose_answers_are_no_numbers_is_red(monkeypatch: pytest.MonkeyPatch) -> None:
    from whyray.quality import known_answers

    monkeypatch.setattr(known_answers, "answers", lambda _: np.full((4, 2), np.nan, np.float32))
    model = stand_in(once=lambda _, make: make(), task="multi-label", identity="any")
    monkeypatch.setattr(known_answers, "find_artefact", lambda *_: None)
    assert answers_as_known(model).grade is Grade.RED
