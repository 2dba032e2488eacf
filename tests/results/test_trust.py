"""How far to trust an explanation, in a radiologist's words: a level and at most one sentence."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import pytest

from results.test_reasons import measured_names
from whyray.base.finding_record import CardRecord, MeasurementRecord
from whyray.explain import method_named, method_title, methods, registry
from whyray.quality import Aspect, Grade, Measurement, QualityCard
from whyray.results import load_templates
from whyray.results.trust import REASONS, TrustLevel, method_title_in, trust_in, trust_of
from whyray.results.trust_words import TrustReasons

WORDINGS = load_templates().wordings
ENGLISH = WORDINGS["en"]
OTHERS = sorted(set(WORDINGS) - {"en"})


def measured(name: str, aspect: Aspect, grade: Grade, value: float = 0.5, baseline: float | None = None) -> Measurement:
    return Measurement(name, aspect, value, baseline, grade, "a rule", "a source")


def card(*measurements: Measurement) -> QualityCard:
    return QualityCard(measurements)


def test_every_measurement_has_a_meaning_for_readers_and_every_meaning_is_that_of_a_measurement() -> None:
    meanings = {name for said in REASONS.values() for name in ([said] if isinstance(said, str) else said)}
    assert set(REASONS) == measured_names()
    assert meanings | {"not_measured", "few_marks"} == set(TrustReasons.model_fields)


@pytest.mark.parametrize("language", OTHERS)
def test_every_reason_is_told_in_every_language(language: str) -> None:
    told, english = WORDINGS[language].trust.because.model_dump(), ENGLISH.trust.because.model_dump()
    assert [name for name, words in told.items() if words == english[name]] == []
    assert len(set(told.values())) == len(told)


def test_no_reason_is_a_metric_or_a_colour() -> None:
    said = " ".join(ENGLISH.trust.because.model_dump().values()).lower()
    assert not {"auc", "ssim", "logit", "amber", "metric", "insertion", "parity"} & set(said.split())


def test_a_green_card_is_reliable_and_an_unmeasured_one_not_shown() -> None:
    green = trust_in(card(measured("made again", "sanity", Grade.GREEN)), ENGLISH)
    assert (green.level, green.badge, green.sentence) == (TrustLevel.RELIABLE, "Explanation: reliable", None)
    none = trust_in(card(), ENGLISH)
    assert (none.level, none.sentence) == (TrustLevel.NOT_SHOWN, "Not shown: it was not checked.")


def test_what_the_maps_of_the_package_met_is_said_where_all_is_well() -> None:
    record = replace(measured("maps that hit what readers marked", "record", Grade.GREEN, 34 / 58, 28 / 58), of=58)
    assert trust_in(card(record), ENGLISH).sentence == (
        "Such maps of this package hit 34 of 58 places that radiologists had marked; a guess hits 28."
    )


def test_what_the_maps_of_the_package_met_is_said_of_those_that_are_doubted_too() -> None:
    record = replace(measured("maps that hit what readers marked", "record", Grade.GREEN, 34 / 58, 28 / 58), of=58)
    doubted = trust_in(card(record, measured("share inside anatomy", "anatomy", Grade.AMBER)), ENGLISH)
    assert doubted.sentence is not None
    assert "part of the highlighted area" in doubted.sentence
    assert (
        doubted.record == "Such maps of this package hit 34 of 58 places that radiologists had marked; a guess hits 28."
    )


@pytest.mark.parametrize(
    ("grade", "sentence"),
    [
        (Grade.AMBER, "Use with caution: part of the highlighted area lies where this finding cannot be."),
        (Grade.RED, "Not shown: the highlighted area lies mostly where this finding cannot be."),
    ],
)
def test_a_map_outside_the_anatomy_is_doubted_by_how_much_lies_outside(grade: Grade, sentence: str) -> None:
    assert trust_in(card(measured("share inside anatomy", "anatomy", grade)), ENGLISH).sentence == sentence


@pytest.mark.parametrize(
    "name",
    [
        "map with randomised weights",
        "changes with the weights",
        "neighbours with randomised weights",
        "neighbours with the head's weights shuffled",
    ],
)
@pytest.mark.parametrize(
    ("grade", "sentence"),
    [
        (Grade.AMBER, "Use with caution: it would look partly the same if the model had learned nothing."),
        (Grade.RED, "Not shown: it would look nearly the same if the model had learned nothing."),
    ],
)
def test_what_stays_in_part_with_other_weights_is_not_said_to_stay(grade: Grade, sentence: str, name: str) -> None:
    assert trust_in(card(measured(name, "sanity", grade)), ENGLISH).sentence == sentence


def test_the_worst_is_told_and_of_the_equally_bad_what_failed_before_what_nobody_knows() -> None:
    unknown = measured("image like those of the package", "scope", Grade.AMBER)
    same = measured("target-swap similarity", "sanity", Grade.AMBER)
    again = measured("made again", "sanity", Grade.RED)
    said = [trust_in(card(unknown, *more), ENGLISH).sentence for more in ([], [same], [same, again])]
    assert said == [
        "Use with caution: it could not be checked whether the model was made for images like this one.",
        "Use with caution: the explanation of another finding looks nearly the same.",
        "Not shown: it could not be reproduced from this image.",
    ]


def test_what_decides_nothing_is_no_reason() -> None:
    moved = measured("stability under noise", "robustness", Grade.RED)
    place = measured("marks that such maps were compared with", "record", Grade.AMBER, 0.0, 20.0)
    assert trust_in(card(moved, place), ENGLISH).sentence == (
        "Use with caution: no radiologist's marks were compared with such maps of this package."
    )


def test_a_few_marks_are_not_called_none() -> None:
    few = measured("marks that such maps were compared with", "record", Grade.AMBER, 12.0, 20.0)
    assert trust_in(card(few), ENGLISH).sentence == (
        "Use with caution: too few radiologists' marks of this finding were compared with such maps of this package."
    )


@pytest.mark.parametrize(
    ("aspect", "reason"),
    [("record", "no radiologist's marks were compared"), ("fidelity", "it could not be shown that it follows")],
)
def test_a_measurement_that_another_package_brings_is_told_by_what_it_is_about(aspect: Aspect, reason: str) -> None:
    sentence = trust_in(card(measured("their own", aspect, Grade.AMBER)), ENGLISH).sentence
    assert sentence is not None
    assert sentence.startswith(f"Use with caution: {reason}")


def test_a_card_that_the_catalog_kept_says_the_same() -> None:
    made = card(measured("made again", "sanity", Grade.RED))
    kept = CardRecord(
        grade="red",
        measurements=(MeasurementRecord(name="made again", aspect="sanity", value=0.5, baseline=None, grade="red"),),
    )
    for wording in WORDINGS.values():
        assert trust_of(kept.grade, kept.measurements, wording.trust) == trust_in(made, wording)


def test_german_readers_are_told_in_german() -> None:
    told = trust_in(card(measured("made again", "sanity", Grade.RED)), WORDINGS["de"])
    assert told.sentence == "Nicht gezeigt: sie ließ sich aus diesem Bild nicht noch einmal herstellen."


def test_every_method_has_a_title_of_its_own_in_every_language() -> None:
    for wording in WORDINGS.values():
        titles = [method_title_in(method.name, wording) for method in methods()]
        assert len(set(titles)) == len(titles)
        assert not set(titles) & {method.name for method in methods()}
        assert set(wording.method_titles) <= {method.name for method in methods()}


def test_a_method_that_states_no_title_is_called_by_its_name_and_never_by_that_of_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Theirs(type(method_named("grad-cam"))):  # type: ignore[misc]
        name: ClassVar[str] = "their-own-cam"

    monkeypatch.setitem(registry._METHODS, Theirs.name, Theirs())
    assert method_title("their-own-cam") == "Their own cam"
    assert method_title("gone-since") == "Gone since"
    assert method_title("grad-cam") == "Grad-CAM"
