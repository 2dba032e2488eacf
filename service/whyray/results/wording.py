"""`wording/LANGUAGE.yaml`: every word of pages and of the report's free text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field

from whyray.quality import ScopeReason
from whyray.results.numbers import Numbers
from whyray.results.page_words import PageWords, RefusalWords
from whyray.results.template_parts import Concept
from whyray.results.template_text import ByMethod, Plain, Strict, with_fields
from whyray.results.trust_words import TrustWords


class GradeNames(Strict):
    """Names of the three grades of a quality card."""

    green: Plain
    amber: Plain
    red: Plain


class UnitWords(Strict):
    """Words about a layer's units."""

    headline: Annotated[str, with_fields("shown", "total", "layer")]
    chart: Plain
    contribution: Plain
    unit: Annotated[str, with_fields("unit")]
    here: Plain
    detects: Annotated[str, with_fields("concept", "iou")]
    unknown: Plain
    ablation: Annotated[str, with_fields("value")]
    percentile: Annotated[str, with_fields("value")]
    patches: Annotated[str, with_fields("unit")]


class ConceptWords(Strict):
    """Words about concepts."""

    headline_parts: Annotated[str, with_fields("name", "score")]
    headline_changes: Annotated[str, with_fields("name", "score")]
    none_reliable: Plain
    chart_parts: Plain
    chart_changes: Plain
    logit: Plain
    per_deviation: Plain
    class_score: Annotated[str, with_fields("value")]
    sum: Annotated[str, with_fields("base", "total")]
    stand_in: Annotated[str, with_fields("value")]
    of_class: Annotated[str, with_fields("count")]
    faint: Plain
    unreliable: Plain
    intervention: Annotated[str, with_fields("name", "answers")]


class RegionWords(Strict):
    """Words about anatomical structures. `names` gives structures in this language; others keep the package's name."""

    headline_share: Annotated[str, with_fields("name", "share", "area", "method")]
    headline_effect: Annotated[str, with_fields("name", "effect")]
    outside: Annotated[str, with_fields("share")]
    inside: Annotated[str, with_fields("share", "names")]
    flagged: Annotated[str, with_fields("share", "names")]
    flag: Plain
    sum: Annotated[str, with_fields("base", "total")]
    chart_share: Plain
    chart_effect: Plain
    share: Plain
    effect: Plain
    rest: Plain
    outlines: Plain
    faint: Plain
    names: dict[str, Plain] = Field(default_factory=dict)


class CaseWords(Strict):
    """Words about similar cases and prototypes."""

    headline: Annotated[str, with_fields("shown", "total")]
    order: Plain
    here: Plain
    contrasts: Plain
    similarity: Annotated[str, with_fields("value")]
    answer: Annotated[str, with_fields("value")]
    known: Plain
    known_without: Plain
    unknown: Plain
    answered_alike: Annotated[str, with_fields("share")]
    unit: Plain
    no_pictures: Plain
    prototypes: Annotated[str, with_fields("shown", "total")]
    chart: Plain
    contribution: Plain
    resembles: Annotated[str, with_fields("label")]
    term: Annotated[str, with_fields("similarity", "weight")]


class CounterfactualWords(Strict):
    """Words about counterfactuals."""

    flipped: Annotated[str, with_fields("before", "after")]
    not_flipped: Annotated[str, with_fields("before", "after")]
    before: Annotated[str, with_fields("value")]
    after: Annotated[str, with_fields("value")]
    difference: Plain
    curve: Plain
    frame: Annotated[str, with_fields("value")]
    step: Plain
    answer: Plain
    mark_before: Plain
    mark_after: Plain
    mark_threshold: Plain
    stands_for: Annotated[str, with_fields("answer", "gap")]
    added: Annotated[str, with_fields("value")]
    replaced: Annotated[str, with_fields("count", "total", "area")]
    smallest: Plain
    irreducible: Plain
    caution: Plain


