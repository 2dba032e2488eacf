"""A captioner's words are told only as far as the explained model's answers bear them out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from explain.language import scribe
from explain.units import detectors
from whyray.base.errors import ArtefactMissing, ExplanationError, PackageError
from whyray.explain import Context, Heatmap, Narrative, PriorExplanation, explain, method_named, why_not
from whyray.explain.language import PHRASES
from whyray.inference import Captioner, Model, RuntimeOptions, load_package
from whyray.onboarding import check_package
from whyray.quality import Grade, assess_typed

SHAPE = (detectors.SIZE, detectors.SIZE)
OPTIONS = RuntimeOptions(intra_op_threads=1)
BRIGHT, DARK = (np.full((1, 1, *SHAPE), level, np.float32) for level in (0.95, 0.1))


def explained(folder: Path, **changes: object) -> Model:
    """The planted detectors with a scribe beside them."""
    path = detectors.package(folder)
    manifest = yaml.safe_load((path / "model.yaml").read_text())
    (path / "model.yaml").write_text(yaml.safe_dump({**manifest, "companions": {"captioner": "scribe@1"}}))
    scribe.package(folder, **changes)  # type: ignore[arg-type]
    return load_package(path, search=(folder,), options=OPTIONS)


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return explained(tmp_path)


def context(target: str = "bright") -> Context:
    heatmap = Heatmap(np.ones(SHAPE, np.float32), target, "grad-cam", False, "logit")
    return Context(made=(PriorExplanation(heatmap, "green", False),))


def told(model: Model, image: np.ndarray, **parameters: object) -> Narrative:
    narrative = explain(model, image, target="bright", method="captioner", context=context(), **parameters)
    assert isinstance(narrative, Narrative)
    return narrative


def written(folder: Path, level: float, **changes: object):  # type: ignore[no-untyped-def]
    return Captioner(load_package(scribe.package(folder, **changes), options=OPTIONS)).caption(
        np.full(SHAPE, level, np.float32)
    )


def test_words_follow_the_image_and_the_same_image_gives_the_same_words(tmp_path: Path) -> None:
    bright, dark = written(tmp_path, 0.95), written(tmp_path, 0.1)
    assert bright.text == "bright is seen."
    assert dark.text == "no bright is seen."
    assert written(tmp_path, 0.95) == bright
    assert bright.finished
    assert all(0.5 < probability <= 1 for probability in bright.probabilities)
    assert len(bright.tokens) == len(bright.probabilities) == 4


def test_a_decoder_that_never_ends_is_cut_and_its_broken_off_sentence_left_out(tmp_path: Path) -> None:
    caption = written(tmp_path, 0.95, chatty=True)
    assert not caption.finished
    assert len(caption.tokens) == 20
    assert caption.sentences[0] == "bright is seen."


def test_a_caption_that_the_answer_bears_out_is_quoted_with_its_claim(model: Model) -> None:
    assert model.predict(BRIGHT)[0, 0] >= 0.5
    narrative = told(model, BRIGHT)
    assert narrative.text == "A captioning model wrote of this image: “bright is seen.”"
    [claim] = narrative.sentences[0].claims
    assert (claim.source, claim.holds) == ("answers.bright.probability", ">= answers.bright.threshold")
    assert told(model, DARK).sentences[0].claims[0].holds == "< answers.bright.threshold"
    card = assess_typed(model, BRIGHT, narrative, context=context())
    assert card.grade is Grade.GREEN, card.reasons


def test_a_caption_that_contradicts_the_answer_is_withheld(tmp_path: Path) -> None:
    blind = explained(tmp_path, blind=True)
    with pytest.raises(ExplanationError, match="contradicts the model's answer"):
        told(blind, BRIGHT)


def test_a_captioner_that_ignores_the_image_is_withheld_even_where_it_happens_to_be_right(tmp_path: Path) -> None:
    blind = explained(tmp_path, blind=True)
    narrative = told(blind, DARK)
    card = assess_typed(blind, DARK, narrative, context=context())
    assert card.withheld
    assert any("words follow the image" in reason for reason in card.reasons)


def test_words_that_the_captioner_did_not_write_are_caught(model: Model) -> None:
    narrative = told(model, BRIGHT)
    [sentence] = narrative.sentences
    forged = replace(narrative, sentences=(replace(sentence, text=sentence.text.replace("seen", "gone")),))
    assert assess_typed(model, BRIGHT, forged, context=context()).withheld
    opposite = replace(sentence.claims[0], holds="< answers.bright.threshold")
    forged = replace(narrative, sentences=(replace(sentence, claims=(opposite,)),))
    assert assess_typed(model, BRIGHT, forged, context=context()).withheld


def test_it_is_never_text_alone(model: Model) -> None:
    with pytest.raises(ExplanationError, match="text alone"):
        explain(model, BRIGHT, target="bright", method="captioner")


def test_of_a_finding_that_it_does_not_mention_it_tells_nothing(model: Model) -> None:
    with pytest.raises(ExplanationError, match="says nothing of it"):
        explain(model, BRIGHT, target="edges", method="captioner", context=context("edges"))


def test_without_a_companion_it_is_refused_by_name(tmp_path: Path) -> None:
    alone = detectors.load(detectors.package(tmp_path))
    assert isinstance(why_not(method_named("captioner"), alone), ArtefactMissing)


def test_a_package_that_is_no_captioner_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="expected a captioner"):
        Captioner(detectors.load(detectors.package(tmp_path)))


def test_a_vocabulary_of_another_decoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="knows 12 tokens, the vocabulary 14"):
        written(tmp_path, 0.5, words=2)


def test_the_manifest_of_a_captioner_must_say_how_it_writes(tmp_path: Path) -> None:
    path = scribe.package(tmp_path)
    manifest = yaml.safe_load((path / "model.yaml").read_text())
    del manifest["caption"]
    (path / "model.yaml").write_text(yaml.safe_dump(manifest))
    with pytest.raises(PackageError, match="section caption"):
        load_package(path)


def test_package_check_takes_a_captioner(tmp_path: Path) -> None:
    assert [finding for finding in check_package(scribe.package(tmp_path)) if finding.severity == "error"] == []


def test_phrases_of_narratives_and_captions_stay_apart() -> None:
    assert "caption" not in PHRASES
