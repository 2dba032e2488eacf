"""Each measurement that decides, and each of its thresholds: without the one, or with the other doubled, a test here or
beside fails. `python -m trust.mutants` tries them all."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from planted import BRIGHT, planted_package
from trust.bad_models import scaled_head
from trust.records import localisation_of, onboarded_with
from whyray.base.coded_concept import CodedConcept
from whyray.explain import Case, Heatmap, Structure, explain, explained_image
from whyray.inference import Model, RuntimeOptions, load_package
from whyray.packages import write_artefact
from whyray.packages.localisation_report import TargetHits
from whyray.packages.randomisation_report import ALL, HALF, IMAGES, ORDER_KEPT
from whyray.quality import Budget, Grade, Measurement, QualityCard, ScopeCheck, assess
from whyray.quality.anatomy import anatomy_found, inside_anatomy
from whyray.quality.answer import answer_against_threshold
from whyray.quality.assess import engine
from whyray.quality.card import QUESTIONS, Aspect
from whyray.quality.deletion import Curves
from whyray.quality.fidelity import completeness, gap_against_random
from whyray.quality.known_answers import KIND, answers_as_known, known_answers
from whyray.quality.record import record_of
from whyray.quality.robustness import made_again
from whyray.quality.scope import anatomy_scope

GREEN, AMBER, RED = Grade.GREEN, Grade.AMBER, Grade.RED
DECIDING = {
    "map health",
    "answers as when it was onboarded",
    "made again",
    "engine parity",
    "insertion - deletion AUC",
    "share inside anatomy",
    "strongest place inside anatomy",
    "answer against its threshold",
    "maps that hit what readers marked",
    "image like those of the package",
}
LUNGS = np.zeros((64, 64), bool)
LUNGS[8:56, 6:58] = True


def model_in(folder: Path, *, threshold: float | None = None, onboarded: bool = True) -> Model:
    path = planted_package(folder, shape=(64, 64), level=0.55)
    if threshold is not None:
        manifest = path / "model.yaml"
        manifest.write_text(manifest.read_text().replace("threshold: 0.5", f"threshold: {threshold:.6f}"))
    options = RuntimeOptions(device="cpu", intra_op_threads=1, cache=None)
    if onboarded:
        facts, arrays = known_answers(load_package(path, options=options), made=date(2026, 1, 1))
        write_artefact(path / "onboarding" / f"{KIND}.npz", facts, arrays)
        hit = TargetHits(boxes=58, hits=40, centre_prior_hits=14)
        onboarded_with(path, {"grad-cam": localisation_of({BRIGHT: hit})})
    return load_package(path, options=options)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return model_in(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    made = np.where(LUNGS, 0.2, 0.5)[None, None].astype(np.float32)
    made[..., 30:38, 16:24] = 0.9
    return made


@pytest.fixture(scope="module")
def heatmap(model: Model, image: np.ndarray) -> Heatmap:
    made = explain(model, image, target=BRIGHT, method="grad-cam")
    assert isinstance(made, Heatmap)
    return made


# --- no measurement can be left out ----------------------------------------------------------------------------------
def test_a_card_asks_all_that_decides(model: Model, image: np.ndarray, heatmap: Heatmap) -> None:
    card = assess(model, image, heatmap, allowed=LUNGS, scope=ScopeCheck())
    decides = frozenset().union(*QUESTIONS.values())
    assert {measured.name for measured in card.measurements if measured.aspect in decides} == DECIDING
    assert card.answers == {"image": AMBER, "model": GREEN, "place": GREEN}


@pytest.mark.parametrize("aspect", ["scope", "case", "engine", "fidelity", "sanity", "anatomy", "record"])
def test_what_decides_withholds_where_it_is_red_and_is_never_green_where_it_is_amber(aspect: Aspect) -> None:
    def card(grade: Grade) -> QualityCard:
        fine = [Measurement(name, "engine", 0, None, GREEN, "", "") for name in ("one", "other")]
        return QualityCard((*fine, Measurement("this", aspect, 0, None, grade, "", "")))

    assert [card(grade).grade for grade in (GREEN, AMBER, RED)] == [GREEN, AMBER, RED]
    assert card(RED).withheld


@pytest.mark.parametrize("evidence", ["completeness_gap", "conservation_gap", "kept_by_biases"])
def test_what_a_method_promises_is_asked(evidence: str, model: Model, image: np.ndarray, heatmap: Heatmap) -> None:
    card = assess(model, image, replace(heatmap, evidence={evidence: 0.9}), allowed=LUNGS)
    assert evidence.replace("_", " ") in {measured.name for measured in card.concerns}


def test_a_model_that_answers_nothing_has_no_card_that_shows(
    image: np.ndarray, heatmap: Heatmap, tmp_path: Path
) -> None:
    flat = scaled_head(model_in(tmp_path, onboarded=False), 1e-9)
    assert "answers that differ between images" in {measured.name for measured in assess(flat, image, heatmap).concerns}


@pytest.mark.parametrize(
    ("kept", "grade"), [(0.5, GREEN), (0.51, AMBER), (0.8, AMBER), (0.81, RED), (1.0, RED), (-1.0, GREEN)]
)
def test_a_map_that_stays_with_other_weights_is_withheld(
    kept: float, grade: Grade, image: np.ndarray, heatmap: Heatmap, tmp_path: Path
) -> None:
    model = model_in(tmp_path)
    report = json.loads(model.package.report.read_text())
    report["methods"]["grad-cam"] |= {"parameters": {}, "sanity": {ORDER_KEPT: {HALF: 1.0, ALL: kept}, IMAGES: 4}}
    model.package.report.write_text(json.dumps(report))
    card = assess(load_package(model.package.folder, options=model.options), image, heatmap, allowed=LUNGS)
    assert {one.name: one.grade for one in card.measurements}["map with randomised weights"] is grade
    assert card.answers["model"] is grade


# --- no threshold can move -------------------------------------------------------------------------------------------
def only(measurements: object) -> Measurement:
    (measured,) = measurements  # type: ignore[misc]
    assert isinstance(measured, Measurement)
    return measured


@pytest.mark.parametrize(("gap", "grade"), [(0.0009, GREEN), (0.0015, AMBER), (0.009, AMBER), (0.015, RED)])
def test_engines_may_differ_by_a_thousandth(gap: float, grade: Grade, heatmap: Heatmap) -> None:
    assert only(engine(heatmap, gap)).grade is grade
    assert only(engine(replace(heatmap, evidence={"engine_parity": gap}), 0.0)).grade is grade


@pytest.mark.parametrize(
    ("evidence", "gap", "grade"),
    [
        ("completeness_gap", 0.04, GREEN),
        ("completeness_gap", 0.07, AMBER),
        ("conservation_gap", 0.3, RED),
        ("kept_by_biases", 0.15, GREEN),
        ("kept_by_biases", 0.3, AMBER),
        ("kept_by_biases", 0.7, RED),
    ],
)
def test_shares_add_up_or_the_map_is_doubted(evidence: str, gap: float, grade: Grade, heatmap: Heatmap) -> None:
    assert only(completeness(replace(heatmap, evidence={evidence: gap}))).grade is grade


@pytest.mark.parametrize(("gap", "grade"), [(1.5, GREEN), (0.9, RED), (-2.0, RED)])
def test_a_map_beats_random_orders_by_their_spread(gap: float, grade: Grade) -> None:
    assert gap_against_random(curves(gap), [curves(spread) for spread in (1.0, -1.0)], 0)[1] is grade


@pytest.mark.parametrize(("gap", "grade"), [(1.5, GREEN), (0.1, AMBER), (-0.1, RED)])
def test_a_map_that_was_made_again_is_doubted_up_to_there_and_withheld_where_random_orders_are_better(
    gap: float, grade: Grade
) -> None:
    assert gap_against_random(curves(gap), [curves(spread) for spread in (1.0, -1.0)], 0, made_again=True)[1] is grade


def curves(gap: float) -> Curves:
    return Curves(deletion=np.zeros(1), insertion=np.full(1, gap))


@pytest.mark.parametrize(("inside", "grade"), [(0.65, GREEN), (0.55, AMBER), (0.45, RED)])
def test_most_of_a_map_lies_where_its_finding_is_looked_for(inside: float, grade: Grade, heatmap: Heatmap) -> None:
    values = np.zeros((64, 64), np.float32)
    values[20, 20:30], values[2, 20:30] = inside, 1 - inside
    looked_for = np.zeros((64, 64), bool)
    looked_for[16:48, 16:48] = True
    share, _ = inside_anatomy(replace(heatmap, values=values, signed=False), looked_for, None)
    assert (share.name, share.grade) == ("share inside anatomy", grade)


@pytest.mark.parametrize(("factor", "grade"), [(1.0, GREEN), (1.04, GREEN), (1.07, RED), (0.5, RED)])
def test_a_map_is_the_one_that_the_method_gives_again(
    factor: float, grade: Grade, model: Model, image: np.ndarray, heatmap: Heatmap
) -> None:
    case = Case(model, explained_image(model, image), [0])
    measured = made_again(case, replace(heatmap, values=heatmap.values * np.float32(factor)), affordable=1)
    assert (measured.name, measured.grade) == ("made again", grade)


def test_a_map_that_would_take_too_much_to_make_again_is_not_green(model: Model, image: np.ndarray) -> None:
    dear = explain(model, image, target=BRIGHT, method="rise", masks=80)
    assert isinstance(dear, Heatmap)
    card = assess(model, image, dear, allowed=LUNGS, budget=Budget(forwards=100, repeats=False))
    assert card.answers["model"] is not GREEN
    assert "passes to make it again" in {measured.name for measured in card.concerns}
    assert not assess(model, image, dear, budget=Budget(forwards=200)).withheld


@pytest.mark.parametrize(
    ("hits", "grade"),
    [(30, GREEN), (29, AMBER), (27, AMBER), (26, AMBER), (15, AMBER), (13, RED)],
    ids=[
        "p = .046 of both counts",
        "p = .066 of both counts",
        "p = .036 of a known chance",
        "p = .064 of a known chance",
        "p = .10",
        "p = .035",
    ],
)
def test_hits_count_where_chance_gives_them_once_in_twenty_times(hits: int, grade: Grade, tmp_path: Path) -> None:
    path = planted_package(tmp_path, shape=(64, 64))
    marked = TargetHits(boxes=58, hits=hits, centre_prior_hits=20)
    onboarded_with(path, {"grad-cam": localisation_of({BRIGHT: marked})})
    assert record_of(load_package(path), "grad-cam", BRIGHT).grade is grade


@pytest.mark.parametrize(("boxes", "known"), [(19, False), (20, True), (30, True)])
def test_twenty_marked_findings_are_a_record(boxes: int, known: bool, tmp_path: Path) -> None:
    path = planted_package(tmp_path, shape=(64, 64))
    marked = TargetHits(boxes=boxes, hits=boxes, centre_prior_hits=3)
    onboarded_with(path, {"grad-cam": localisation_of({BRIGHT: marked})})
    assert (record_of(load_package(path), "grad-cam", BRIGHT).grade is GREEN) is known


@pytest.mark.parametrize(("ratio", "grade"), [(0.5, GREEN), (0.3, AMBER), (0.15, AMBER), (0.11, RED)])
def test_a_finding_that_the_model_all_but_excludes_has_no_map(ratio: float, grade: Grade, tmp_path: Path) -> None:
    image = np.full((1, 1, 64, 64), 0.2, np.float32)
    image[..., 30:32, 16:18] = 0.6
    answered = float(model_in(tmp_path / "first", onboarded=False).predict(image)[0, 0])
    odds = answered / (1 - answered) / ratio
    model = model_in(tmp_path / "second", threshold=odds / (1 + odds), onboarded=False)
    measured = only(answer_against_threshold(Case(model, explained_image(model, image), [0])))
    assert measured.value == pytest.approx(ratio, rel=1e-3)
    assert measured.grade is grade


@pytest.mark.parametrize(("parts", "grade"), [(0.0, GREEN), (0.03, AMBER), (0.09, AMBER), (0.15, RED)])
def test_a_model_answers_as_when_it_was_onboarded(parts: float, grade: Grade, tmp_path: Path) -> None:
    path = planted_package(tmp_path, shape=(64, 64), level=0.55)
    facts, arrays = known_answers(load_package(path), made=date(2026, 1, 1))
    spread = float(np.median(arrays["logits"].std(axis=0)))
    write_artefact(path / "onboarding" / f"{KIND}.npz", facts, {**arrays, "logits": arrays["logits"] + parts * spread})
    assert answers_as_known(load_package(path)).grade is grade


@pytest.mark.parametrize(("spread", "grade"), [(1.5e-5, GREEN), (0.7e-5, RED)])
def test_a_model_whose_answers_hardly_differ_answers_nothing(spread: float, grade: Grade, tmp_path: Path) -> None:
    model = model_in(tmp_path, onboarded=False)
    own = answers_as_known(model).value
    assert answers_as_known(scaled_head(model, spread / own)).grade is grade


@pytest.mark.parametrize(("without", "grade"), [(0, GREEN), (1, GREEN), (2, RED)])
def test_one_structure_that_can_not_be_is_disease_and_two_are_another_image(without: int, grade: Grade) -> None:
    codes = {"3341006": slice(2, 22), "44029006": slice(40, 60), "80891009": slice(26, 36), "72410000": slice(27, 33)}
    structures = []
    for code, columns in list(codes.items())[: len(codes) - without]:
        mask = np.zeros((64, 64), bool)
        mask[20:50, columns] = True
        structures.append(Structure(code, mask, CodedConcept(value=code, scheme="SCT", meaning=code)))
    assert anatomy_scope(structures, None)[0].grade is grade


def test_no_anatomy_is_red() -> None:
    assert anatomy_found((), None).grade is RED
    assert anatomy_scope((), None)[0].grade is RED
