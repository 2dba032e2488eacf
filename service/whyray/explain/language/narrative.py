"""`narrative`: what was found, where, through what and how surely, in sentences of a radiologist's language."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from whyray.base.errors import ExplanationError
from whyray.explain.case import Case
from whyray.explain.language.compose import sentences
from whyray.explain.language.facts import Facts, facts_of
from whyray.explain.language.phrases import NarrativePhrases, read_phrases
from whyray.explain.language.statements import Narrative
from whyray.explain.registry import MethodDefaults, MethodParameters, register
from whyray.explain.types import Kind, Tier

NAME = "narrative"


class NarrativeParameters(MethodParameters):
    """`language` is the name of a file of phrases; where it is left out, that of the job."""

    language: str | None = None


@register
class NarrativeMethod(MethodDefaults):
    """Sentences from the structured answer (after Reiter and Dale 2000, chapter 3), each traceable to its numbers.

    It says what the model answers and how that stands to its threshold, where the map lies, which concepts, cases and
    units speak for it, how each explanation was graded and what is withheld. It adds nothing of its own: phrases are
    filled from claims, and the quality card derives each claim from the structured answer again. Never text alone: it
    is refused where no other explanation of the target is shown. No forward pass.
    """

    name: ClassVar[str] = NAME
    title: ClassVar[str] = "In words"
    tier: ClassVar[Tier] = "T0"
    kind: ClassVar[Kind] = "language description"
    unit: ClassVar[str] = "text"
    stage: ClassVar[int] = 2
    Parameters: ClassVar[type[MethodParameters]] = NarrativeParameters

    def cost(self, parameters: object) -> int:  # noqa: ARG002
        """It reads what is there."""
        return 0

    def explain_case(self, case: Case, parameters: MethodParameters) -> Sequence[Narrative]:
        """One narrative for each target; ExplanationError where nothing else is shown of it."""
        assert isinstance(parameters, NarrativeParameters)
        language = parameters.language or case.context.language
        phrases = read_phrases(language, case.context.phrases)
        return [_explanation(case.for_targets([target]), phrases, language) for target in case.targets]


def shown_facts(case: Case, method: str) -> Facts:
    """The facts about the case's target; ExplanationError where no explanation of it is shown: never text alone."""
    facts = facts_of(case)
    if not facts.shown:
        [target] = case.target_names
        held = f" ({', '.join(facts.withheld)} withheld)" if facts.withheld else ""
        raise ExplanationError(
            f"{method} of {target}: no other explanation is shown{held}, and text alone is never sent",
            advice="Ask for a method that gives a map, too, e.g. grad-cam.",
        )
    return facts


def _explanation(case: Case, phrases: NarrativePhrases, language: str) -> Narrative:
    [target] = case.target_names
    facts = shown_facts(case, NAME)
    written = sentences(facts, phrases, target)
    return Narrative(
        target=target,
        method=NAME,
        parameters={"language": language, "rests on": ", ".join(facts.shown)},
        evidence={
            "claims": float(sum(len(sentence.claims) for sentence in written)),
            "explanations": float(len(facts.shown)),
        },
        language=language,
        sentences=written,
    )
