"""What explanations in words say: sentences, each with the numbers that it rests on."""

from __future__ import annotations

from dataclasses import dataclass

from whyray.explain.typed import TypedExplanation


@dataclass(frozen=True)
class Claim:
    """What a sentence rests on: the place of a number in the structured answer, and the number.

    `source` is a path such as 'answer.probability' or 'grad-cam.share.left-lower-zone'; `holds` says in words the rule
    that turns the number into what the sentence says ('>= 0.5').
    """

    source: str
    value: float
    holds: str


@dataclass(frozen=True)
class Sentence:
    """One sentence and all that it claims, in the order of the words."""

    text: str
    claims: tuple[Claim, ...]


@dataclass(frozen=True, kw_only=True)
class Narrative(TypedExplanation):
    """Sentences about one answer, in one language (a template's name, e.g. 'en')."""

    language: str
    sentences: tuple[Sentence, ...]

    @property
    def text(self) -> str:
        """All sentences."""
        return " ".join(sentence.text for sentence in self.sentences)
