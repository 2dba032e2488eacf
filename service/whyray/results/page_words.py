"""Words of the pages that people read in seconds."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from whyray.results.refusal import Refusal
from whyray.results.template_text import Plain, Strict, with_fields


class RefusalWords(Strict):
    """Why a method could not explain, for whoever reads pages: clauses; `whyray.results.refusal` says which is when."""

    model: Plain = "this model does not give what the method needs"
    missing: Plain = "what the method needs was not set up for this model"
    settings: Plain = "the settings of the method do not fit this model"
    image: Plain = "this image does not give what the method needs"
    answer: Plain = "the model's answer could not be used"
    no_result: Plain = "the method found nothing to show on this image"
    defect: Plain = "an error occurred; the administrator sees it"

    def clause(self, refusal: Refusal) -> str:
        """The words for a refusal."""
        words: str = getattr(self, refusal.reason)
        return words


class PlaceWords(Strict):
    """Where something lies, where anatomy does not tell."""

    both: Annotated[str, with_fields("first", "second")] = "{first} and {second}"
    outside: Annotated[str, with_fields("place")] = "{place}, outside lungs, heart and mediastinum"
    left: Plain = "left half of the image"
    right: Plain = "right half of the image"
    patient_left: Plain = "patient's left"
    patient_right: Plain = "patient's right"
    across: Plain = "both sides"
    anterior_half: Plain = "anterior half"
    posterior_half: Plain = "posterior half"
    upper_half: Plain = "upper half"
    lower_half: Plain = "lower half"
    upper: Plain = "upper third"
    anterior: Plain = "anterior third"
    posterior: Plain = "posterior third"
    middle: Plain = "middle third"
    lower: Plain = "lower third"
    lateral: Plain = "lateral third"
    medial: Plain = "medial third"
    right_third: Plain = "third on the patient's right"
    left_third: Plain = "third on the patient's left"
    side_and_third: Annotated[str, with_fields("side", "third")] = "{side}, {third}"
    one_slice: Annotated[str, with_fields("number", "total")] = "slice {number} of {total}"
    slices: Annotated[str, with_fields("first", "last", "total")] = "slices {first} to {last} of {total}"


class StudyWords(Strict):
    """Which image of a study something is seen on. `views` by View Position (0018,5101); one left out is said by its
    abbreviation."""

    views: dict[str, Plain] = Field(default_factory=dict)
    view: Annotated[str, with_fields("view")] = "{view} view"
    numbered: Annotated[str, with_fields("number", "total")] = "image {number} of {total}"
    right: Plain = "right"
    left: Plain = "left"
    on_side: Annotated[str, with_fields("name", "side")] = "{name} ({side})"
    on_image: Annotated[str, with_fields("image", "said")] = "{image}: {said}"
    found: Plain = "found"
    absent: Plain = "not found"


class TypeWords(Strict):
    """Plain sentences about explanations that are not heatmaps."""

    speak_for: Annotated[str, with_fields("names")] = "Speaks for it: {names}."
    speak_against: Annotated[str, with_fields("names")] = "Speaks against it: {names}."
    concepts: Plain = "What speaks for it (right) and against it (left)"
    cases: Annotated[str, with_fields("count", "known")] = (
        "Of the {known} most similar cases with a known outcome, {count} had it."
    )
    cases_unknown: Plain = "Of none of the most similar cases the outcome is known."
    had: Plain = "had it"
    had_not: Plain = "did not have it"
    outcome_unknown: Plain = "outcome not known"
    case: Annotated[str, with_fields("number")] = "Similar case {number}"
    this_image: Plain = "This image"
    typical: Annotated[str, with_fields("number")] = "Example {number}"
    typical_speaks: Plain = "The image is compared with typical examples; these counted most."
    flipped: Annotated[str, with_fields("before", "after")] = (
        "With the outlined place changed, the model would answer otherwise: {after} instead of {before}."
    )
    not_flipped: Annotated[str, with_fields("before", "after")] = (
        "No change was found that turns the answer; it came from {before} to {after}."
    )
    unseen_change: Plain = "The change is too small to be seen, so its pictures are not shown."
    before: Plain = "As it is"
    after: Plain = "Changed by the computer"
    usual: Plain = "The image is like those that the model was made for."
    unusual: Plain = "The image is unusual for this model: use its answer with caution."
    nearer: Annotated[str, with_fields("value")] = "Of 100 ordinary images, {value} are more ordinary than this one."
    likeness: Plain = "How unusual the image is"
    ordinary: Plain = "ordinary"
    rare: Plain = "unusual"
    regions: Annotated[str, with_fields("names")] = "What speaks for it lies mainly here: {names}."
    regions_places: Plain = "Places by number"
    regions_chart: Plain = "How much of the answer comes from where"
    elsewhere: Plain = "outside the numbered places"


class PageWords(Strict):
    """Words of the pages that are read in seconds: what was found, a page a finding, and details."""

    summary: Plain = "What was found"
    nothing: Plain = "No finding reached its threshold."
    more: Annotated[str, with_fields("count", "names")] = "and {count} more: {names}"
    not_found: Annotated[str, with_fields("names")] = "Looked for and not found: {names}."
    could_not: Annotated[str, with_fields("what")] = "Could not be done: {what}."
    not_explained: Plain = "No explanation was asked for."
    no_explanation: Plain = "No explanation could be made."
    finding_stands: Plain = "This says nothing of whether the finding is right."
    threshold: Annotated[str, with_fields("value")] = "threshold {value}"
    found: Annotated[str, with_fields("name")] = "{name} was found."
    absent: Annotated[str, with_fields("name")] = "{name} was not found."
    not_reached: Annotated[str, with_fields("name")] = (
        "{name} was not found; highlighted is what came nearest to speaking for it."
    )
    measured: Annotated[str, with_fields("name", "value")] = "{name}: {value}."
    lies: Annotated[str, with_fields("place")] = "Where the model sees it: {place}."
    nearest_lies: Annotated[str, with_fields("place")] = "Where that is: {place}."
    segment_lies: Annotated[str, with_fields("place")] = "Where it lies: {place}."
    locator: Plain = "Where these slices lie"
    nowhere: Plain = "No place in the image speaks for it."
    highlighted: Plain = "Highlighted: where the model sees it"
    nearest: Plain = "Highlighted: what came nearest"
    nothing_highlighted: Plain = "Nothing is highlighted"
    outlined: Annotated[str, with_fields("name")] = "Outlined: {name}"
    package: Annotated[str, with_fields("title", "version")] = "{title}, version {version}"
    details: Annotated[str, with_fields("name", "method")] = "Details: {name}, {method}"
    measurement: Plain = "measurement"
    value: Plain = "value"
    baseline: Plain = "baseline"
    grade: Plain = "grade"
    rule: Plain = "threshold and rule"
    parameters: Annotated[str, with_fields("parameters")] = "Parameters: {parameters}"
    digest: Annotated[str, with_fields("digest")] = "Digest of the package: {digest}"
    place: PlaceWords = PlaceWords()
    study: StudyWords = StudyWords()
    types: TypeWords = TypeWords()
