"""`captioner`: what a captioning model wrote of the image, as far as the explained model's answers bear it out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from whyray.base.errors import ArtefactMissing, ExplanationError, NotFound, PackageError, WhyRayError
from whyray.explain.case import Case
from whyray.explain.companion_grid import on_grid_of
from whyray.explain.language.narrative import shown_facts
from whyray.explain.language.phrases import read_phrases
from whyray.explain.language.rules import holds
from whyray.explain.language.statements import Claim, Narrative, Sentence
from whyray.explain.registry import MethodDefaults, MethodParameters, register
from whyray.explain.types import Kind, Tier
from whyray.inference import Caption, Captioner, Model
from whyray.packages import CaptionSpec

NAME = "captioner"


class CaptionerParameters(MethodParameters):
    """`captioner` names a package (NAME or NAME@VERSION) in place of the companion; `language` as in narrative."""

    captioner: str | None = None
    language: str | None = None


@register
class CaptionerMethod(MethodDefaults):
    """Sentences by an encoder-decoder package (Vinyals et al. 2015, section 3), decoded greedily.

    The captioner is another package, which reads the image and not the answer that is explained; it may have learned
    from such answers, and is then no second opinion. Each of its sentences is held against that answer: what it says
    of a finding must be what the explained model answers of it, else the sentence is withheld; so is one that says
    nothing of any finding. Never text alone, as narrative.
    """

    name: ClassVar[str] = NAME
    title: ClassVar[str] = "Description by a captioning model"
    tier: ClassVar[Tier] = "T0"
    kind: ClassVar[Kind] = "language description"
    unit: ClassVar[str] = "text"
    stage: ClassVar[int] = 2
    tasks: ClassVar[tuple[str, ...]] = ("classification", "multi-label")
    Parameters: ClassVar[type[MethodParameters]] = CaptionerParameters

    def why_not(self, model: Model) -> WhyRayError | None:
        """The companion is missing, or is no captioner."""
        try:
            companion(model, None)
        except (ArtefactMissing, NotFound, PackageError) as error:
            return error
        return None

    def explain_case(self, case: Case, parameters: MethodParameters) -> Sequence[Narrative]:
        """One narrative for each target: the sentences about it. ExplanationError where none is borne out."""
        assert isinstance(parameters, CaptionerParameters)
        captioner = companion(case.model, parameters.captioner)
        language = parameters.language or case.context.language
        return [_explanation(case.for_targets([target]), captioner, language) for target in case.targets]


def companion(model: Model, named: str | None) -> Captioner:
    """The captioner that goes with a package.

    Raises ArtefactMissing, NotFound or PackageError where there is none that fits.
    """
    return Captioner(model.companion("captioner", method=NAME, reference=named))


def caption_of(case: Case, captioner: Captioner) -> Caption:
    """What it writes of the case's image; once an image."""

    def write() -> Caption:
        shown = on_grid_of(case.display[None], case.model, captioner.model, method=NAME)
        return captioner.caption(shown[0])

    return case.image.once(("caption", captioner.model.package.digest), write)


def answers_of(case: Case) -> dict[str, float]:
    """Probability and threshold of every target, by path: what captions are held against."""
    answer = case.model.answer(case.run.logits)[0]
    numbers: dict[str, float] = {}
    for spec, value in zip(case.model.manifest.targets, answer, strict=True):
        numbers[f"answers.{spec.name}.probability"] = float(value)
        numbers[f"answers.{spec.name}.threshold"] = float(spec.threshold)
    return numbers


def claims_in(sentence: str, model: Model, spec: CaptionSpec, numbers: Mapping[str, float]) -> tuple[Claim, ...]:
    """What a captioner's sentence claims of the explained model's findings, in the order of its words."""
    return tuple(
        Claim(
            f"answers.{target}.probability",
            numbers[f"answers.{target}.probability"],
            f"{'<' if denied else '>='} answers.{target}.threshold",
        )
        for target, denied in _mentions(sentence, model, spec)
    )


def _mentions(sentence: str, model: Model, spec: CaptionSpec) -> Iterator[tuple[str, bool]]:
    words = sentence.lower()
    places: list[tuple[int, str]] = []
    for target in model.targets:
        for form in spec.mentions.get(target, (target.replace("_", " "),)):
            places += [(mention.start(), target) for mention in re.finditer(rf"\b{re.escape(form.lower())}\b", words)]
    for start, target in sorted(set(places)):
        before = re.findall(r"\w+", words[:start])
        yield target, any(denial in before for denial in spec.denials)


def _explanation(case: Case, captioner: Captioner, language: str) -> Narrative:
    [target] = case.target_names
    shown_facts(case, NAME)
    phrases = read_phrases(language, case.context.phrases)
    numbers = answers_of(case)
    caption = caption_of(case, captioner)
    of_it, borne_out = [], []
    said = right = 0
    for sentence in caption.sentences:
        claims = claims_in(sentence, case.model, captioner.spec, numbers)
        true = [holds(claim, numbers) for claim in claims]
        said, right = said + len(true), right + sum(true)
        if any(claim.source == f"answers.{target}.probability" for claim in claims):
            of_it.append(sentence)
            if all(true):
                borne_out.append(Sentence(phrases.caption.format(words=sentence), claims))
    if not borne_out:
        problem = "contradicts the model's answer" if of_it else "says nothing of it"
        raise ExplanationError(
            f"{NAME} of {target}: what {captioner.model.identity} wrote {problem}, so it is withheld",
            advice="The answer itself stands; narrative tells it in words that follow from it.",
        )
    return Narrative(
        target=target,
        method=NAME,
        parameters={
            "captioner": captioner.model.identity,
            "digest": captioner.model.package.digest,
            "language": language,
        },
        evidence={"claims": float(said), "agreement": right / said, "sentences": float(len(caption.sentences))},
        language=language,
        sentences=tuple(borne_out),
    )
