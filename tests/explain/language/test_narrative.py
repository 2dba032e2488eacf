"""A narrative says what the structured answer says, in five languages, and forgeries are caught."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explain.units import detectors
from whyray.base.errors import ConfigError, ExplanationError
from whyray.explain import (
    CaseMatch,
    CaseMatches,
    Claim,
    ConceptScore,
    ConceptScores,
    Context,
    Counterfactual,
    Heatmap,
    LatentPosition,
    Narrative,
    PriorExplanation,
    RegionShare,
    RegionShares,
    Structure,
    UnitEffect,
    UnitReport,
    explain,
)
from whyray.explain.language import PHRASES, read_phrases
from whyray.explain.language.facts import zones
from whyray.explain.language.phrases import ZONES
from whyray.inference import Model
from whyray.quality import Grade, QualityCard, assess_typed

LANGUAGES = ("en", "de", "fr", "es", "ja")
SHAPE = (detectors.SIZE, detectors.SIZE)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return detectors.load(detectors.package(tmp_path_factory.mktemp("language")))


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return detectors.picture(3)[0][None, None]


def heatmap(rows: slice, columns: slice, target: str = "bright") -> Heatmap:
    values = np.zeros(SHAPE, np.float32)
    values[rows, columns] = 1
    return Heatmap(values, target, "grad-cam", False, "logit")


LOWER_LEFT = heatmap(slice(24, 30), slice(2, 8))


def rich(grade: str = "green", reasons: tuple[str, ...] = ()) -> Context:
    """A context in which every type of explanation was made."""
    mask = np.zeros(SHAPE, bool)
    mask[16:, :16] = True
    shares = RegionShare(Structure("left lung", mask), 0.8, 0.25, 3.2)
    told = [
        LOWER_LEFT,
        RegionShares(
            target="bright",
            method="region-shares",
            unit="share",
            regions=(shares,),
            outside=0.2,
            flagged=True,
            of="grad-cam",
        ),
        ConceptScores(
            target="bright",
            method="tcav",
            unit="sensitivity",
            concepts=(
                ConceptScore("Opacity", 0.7),
                ConceptScore("Edge", -0.3),
                ConceptScore("Noise", 2.0, reliable=False),
            ),
        ),
        CaseMatches(
            target="bright",
            method="similar-cases",
            unit="cosine",
            matches=(CaseMatch("a", 0.9, known=True), CaseMatch("b", 0.8, known=False), CaseMatch("c", 0.7)),
        ),
        CaseMatches(
            target="bright",
            method="prototypes",
            unit="similarity",
            matches=(CaseMatch("p.1", 0.5, weight=2.0),),
            base=0.0,
        ),
        Counterfactual(
            target="bright",
            method="latent-shift",
            frames=np.zeros((2, *SHAPE), np.float32),
            answers=(0.9, 0.1),
            start=0,
            end=1,
            flipped=True,
            difference=np.zeros(SHAPE, np.float32),
            answer_before=0.9,
        ),
        LatentPosition(
            target="bright",
            method="latent-position",
            references=np.zeros((3, 2), np.float32),
            position=(0.0, 0.0),
            known=np.zeros(3, np.int8),
            plane="PCA",
            axes=("a", "b"),
            percentile=97.0,
            distance_is="kNN",
            distances={},
            trustworthiness=0.95,
        ),
        UnitReport(
            target="bright",
            method="unit-report",
            units=(UnitEffect("features", 0, 0.1, 1.5, -1.2, concept="blob", iou=0.2),),
            unit_count=4,
        ),
    ]
    return Context(made=tuple(PriorExplanation(explanation, grade, False, reasons) for explanation in told))


def told(model: Model, image: np.ndarray, context: Context, target: str = "bright", **parameters: object) -> Narrative:
    narrative = explain(model, image, target=target, method="narrative", context=context, **parameters)
    assert isinstance(narrative, Narrative)
    return narrative


def card(model: Model, image: np.ndarray, narrative: Narrative, context: Context) -> QualityCard:
    return assess_typed(model, image, narrative, context=context)


@pytest.mark.parametrize("language", LANGUAGES)
def test_all_that_was_made_is_told_and_every_claim_is_derived_again(
    language: str, model: Model, image: np.ndarray
) -> None:
    context = rich()
    narrative = told(model, image, context, language=language)
    assert narrative.language == language
    said = {claim.source.split(".")[0] for sentence in narrative.sentences for claim in sentence.claims}
    assert said == {"answer", *(prior.explanation.method for prior in context.made)}
    graded = {measurement.name: measurement for measurement in card(model, image, narrative, context).measurements}
    assert graded["claims re-derived"].value == graded["words re-derived"].value == 1.0
    assert not card(model, image, narrative, context).withheld


def test_the_english_of_a_rich_answer(model: Model, image: np.ndarray) -> None:
    probability = float(model.predict(image)[0, 0])
    text = told(model, image, rich()).text
    assert f"The model answers bright with a probability of {100 * probability:.1f}%" in text
    assert "80%, lies in: left lung (25% of the image)" in text
    assert "100% of what speaks for this answer lies in one ninth of the image: lower left part." in text
    assert "speaks most for this answer is: Opacity (0.70)" in text
    assert "speaks most against this answer is: Edge (−0.30)" in text
    assert "1 of the 2 most similar reference cases" in text
    assert "from 90.0% to 10.0%" in text
    assert "97 in 100" in text
    assert "hardly made for it" in text
    assert "unit 0 moved this answer most (1.50 of the logit); it detects: blob" in text
    assert "where bright is not expected" in text


def test_wording_is_about_the_model_and_never_about_the_patients_state(model: Model, image: np.ndarray) -> None:
    for word in ("patient has", "diagnos", "suffers", "shows signs"):
        assert word not in told(model, image, rich()).text


def test_sides_are_the_images_until_the_patients_are_known(model: Model, image: np.ndarray) -> None:
    context = Context(made=(PriorExplanation(LOWER_LEFT, "green", False),))
    assert "patient's" not in told(model, image, context).text.replace("not the patient", "")
    known = replace(context, directions=("F", "L"))
    assert "lower left part, on the patient's right." in told(model, image, known).text
    mirrored = replace(context, directions=("F", "R"))
    assert "lower left part, on the patient's left." in told(model, image, mirrored).text
    sideways = replace(context, directions=("A", "P"))
    assert told(model, image, sideways).text == told(model, image, context).text


def test_what_is_withheld_is_named_and_nothing_of_it_is_told(model: Model, image: np.ndarray) -> None:
    scores = ConceptScores(target="bright", method="tcav", unit="", concepts=(ConceptScore("Opacity", 0.7),))
    context = Context(
        made=(PriorExplanation(LOWER_LEFT, "green", False), PriorExplanation(scores, "red", True, ("too bad",)))
    )
    text = told(model, image, context).text
    assert "tcav failed its checks and is withheld" in text
    assert "Opacity" not in text
    assert "too bad" not in text


def test_doubts_are_told_with_their_reasons(model: Model, image: np.ndarray) -> None:
    context = Context(
        made=(PriorExplanation(LOWER_LEFT, "amber", False, ("stability 0.31 (baseline 0.5): amber; too low",)),)
    )
    narrative = told(model, image, context)
    assert "LOW RELIABILITY: stability 0.31 (baseline 0.5)." in narrative.text
    assert card(model, image, narrative, context).grade is Grade.AMBER
    forged = replace(
        narrative,
        sentences=tuple(
            replace(sentence, text=sentence.text.replace("0.31", "0.91")) for sentence in narrative.sentences
        ),
    )
    assert card(model, image, forged, context).withheld


@pytest.mark.parametrize(
    "made", [(), (PriorExplanation(LOWER_LEFT, "red", True),)], ids=["nothing made", "all withheld"]
)
def test_text_alone_is_refused(made: tuple[PriorExplanation, ...], model: Model, image: np.ndarray) -> None:
    with pytest.raises(ExplanationError, match="text alone is never sent"):
        told(model, image, Context(made=made))


def test_a_map_of_another_target_does_not_count(model: Model, image: np.ndarray) -> None:
    with pytest.raises(ExplanationError, match="text alone"):
        told(model, image, Context(made=(PriorExplanation(LOWER_LEFT, "green", False),)), target="edges")


def test_a_narrative_that_lost_its_map_is_withheld(model: Model, image: np.ndarray) -> None:
    narrative = told(model, image, rich())
    assert card(model, image, narrative, Context()).withheld


@given(row=st.integers(0, 2), column=st.integers(0, 2))
def test_each_ninth_is_named_where_one_sees_it(row: int, column: int) -> None:
    shares = np.zeros((3, 3))
    shares[row, column] = 1
    by_zone = zones(shares)
    assert tuple(by_zone) == ZONES
    assert by_zone[f"{('upper', 'middle', 'lower')[row]}-{('left', 'centre', 'right')[column]}"] == 1


@settings(max_examples=25, deadline=None)
@given(brightness=st.floats(0.0, 1.0), other=st.floats(0.0, 1.0), language=st.sampled_from(LANGUAGES))
def test_the_text_changes_when_the_answer_crosses_its_threshold(
    brightness: float, other: float, language: str, model: Model
) -> None:
    context = Context(made=(PriorExplanation(LOWER_LEFT, "green", False),))
    texts, answers = [], []
    for level in (brightness, other):
        x = np.full((1, 1, *SHAPE), level, np.float32)
        narrative = told(model, x, context, language=language)
        assert not card(model, x, narrative, context).withheld
        texts.append(narrative.sentences[0].text)
        answers.append(float(model.predict(x)[0, 0]) >= 0.5)
    if answers[0] != answers[1]:
        assert texts[0] != texts[1]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_forged_number_in_the_text_is_caught(data: st.DataObject, model: Model, image: np.ndarray) -> None:
    context = rich()
    narrative = told(model, image, context, language=data.draw(st.sampled_from(LANGUAGES)))
    sentences = list(narrative.sentences)
    spots = [
        (number, match.span())
        for number, sentence in enumerate(sentences)
        for match in re.finditer(r"\d+(?:[.,]\d+)?", sentence.text)
    ]
    number, (start, end) = data.draw(st.sampled_from(spots))
    text = sentences[number].text
    digit = data.draw(st.integers(start, end - 1).filter(lambda place: text[place].isdigit()))
    forged = data.draw(st.sampled_from([numeral for numeral in "0123456789" if numeral != text[digit]]))
    sentences[number] = replace(sentences[number], text=text[:digit] + forged + text[digit + 1 :])
    assert card(model, image, replace(narrative, sentences=tuple(sentences)), context).withheld


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_forged_claim_is_caught(data: st.DataObject, model: Model, image: np.ndarray) -> None:
    context = rich()
    narrative = told(model, image, context)
    sentences = list(narrative.sentences)
    number = data.draw(st.sampled_from([place for place, sentence in enumerate(sentences) if sentence.claims]))
    claims = list(sentences[number].claims)
    place = data.draw(st.integers(0, len(claims) - 1))
    change = data.draw(st.sampled_from(["value", "source", "holds", "gone"]))
    old = claims[place]
    if change == "value":
        claims[place] = replace(old, value=old.value + data.draw(st.floats(0.01, 5)))
    elif change == "source":
        claims[place] = replace(old, source=old.source + "x")
    elif change == "holds":
        claims[place] = replace(old, holds="< -1")
    else:
        del claims[place]
    sentences[number] = replace(sentences[number], claims=tuple(claims))
    assert card(model, image, replace(narrative, sentences=tuple(sentences)), context).withheld


def test_text_and_claim_forged_together_are_caught(model: Model, image: np.ndarray) -> None:
    """'At or above its threshold' with a claim to match: the rule is put to the structured answer again."""
    context = rich()
    narrative = told(model, image, context)
    first, *rest = narrative.sentences
    assert ", below its threshold" in first.text
    opposite = tuple(replace(claim, holds=claim.holds.replace("<", ">=")) for claim in first.claims)
    forged = replace(first, text=first.text.replace("below", "at or above"), claims=opposite)
    assert card(model, image, replace(narrative, sentences=(forged, *rest)), context).withheld


def test_a_sentence_without_claims_is_caught(model: Model, image: np.ndarray) -> None:
    context = rich()
    narrative = told(model, image, context)
    extra = replace(narrative.sentences[-1], text="There is no need to worry.")
    assert card(model, image, replace(narrative, sentences=(*narrative.sentences, extra)), context).withheld


def test_a_sentence_left_out_is_caught(model: Model, image: np.ndarray) -> None:
    scores = ConceptScores(target="bright", method="tcav", unit="", concepts=(ConceptScore("Opacity", 0.7),))
    context = Context(made=(PriorExplanation(LOWER_LEFT, "green", False), PriorExplanation(scores, "red", True)))
    narrative = told(model, image, context)
    fewer = tuple(sentence for sentence in narrative.sentences if "withheld" not in sentence.text)
    assert card(model, image, replace(narrative, sentences=fewer), context).withheld


def test_a_claim_of_the_largest_is_false_of_a_smaller_one(model: Model, image: np.ndarray) -> None:
    context = rich()
    narrative = told(model, image, context)
    claim = Claim("grad-cam.zone.upper-left", 0.0, "largest of grad-cam.zone.")
    place = next(number for number, sentence in enumerate(narrative.sentences) if "ninth" in sentence.text)
    sentences = list(narrative.sentences)
    sentences[place] = replace(sentences[place], claims=(claim, *sentences[place].claims[1:]))
    assert card(model, image, replace(narrative, sentences=tuple(sentences)), context).withheld


def test_an_unknown_language_names_those_that_there_are(model: Model, image: np.ndarray) -> None:
    with pytest.raises(ConfigError, match="de, en, es, fr, ja"):
        told(model, image, rich(), language="tlh")


def test_a_sites_own_phrases_come_first(model: Model, image: np.ndarray, tmp_path: Path) -> None:
    from whyray.base.shipped import shipped_templates

    text = (shipped_templates() / "narrative" / "en.yaml").read_text("utf-8")
    own = tmp_path / "narrative" / "en.yaml"
    own.parent.mkdir()
    own.write_text(text.replace("The model answers", "The algorithm answers"), "utf-8")
    context = replace(rich(), phrases=tmp_path)
    narrative = told(model, image, context)
    assert narrative.text.startswith("The algorithm answers")
    assert not card(model, image, narrative, context).withheld


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("{probability}", "", "must say {probability}"),
        ("{threshold}", "{treshold}", "unknown field"),
        ("  closing:", "  clozing:", "missing closing; unknown clozing"),
        (", below its threshold", ", at or above its threshold", "nobody could tell them apart"),
        ("  upper-left: upper left part\n", "", "zones: missing upper-left"),
    ],
)
def test_phrases_that_would_mislead_are_refused(old: str, new: str, said: str, tmp_path: Path) -> None:
    from whyray.base.shipped import shipped_templates

    text = (shipped_templates() / "narrative" / "en.yaml").read_text("utf-8")
    assert old in text
    path = tmp_path / "narrative" / "en.yaml"
    path.parent.mkdir()
    path.write_text(text.replace(old, new), "utf-8")
    with pytest.raises(ConfigError, match=re.escape(said)):
        read_phrases("en", tmp_path)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_says_everything_and_quotes_every_number(language: str) -> None:
    phrases = read_phrases(language)
    assert set(phrases.phrases) == set(PHRASES)
    for key, needs in PHRASES.items():
        for need in needs:
            assert need.field is None or f"{{{need.field}}}" in phrases.phrases[key], (language, key, need.field)


@pytest.mark.parametrize("language", LANGUAGES)
def test_template_check_reads_the_phrases_with_file_and_line(language: str, tmp_path: Path) -> None:
    from whyray.results import load_templates

    load_templates()
    own = tmp_path / "narrative" / f"{language}.yaml"
    own.parent.mkdir()
    own.write_text("decimal_mark: two\n", "utf-8")
    with pytest.raises(ConfigError, match=f"{language}.yaml"):
        load_templates(tmp_path)


@pytest.mark.parametrize(("kind", "axes"), [("unet", 2), ("unet-3d", 3)])
def test_segments_and_volumes_are_told_too(kind: str, axes: int, tmp_path: Path) -> None:
    from inference import nets
    from whyray.explain import explainable, explained_image
    from whyray.inference import RuntimeOptions, load_package

    segmenter = load_package(nets.pack(tmp_path, kind), options=RuntimeOptions(intra_op_threads=1))
    x = nets.image(kind).numpy()
    target = explainable(explained_image(segmenter, x))[0]
    values = np.zeros(x.shape[2:], np.float32)
    values[(0,) * axes] = 1
    context = Context(made=(PriorExplanation(Heatmap(values, target, "seg-grad-cam", False, "logit"), "green", False),))
    narrative = explain(segmenter, x, target=target, method="narrative", context=context)
    assert isinstance(narrative, Narrative)
    assert f"The model outlines {target} in" in narrative.text
    assert ("in the first third of the slices" in narrative.text) == (axes == 3)
    assert "upper left part" in narrative.text
    assert not assess_typed(segmenter, x, narrative, context=context).withheld


def test_regressions_are_told_by_value(tmp_path: Path) -> None:
    from inference import nets
    from whyray.inference import RuntimeOptions, load_package

    path = nets.pack(tmp_path, "plain", task="regression", output__activation="none")
    model = load_package(path, options=RuntimeOptions(intra_op_threads=1))
    x = nets.image("plain").numpy()
    context = Context(
        made=(
            PriorExplanation(Heatmap(np.ones(x.shape[2:], np.float32), "one", "grad-cam", False, ""), "green", False),
        )
    )
    narrative = explain(model, x, target="one", method="narrative", context=context)
    assert isinstance(narrative, Narrative)
    value = f"{float(model.predict(x)[0, 0]):.2f}".replace("-", "−")
    assert f"The model answers {value} for one" in narrative.text
    assert not assess_typed(model, x, narrative, context=context).withheld