class LatentWords(Strict):
    """Words about a case's place among references."""

    headline: Annotated[str, with_fields("value", "distance")]
    plot: Annotated[str, with_fields("count", "plane")]
    distances: Plain
    limit: Plain
    trust: Annotated[str, with_fields("value")]
    no_plot: Annotated[str, with_fields("value")]
    placement: Annotated[str, with_fields("value")]
    unusual: Plain
    here: Plain
    known_with: Plain
    known_without: Plain
    unknown: Plain
    traversal: Annotated[str, with_fields("share")]
    distance_names: dict[str, Plain] = Field(default_factory=dict)
    """What distances are called; one left out keeps the name that the method gives it."""


class CompareWords(Strict):
    """Words of pages that show several maps side by side."""

    methods: Plain
    targets: Annotated[str, with_fields("method")]
    scale: Plain
    unit: Plain
    left_out: Annotated[str, with_fields("name")]


class MeasuredWords(Strict):
    """Why a card is not green. `names` says what measurements are called; a name left out stays English, and so do
    the rules by which they are graded, where a reason quotes them. Reports hold every rule in any case."""

    not_measured: Plain = "not measured"
    reason: Annotated[str, with_fields("name", "value", "grade", "rule")] = "{name} {value}: {grade}; {rule}"
    reason_with_baseline: Annotated[str, with_fields("name", "value", "baseline", "grade", "rule")] = (
        "{name} {value} (baseline {baseline}): {grade}; {rule}"
    )
    names: dict[str, Plain] = Field(default_factory=dict)


class NoteWords(Strict):
    """What a reader is told of how an image was read, by kind of note; one left out stays English."""

    gap: Plain = "Slices are missing"
    no_window: Plain = "The image names no window; it is shown by the range of its values"
    window_replaced: Plain = "Shown in another window than the image's own"
    shutter: Plain = "The image's own shutter hides a part of it"
    captured: Plain = "This is a secondary capture: marks and text may be part of the picture"
    computed: Plain = "This image was computed from others: a projection or a difference"
    pixel_data_repaired: Plain = "The pixel data contradicted their description; they were repaired"
    attribute_ignored: Plain = "Details in the image's header could not be used; the report names them"
    no_pixel_size: Plain = "The image's pixel size is not usable, so sizes are not given in mm"
    left_out: Plain = "Images of this series were left out"
    repeated: Plain = "Images that came twice are used once"
    split_series: Plain = "This is one part of its series; the other parts differ from it"
    uneven_slices: Plain = "Thickness or spacing of the slices varies"
    position_unknown: Plain = "Where the image lies in the patient is not known"


class ScopeWords(Strict):
    """What is said of an image that a package says nothing about: `none` always, then a line for each reason."""

    none: Plain = "This image is unlike those the model was made for: no statement."
    modality: Plain = "It comes from another kind of machine."
    body_part: Plain = "Its header names another part of the body."
    view: Plain = "Its header names another view."
    implant: Plain = "Its header names a breast implant."
    partial_view: Plain = "Its header says that it shows only a part."
    orientation: Plain = "Its header has left and right, or head and feet, otherwise than the image."
    inverted: Plain = "Black and white seem to be exchanged."
    upside_down: Plain = "It seems to be upside down."
    on_its_side: Plain = "It seems to lie on its side."
    mirrored: Plain = "It seems to be mirrored: left and right exchanged."
    part: Plain = "It seems to show only a part of what the model looks at."
    exposure: Plain = "It seems to be far too dark, too bright or without contrast."
    another: Plain = "It seems to be an image of something else."
    far: Plain = "It is farther from ordinary images than they are from each other."
    anatomy: Plain = "Lungs, heart and mediastinum were not found as they should lie."
    unchecked: Plain = "Whether it is such an image could not be checked."

    def sentence(self, reason: ScopeReason) -> str:
        """The words for a reason."""
        words: str = getattr(self, reason)
        return words


class PrevalenceWords(Strict):
    """For which prevalence a probability holds: the package's own, or one that a route sets."""

    stated: Annotated[str, with_fields("value")] = "calibrated for a prevalence of {value}"
    moved: Annotated[str, with_fields("value", "route", "stated")] = (
        "calibrated for a prevalence of {value}, set by {route} (the package's own: {stated})"
    )


class YesNo(Strict):
    """Answers that reports hold as text."""

    yes: Plain = "yes"
    no: Plain = "no"
    unsure: Plain = "not sure"

    def word_of(self, value: bool) -> str:
        """Yes, or no."""
        return self.yes if value else self.no


