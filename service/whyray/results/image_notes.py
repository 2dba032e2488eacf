"""What a reader must know of how an image was read, in the words of a language: for pages, and for reports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydicom import Dataset

from whyray.imaging import Note, NoteKind
from whyray.results import content_items as sr
from whyray.results.coding import own
from whyray.results.wording import NoteWords

_CONCEPT = "Image note"


def in_words(kind: NoteKind, words: NoteWords) -> str:
    """The phrase of a kind of note."""
    phrase: str = getattr(words, kind.name.lower())
    return phrase


def one_line(notes: Sequence[Note], words: NoteWords) -> str:
    """Each kind of note once; empty where there is nothing to tell."""
    return "  ·  ".join(dict.fromkeys(in_words(note.kind, words) for note in notes))


def note_items(notes: Sequence[Note], words: NoteWords, designator: str) -> list[Dataset]:
    """A TEXT item for each note (TID 1500, qualitative evaluations): its phrase, then attribute, value and place."""
    concept = own(_CONCEPT, designator)
    return [
        sr.text("CONTAINS", concept, f"{in_words(note.kind, words)}: {note.detail}") for note in dict.fromkeys(notes)
    ]


def plain_notes(notes: Sequence[Note]) -> list[dict[str, Any]]:
    """The notes as plain values, for the catalog and `report.json`."""
    return [{"kind": note.kind.value, "detail": note.detail} for note in dict.fromkeys(notes)]
