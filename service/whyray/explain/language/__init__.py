"""Language: sentences about an answer, each traceable to the numbers that it rests on."""

from whyray.explain.language import captioner, narrative
from whyray.explain.language.captioner import (
    CaptionerMethod,
    CaptionerParameters,
    answers_of,
    caption_of,
    claims_in,
    companion,
)
from whyray.explain.language.compose import sentences, written
from whyray.explain.language.facts import Facts, facts_of
from whyray.explain.language.narrative import NarrativeMethod, NarrativeParameters, shown_facts
from whyray.explain.language.phrases import FOLDER, NarrativePhrases, read_phrases
from whyray.explain.language.rules import PHRASES, holds, matched

__all__ = [
    "FOLDER",
    "PHRASES",
    "CaptionerMethod",
    "CaptionerParameters",
    "Facts",
    "NarrativeMethod",
    "NarrativeParameters",
    "NarrativePhrases",
    "answers_of",
    "caption_of",
    "captioner",
    "claims_in",
    "companion",
    "facts_of",
    "holds",
    "matched",
    "narrative",
    "read_phrases",
    "sentences",
    "shown_facts",
    "written",
]