class LineWords(Strict):
    """Words of lines that the command line prints and `report.json` holds."""

    explanation_of: Annotated[str, with_fields("title", "finding", "sentence")] = "{title} of {finding}: {sentence}"
    note: Annotated[str, with_fields("words")] = "note: {words}"
    withheld: Annotated[str, with_fields("words")] = "withheld: {words}"


class Wording(Strict):
    """`wording/LANGUAGE.yaml`: all words of pages and of the report's free text."""

    language: Concept
    numbers: Numbers = Numbers()
    not_for_diagnosis: Plain
    compare: CompareWords
    segment_found: Plain
    segment_empty: Plain
    original: Plain
    overlay: ByMethod
    slice: Annotated[str, with_fields("number", "total")]
    method: ByMethod
    layer: Annotated[str, with_fields("layer")]
    region: Annotated[str, with_fields("rule")]
    unseen: Plain
    package: Annotated[str, with_fields("title", "name", "version", "digest")]
    quality: Plain
    grades: GradeNames
    no_concerns: Plain
    low_reliability: Plain
    withheld: Plain
    withheld_because: ByMethod
    refused: Plain
    refused_because: Annotated[str, with_fields("method", "reason")]
    scale_planar: Plain
    scale_volume: Plain
    unit: Annotated[str, with_fields("unit")]
    detector_plane: Plain
    estimated_plane: Plain = "Scale bar: lengths by the magnification that the device estimated"
    area_at_detector: Plain = "measured at the detector, where the patient appears larger"
    area_estimated: Plain = "measured by the magnification that the device estimated"
    made: Annotated[str, with_fields("time")]
    revision: Annotated[str, with_fields("number")]
    negative: Plain
    positive: Plain
    patient: Annotated[str, with_fields("name", "identifier", "birth_date")]
    study: Annotated[str, with_fields("date", "accession")]
    synthetic: Plain
    cine: Annotated[str, with_fields("number", "total")]
    source_frame: Annotated[str, with_fields("number", "total")] = "image frame {number} of {total}"
    frames_explained: Annotated[str, with_fields("count", "total", "numbers")] = (
        "Explained: {count} of {total} frames, those with the clearest answers ({numbers}); "
        "the others were only answered"
    )
    narrative: Plain
    regions: RegionWords
    units: UnitWords
    concepts: ConceptWords
    cases: CaseWords
    counterfactual: CounterfactualWords
    latent: LatentWords
    measured: MeasuredWords = MeasuredWords()
    notes: NoteWords = NoteWords()
    scope: ScopeWords = ScopeWords()
    trust: TrustWords = TrustWords()
    pages: PageWords = PageWords()
    prevalence: PrevalenceWords = PrevalenceWords()
    refusals: RefusalWords = RefusalWords()
    lines: LineWords = LineWords()
    yes_no: YesNo = YesNo()
    package_titles: dict[str, Plain] = Field(default_factory=dict)
    """What packages are called, by their names; one left out keeps the title that the package gives itself."""
    region_rules: dict[str, Plain] = Field(default_factory=dict)
    """What the rules of outlined regions are called; one left out stays English."""
    method_titles: dict[str, Plain] = Field(default_factory=dict)
    """What methods are called for people; one left out keeps the title that the method gives itself."""
    target_names: dict[str, Plain] = Field(default_factory=dict)
    """What findings, segments and concepts are called, by the name that a package gives them; one left out keeps it."""
    full_stop: Plain = "."
    list_mark: Plain = ", "
    named_and_said: Annotated[str, with_fields("name", "said")] = "{name}: {said}"

    def named(self, name: str) -> str:
        """A finding, segment or concept as people write it: packages name them with underscores, in small letters."""
        written = self.target_names.get(name) or name.replace("_", " ")
        return written[:1].upper() + written[1:]

    def with_statement(self, name: str, said: str) -> str:
        """What is said of something, behind its name: with the colon of the language."""
        return self.named_and_said.format(name=name, said=said)

    def listed(self, names: Iterable[str]) -> str:
        """Names one after another."""
        return self.list_mark.join(names)
