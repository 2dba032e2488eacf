"""Pages and cines of counterfactuals: what no scanner made says so, in every language, and rows hold every number."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from results.answers import answer_about, card
from results.sources import image_named
from typed_examples import examples
from whyray.explain import Counterfactual
from whyray.quality import Grade
from whyray.results import Answer, GradedExplanation, Templates, build_results
from whyray.results.portray import Look, Portrayal, portray

EVIDENCE = {
    "latent-shift": {"reconstruction_gap": 0.02, "shift": 0.1, "added_answer": 0.4, "threshold": 0.5},
    "region-counterfactual": {
        "replaced": 1.0,
        "regions": 40.0,
        "area": 0.05,
        "certified": 1.0,
        "irreducible": 1.0,
        "threshold": 0.5,
    },
}


def example(method: str) -> Counterfactual:
    explanation = examples()[method]
    assert isinstance(explanation, Counterfactual)
    return replace(explanation, evidence=EVIDENCE[method])


def told(method: str, explanation: Counterfactual | None = None) -> Answer:
    answer = answer_about(image_named("DX, Japanese"))
    finding = answer.findings[0]
    explained = replace(explanation or example(method), target=finding.target.name)
    return replace(answer, findings=(replace(finding, typed=(GradedExplanation(explained, card(Grade.GREEN), ()),)),))


def portrayed(method: str, templates: Templates, language: str = "en", **changes: object) -> Portrayal:
    answer = told(method, replace(example(method), **changes))
    finding = answer.findings[0]
    return portray(finding.typed[0], Look(answer, finding, templates, templates.layout, templates.wording(language)))


def test_every_frame_of_a_decoders_cine_is_marked(templates: Templates) -> None:
    said = portrayed("latent-shift", templates)
    assert len(said.cine) == len(example("latent-shift").frames)
    assert all(picture.synthetic for picture in said.cine)
    assert [figure.synthetic for figure in said.figures] == [True, True, True, False]  # the last is a chart


def test_of_replaced_regions_only_the_image_itself_is_not_marked(templates: Templates) -> None:
    said = portrayed("region-counterfactual", templates)
    assert [picture.synthetic for picture in said.cine] == [False, True]
    assert [figure.synthetic for figure in said.figures] == [False, True, True, False]


@pytest.mark.parametrize("method", EVIDENCE)
@pytest.mark.parametrize("language", ["en", "de", "fr", "es", "ja"])
def test_the_headline_says_both_answers_and_whether_it_flips(method: str, language: str, templates: Templates) -> None:
    flipped = portrayed(method, templates, language)
    not_flipped = portrayed(method, templates, language, flipped=False)
    for said in (flipped, not_flipped):
        numbers = templates.wording(language).numbers
        assert numbers.fixed(0.8, 3) in said.headline
        assert numbers.fixed(0.3, 3) in said.headline
    assert flipped.headline != not_flipped.headline


def test_the_report_has_each_number(templates: Templates) -> None:
    rows = {row.name.meaning: row.value for row in portrayed("latent-shift", templates).rows}
    assert rows["Answer about the image"] == pytest.approx(0.82)
    assert rows["Answer before the change"] == pytest.approx(0.8)
    assert rows["Answer after the change"] == pytest.approx(0.3)
    assert rows["Gap of the answer by the autoencoder"] == pytest.approx(0.02)
    assert rows["Shift in latent space"] == pytest.approx(10)  # per cent of the latents' own length
    regions = {row.name.meaning: row.value for row in portrayed("region-counterfactual", templates).rows}
    assert (regions["Regions replaced"], regions["Regions in all"]) == (1.0, 40.0)
    assert regions["No region can be left out"] == "yes"


def test_what_is_certain_about_the_set_is_said_and_no_more(templates: Templates) -> None:
    words = templates.wording("en").counterfactual
    evidence = EVIDENCE["region-counterfactual"]
    smallest = portrayed("region-counterfactual", templates)
    assert words.smallest in smallest.lines
    irreducible = portrayed("region-counterfactual", templates, evidence=evidence | {"replaced": 3.0})
    assert words.irreducible in irreducible.lines
    assert words.smallest not in irreducible.lines
    unsure = portrayed("region-counterfactual", templates, evidence=evidence | {"replaced": 3.0, "irreducible": 0.0})
    assert words.irreducible not in unsure.lines


def test_of_a_volume_the_slice_that_changes_most_is_shown(templates: Templates) -> None:
    frames = np.zeros((3, 5, 8, 8), np.float32)
    frames[2, 3, 2:6, 2:6] = 1.0
    said = portrayed("latent-shift", templates, frames=frames, difference=frames[2] - frames[0])
    assert said.cine[0].picture.max() == 0
    assert said.cine[2].picture.max() == 255


def test_the_cine_is_a_multi_frame_capture_with_a_frame_for_each_picture(templates: Templates) -> None:
    results = build_results(told("latent-shift"), ("cine",), templates)
    counts = [int(result.dataset.get("NumberOfFrames", 1)) for result in results if result.method == "latent-shift"]
    assert len(example("latent-shift").frames) in counts
