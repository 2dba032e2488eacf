"""docs/for-radiologists.md explains every word that pages say about trust, as the English wording has it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from whyray.base.shipped import shipped_templates
from whyray.imaging import NoteKind
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


def test_every_note_of_how_an_image_was_read_is_explained():
    notes = yaml.safe_load((shipped_templates() / "wording" / "en.yaml").read_text("utf-8"))["notes"]
    assert _missing(notes, PAGE.read_text("utf-8")) == []
    assert set(notes) == set(NoteWords.model_fields), "what the template leaves out is said all the same"
    assert set(notes) == {kind.name.lower() for kind in NoteKind}


def test_a_word_that_the_page_lacks_is_missed():
    assert _missing({"new": "an unheard-of reason"}, PAGE.read_text("utf-8")) == ["an unheard-of reason"]
