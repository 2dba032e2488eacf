"""docs/for-radiologists.md explains every word that pages say about trust, as the English wording has it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from whyray.base.shipped import shipped_templates
from whyray.imaging import NoteKind
from whyray.packages import find_package, read_package
from whyray.results.trust_words import TrustReasons
from whyray.results.wording import NoteWords

PAGE = Path(__file__).parents[2] / "docs" / "for-radiologists.md"


def _texts(words: object) -> Iterator[str]:
    if isinstance(words, str):
        yield words
    elif isinstance(words, dict):
        for value in words.values():
            yield from _texts(value)


def _missing(words: object, page: str) -> list[str]:
    """Texts of which a part between two fields stands nowhere on the page."""
    told = " ".join(page.replace("**", "").split()).casefold()
    parts = {text: [part.strip(' ·"') for part in re.split(r"\{\w+\}", text)] for text in _texts(words)}
    return [text for text, between in parts.items() if any(part.casefold() not in told for part in between)]


def test_every_word_of_trust_is_explained():
    wording = yaml.safe_load((shipped_templates() / "wording" / "en.yaml").read_text("utf-8"))
    page, trust = PAGE.read_text("utf-8"), wording["trust"]
    assert _missing(trust, page) == []
    assert _missing(wording["scope"], page) == []
    for level in trust["levels"].values():
        assert f"**{trust['badge'].format(level=level)}**" in page
    assert set(trust["because"]) == set(TrustReasons.model_fields), "what the template leaves out is said all the same"


def test_every_sentence_that_a_radiologists_page_says_is_explained():
    wording = yaml.safe_load((shipped_templates() / "wording" / "en.yaml").read_text("utf-8"))["pages"]
    sentences = {key: text for key, text in wording.items() if isinstance(text, str) and text.endswith(".")}
    sentences |= {f"types.{key}": text for key, text in wording["types"].items() if text.endswith(".")}
    sentences.pop("measured"), sentences.pop("segment_lies"), sentences.pop("nearest_lies")
    assert _missing(sentences, PAGE.read_text("utf-8")) == []


def _section(title: str) -> str:
    (found,) = re.findall(rf"^## {title}$(.*?)^## ", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return str(found)


def test_sentences_are_explained_under_the_page_on_which_they_stand():
    """The first page was said to read as the page of a finding does."""
    words = yaml.safe_load((shipped_templates() / "wording" / "en.yaml").read_text("utf-8"))["pages"]
    first, of_finding = _section("The first page in five seconds"), _section("The page of a finding")
    on_first = {key: words[key] for key in ("nothing", "more", "not_found", "could_not", "not_explained", "threshold")}
    on_finding = {
        key: words[key]
        for key in ("found", "absent", "not_reached", "lies", "nearest_lies", "nowhere", "nothing_highlighted")
    }
    assert _missing(on_first, first) == []
    assert _missing(on_finding, of_finding) == []
    assert set(_missing(on_finding, first)) == set(on_finding.values())


def test_that_percentages_of_different_findings_can_not_be_compared_is_said_with_the_demos_own():
    """Emphysema was found at 8.8% and Pneumonia not at 45%, and nothing said why."""
    first = " ".join(_section("The first page in five seconds").split())
    assert "Each finding has its own threshold; percentages of different findings can't be compared" in first
    targets = read_package(find_package("cxr-findings@2", ())).manifest.targets
    thresholds = {target.name: target.threshold for target in targets}
    told = {
        "Mass is found at 11% (threshold 9.1%)": thresholds["Mass"] == 0.091,
        "Emphysema at 8.8% (threshold 7.4%)": thresholds["Emphysema"] == 0.074,
        "its threshold is 69%": round(thresholds["Pneumonia"], 2) == 0.69,
    }
    assert all(words in first and holds for words, holds in told.items()), told


def test_every_note_of_how_an_image_was_read_is_explained():
    notes = yaml.safe_load((shipped_templates() / "wording" / "en.yaml").read_text("utf-8"))["notes"]
    assert _missing(notes, PAGE.read_text("utf-8")) == []
    assert set(notes) == set(NoteWords.model_fields), "what the template leaves out is said all the same"
    assert set(notes) == {kind.name.lower() for kind in NoteKind}


def test_a_word_that_the_page_lacks_is_missed():
    assert _missing({"new": "an unheard-of reason"}, PAGE.read_text("utf-8")) == ["an unheard-of reason"]
