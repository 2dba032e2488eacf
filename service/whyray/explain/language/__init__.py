"""Language: sentences about an answer, each traceable to the numbers that it rests on."""

from whyray.explain.language import narrative
from whyray.explain.language.compose import sentences, written
from whyray.explain.language.facts import Facts, facts_of
from whyray.explain.language.narrative import NarrativeMethod, NarrativeParameters, shown_facts
from whyray.explain.language.phrases import FOLDER, NarrativePhrases, read_phrases
from whyray.explain.language.rules import PHRASES, holds, matched

__all__ = [
    "FOLDER",
    "PHRASES",
    "Facts",
    "NarrativeMethod",
    "NarrativeParameters",
    "NarrativePhrases",
    "facts_of",
    "holds",
    "matched",
    "narrative",
    "read_phrases",
    "sentences",
    "shown_facts",
    "written",
]
