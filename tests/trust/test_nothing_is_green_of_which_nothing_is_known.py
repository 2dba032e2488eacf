"""Maps are green only where maps of this package, method and finding were compared with what readers marked."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from explain.anatomy.planted_anatomy import IN_RIGHT_LUNG, anatomy_package, detector, lit
from planted import BRIGHT
from trust.records import localisation_of, onboarded_with
from whyray.explain import Context, Heatmap, PriorExplanation, RegionShares, explain
from whyray.inference import Model
from whyray.packages.localisation_report import MethodLocalisation, TargetHits, localisation_in
from whyray.packages.randomisation_report import ALL, HALF, IMAGES, ORDER_KEPT
from whyray.quality import Grade, assess, assess_typed
from whyray.quality.record import NO_RECORD, RECORD, record_of


class Reported:
    """A model of which only the report is asked."""

    def __init__(self, **methods: MethodLocalisation) -> None:
        self._report = {
            "methods": {
                name.replace("_", "-"): {"localisation": reached.model_dump(mode="json")}
                for name, reached in methods.items()
            }
        }

    def localisation(self) -> dict[str, MethodLocalisation]:
        return localisation_in(self._report, None)  # type: ignore[arg-type]


GOOD = TargetHits(boxes=58, hits=40, centre_prior_hits=14, usual_place_hits=20, lung_brightness_hits=18)


def record(model: Reported, method: str, target: str, of: str | None = None) -> tuple[str, Grade]:
    measured = record_of(model, method, target, of=of)  # type: ignore[arg-type]
    return measured.name, measured.grade


@pytest.mark.parametrize(
    ("hits", "centre", "usual", "grade"),
    [
        (40, 14, None, Grade.GREEN),
        (16, 14, None, Grade.AMBER),
        (2, 14, None, Grade.RED),
        (40, 14, 38, Grade.AMBER),
        (16, 14, 38, Grade.RED),
    ],
)
def test_what_the_packages_maps_hit_before_counts_against_what_knows_no_model(
    hits: int, centre: int, usual: int | None, grade: Grade
) -> None:
    marked = TargetHits(boxes=58, hits=hits, centre_prior_hits=centre, usual_place_hits=usual)
    measured = record_of(Reported(cam=localisation_of({"Mass": marked})), "cam", "Mass")  # type: ignore[arg-type]
    assert measured.grade is grade
    assert f"{hits} of 58" in measured.rule


def test_a_record_of_one_finding_says_nothing_of_another() -> None:
    model = Reported(cam=localisation_of({"Opacity": GOOD, "Nodule": TargetHits(boxes=3, hits=3, centre_prior_hits=0)}))
    few = Reported(cam=localisation_of({"Opacity": GOOD, "Mass": GOOD.model_copy(update={"boxes": 19, "hits": 19})}))
    assert record(model, "cam", "Opacity") == (RECORD, Grade.GREEN)
    assert record(model, "cam", "Mass") == (NO_RECORD, Grade.AMBER)
    assert record(few, "cam", "Mass") == (NO_RECORD, Grade.AMBER)
    assert record_of(few, "cam", "Mass").value == 19  # type: ignore[arg-type]


def test_a_record_of_one_method_says_nothing_of_another_nor_of_maps_made_of_other_maps() -> None:
    narrowed = localisation_of({"Mass": GOOD}, of="grad-cam")
    model = Reported(grad_cam=localisation_of({"Mass": GOOD}), anatomy_constrained=narrowed)
    assert record(model, "rise", "Mass") == (NO_RECORD, Grade.AMBER)
    assert record(model, "anatomy-constrained", "Mass", of="grad-cam") == (RECORD, Grade.GREEN)
    assert record(model, "anatomy-constrained", "Mass", of="rise") == (NO_RECORD, Grade.AMBER)


def test_where_nobody_marked_anything_that_is_said_and_the_number_is_none() -> None:
    measured = record_of(Reported(), "cam", "Mass")  # type: ignore[arg-type]
    assert (measured.value, measured.baseline) == (0, 20)
    assert "no radiologist's marks were compared with such maps of this package" in measured.rule


def test_maps_that_hit_less_than_a_blind_guess_wherever_they_were_looked_at_are_no_better_for_other_findings() -> None:
    worse = localisation_of({"Opacity": GOOD.model_copy(update={"hits": 2})})
    assert record(Reported(cam=worse), "cam", "Mass") == (RECORD, Grade.RED)


def test_an_earlier_report_counts_where_all_its_marks_are_of_this_finding_alone() -> None:
    early = {"boxes": 58, "hits": 40, "centre_prior_hits": 14}
    one = localisation_of({"Opacity": GOOD}).model_copy(update={"targets": {"Opacity": TargetHits(**early)}})
    two = one.model_copy(update={"targets": {name: TargetHits(**early) for name in ("Opacity", "Mass")}})
    assert record(Reported(cam=one), "cam", "Opacity") == (RECORD, Grade.GREEN)
    assert record(Reported(cam=two), "cam", "Opacity") == (NO_RECORD, Grade.AMBER)


@pytest.fixture
def model(tmp_path: Path) -> Model:
    anatomy_package(tmp_path)
    return detector(tmp_path)


def test_a_map_and_its_shares_are_green_only_with_a_record_of_such_maps(model: Model) -> None:
    image = lit(IN_RIGHT_LUNG)
    heatmap = explain(model, image, target=BRIGHT, method="grad-cam")
    shares = explain(model, image, target=BRIGHT, method="region-shares", of="grad-cam", zones=False)
    assert isinstance(heatmap, Heatmap)
    assert isinstance(shares, RegionShares)

    def places(model: Model) -> set[Grade]:
        cards = assess(model, image, heatmap), assess_typed(model, image, shares, context=Context())
        return {card.answers["place"] for card in cards}

    assert places(model) == {Grade.AMBER}
    onboarded_with(model.package.folder, {"grad-cam": localisation_of({BRIGHT: GOOD})})
    assert places(model) == {Grade.GREEN}


@pytest.mark.parametrize("prior", [False, True])
@pytest.mark.parametrize(("source", "withheld"), [("grad-cam", True), ("layer-cam", False)])
def test_shares_that_retell_a_map_which_stays_with_other_weights_are_withheld_with_it(
    source: str, withheld: bool, prior: bool, model: Model
) -> None:
    image = lit(IN_RIGHT_LUNG)
    heatmap = explain(model, image, target=BRIGHT, method=source)
    context = Context(made=(PriorExplanation(heatmap, "green", False),)) if prior else Context()
    shares = explain(model, image, target=BRIGHT, method="region-shares", of=source, zones=False, context=context)
    assert isinstance(shares, RegionShares)
    onboarded_with(model.package.folder, {"grad-cam": localisation_of({BRIGHT: GOOD})})
    report = json.loads(model.package.report.read_text())
    report["methods"]["grad-cam"] |= {"parameters": {}, "sanity": {ORDER_KEPT: {HALF: 0.9, ALL: 0.9}, IMAGES: 4}}
    model.package.report.write_text(json.dumps(report))
    card = assess_typed(model, image, shares, context=context)
    named = {measured.name: measured.grade for measured in card.measurements}
    assert (named.get("map with randomised weights") is Grade.RED) == withheld


def test_a_diffuse_map_of_a_finding_without_a_record_is_not_green(model: Model) -> None:
    image = lit(IN_RIGHT_LUNG)
    heatmap = explain(model, image, target=BRIGHT, method="grad-cam")
    assert isinstance(heatmap, Heatmap)
    onboarded_with(model.package.folder, {"grad-cam": localisation_of({"another finding": GOOD})})
    card = assess(model, image, heatmap, allowed=np.ones(heatmap.values.shape, bool))
    assert card.grade is not Grade.GREEN
    assert NO_RECORD in {measured.name for measured in card.concerns}
