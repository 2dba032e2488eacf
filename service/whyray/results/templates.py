"""`dicom_templates/`: what a site may change in results without code, validated.

A site's folder overrides the shipped one file by file: a file that it doesn't hold is taken from the shipped folder.
"""

from __future__ import annotations

import hashlib
import string
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from whyray.base.coded_concept import CodedConcept
from whyray.base.errors import ConfigError
from whyray.base.shipped import shipped_templates
from whyray.explain.language import FOLDER, NarrativePhrases
from whyray.quality import ScopeReason
from whyray.results.yaml_file import read_template


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _as_concept(value: Any) -> Any:
    if isinstance(value, (list, tuple)) and len(value) == 3:
        return dict(zip(("value", "scheme", "meaning"), map(str, value), strict=True))
    if not isinstance(value, (dict, CodedConcept)):
        raise ValueError("a code is written [value, scheme, meaning]")
    return value


def _within_limits(concept: CodedConcept) -> CodedConcept:
    if not concept.value or len(concept.scheme) > 16 or not 0 < len(concept.meaning) <= 64:
        raise ValueError("a code has a value, a scheme of at most 16 and a meaning of at most 64 characters")
    return concept


Concept = Annotated[
    CodedConcept,
    BeforeValidator(_as_concept, json_schema_input_type=tuple[str | int, str, str] | CodedConcept),
    AfterValidator(_within_limits),
]
Colour = tuple[
    Annotated[int, Field(ge=0, le=255)], Annotated[int, Field(ge=0, le=255)], Annotated[int, Field(ge=0, le=255)]
]


def _with_fields(*allowed: str) -> AfterValidator:
    def check(text: str) -> str:
        fields = {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}
        if fields - set(allowed):
            raise ValueError(f"unknown field {sorted(fields - set(allowed))}; known: {sorted(allowed) or 'none'}")
        return text

    return AfterValidator(check)


Plain = Annotated[str, _with_fields()]
ByMethod = Annotated[str, _with_fields("method")]


class SeriesTemplate(_Strict):
    """Number, modality and description of the series of one kind of result."""

    number: int = Field(ge=1, le=2**31 - 1)
    modality: str = Field(pattern=r"^[A-Z0-9_ ]{1,16}$")
    description: Annotated[str, _with_fields("package", "version", "title", "method")]


class SeriesTemplates(_Strict):
    """`series.yaml`."""

    sc: SeriesTemplate
    seg: SeriesTemplate
    segments: SeriesTemplate
    pm: SeriesTemplate
    sr: SeriesTemplate
    gsps: SeriesTemplate
    blend: SeriesTemplate
    ko: SeriesTemplate
    pdf: SeriesTemplate
    cine: SeriesTemplate


class CodingScheme(_Strict):
    """Who answers for private codes."""

    designator: str = Field(min_length=1, max_length=16)
    name: str
    organisation: str


class Equipment(_Strict):
    """`equipment.yaml`."""

    manufacturer: str = Field(min_length=1, max_length=64)
    model: str = Field(min_length=1, max_length=64)
    serial_number: str = Field(min_length=1, max_length=64)
    content_qualification: Literal["PRODUCT", "RESEARCH", "SERVICE"]
    coding_scheme: CodingScheme


class Grades(_Strict):
    """The concepts of the three grades of a quality card."""

    green: Concept
    amber: Concept
    red: Concept


class Concepts(_Strict):
    """`concepts.yaml`."""

    quantities: dict[str, Concept]
    other_quantity: Concept
    region_category: Concept
    region_type: Concept
    segment_category: Concept
    probability: Concept
    threshold: Concept
    area: Concept
    volume: Concept
    value: Concept
    present: Concept
    absent: Concept
    quality_grade: Concept
    grades: Grades
    withheld: Concept
    refused: Concept
    measurements: dict[str, Concept]
    procedure: Concept
    algorithm_family: Concept
    document: Concept

    def quantity(self, method: str) -> CodedConcept:
        """What a heatmap of `method` measures."""
        return self.quantities.get(method, self.other_quantity)


class PageLayout(_Strict):
    """Sizes of a page in its own pixels."""

    width_at_most: int = Field(ge=640, le=8192)
    margin: int = Field(ge=0, le=200)
    panel_at_least: int = Field(ge=64, le=4096)
    panel_height_at_most: int = Field(ge=64, le=8192)


class VolumeLayout(_Strict):
    """How a volume becomes pages; `apart` is the least distance of two key slices, in slices."""

    pages: Literal["montage", "series", "multiframe"]
    key_slices: int = Field(ge=1, le=16)
    apart: int = Field(ge=1)


class FramesLayout(_Strict):
    """Pages about frames of a multi-frame instance, of which there are many: they are narrower than others."""

    width_at_most: int = Field(default=1100, ge=640, le=8192)


class ColourMaps(_Strict):
    """Names of matplotlib's colour maps; rainbow maps, which show edges that are not there, are refused."""

    unsigned: Literal["inferno", "viridis", "magma", "plasma", "cividis"]
    signed: Literal["coolwarm", "RdBu_r", "PuOr_r", "berlin", "managua", "vanimo"]


class Opacity(_Strict):
    """Clear below `from` (share of the maximum), linear to `top` at the maximum."""

    start: float = Field(alias="from", ge=0, lt=1)
    top: float = Field(gt=0, le=1)


class Contour(_Strict):
    """The outline of a region; `width` in pixels of the page."""

    colour: Colour
    width: int = Field(ge=1, le=16)


class Colours(_Strict):
    """Colours of a page; `on_image` are letters and scale bars within pictures."""

    background: Colour
    text: Colour
    on_image: Colour
    faint: Colour
    green: Colour
    amber: Colour
    red: Colour


class Fonts(_Strict):
    """Font files; the first that holds all characters of a text is taken."""

    regular: tuple[str, ...] = Field(min_length=1)
    bold: tuple[str, ...] = Field(min_length=1)


class SegmentationLayout(_Strict):
    """Options of Segmentation objects."""

    omit_empty_frames: bool
    fractional: bool = False
    """The heatmaps too, as fractional segments."""
    label_maps: bool = False
    """Segments that don't overlap as Label Map Segmentations, which few viewers know yet."""


class Paper(_Strict):
    """Sheets of the printable report."""

    sheet: Literal["a4", "letter"]
    colours: Colours


class Layout(_Strict):
    """`layout.yaml`."""

    page: PageLayout
    volume: VolumeLayout
    frames: FramesLayout = FramesLayout()
    colour_maps: ColourMaps
    opacity: Opacity
    contour: Contour
    colours: Colours
    fonts: Fonts
    segmentation: SegmentationLayout
    compare: tuple[Literal["methods", "targets"], ...] = ()
    """Pages more, side by side: the methods of each finding, the findings of each method."""
    paper: Paper


class GradeNames(_Strict):
    """Names of the three grades of a quality card."""

    green: Plain
    amber: Plain
    red: Plain


class UnitWords(_Strict):
    """Words about a layer's units."""

    headline: Annotated[str, _with_fields("shown", "total", "layer")]
    chart: Plain
    contribution: Plain
    unit: Annotated[str, _with_fields("unit")]
    here: Plain
    detects: Annotated[str, _with_fields("concept", "iou")]
    unknown: Plain
    ablation: Annotated[str, _with_fields("value")]
    percentile: Annotated[str, _with_fields("value")]
    patches: Annotated[str, _with_fields("unit")]


class ConceptWords(_Strict):
    """Words about concepts."""

    headline_parts: Annotated[str, _with_fields("name", "score")]
    headline_changes: Annotated[str, _with_fields("name", "score")]
    none_reliable: Plain
    chart_parts: Plain
    chart_changes: Plain
    logit: Plain
    per_deviation: Plain
    class_score: Annotated[str, _with_fields("value")]
    sum: Annotated[str, _with_fields("base", "total")]
    stand_in: Annotated[str, _with_fields("value")]
    of_class: Annotated[str, _with_fields("count")]
    faint: Plain
    unreliable: Plain
    intervention: Annotated[str, _with_fields("name", "answers")]


class RegionWords(_Strict):
    """Words about anatomical structures. `names` gives structures in this language; others keep the package's name."""

    headline_share: Annotated[str, _with_fields("name", "share", "area", "method")]
    headline_effect: Annotated[str, _with_fields("name", "effect")]
    outside: Annotated[str, _with_fields("share")]
    inside: Annotated[str, _with_fields("share", "names")]
    flagged: Annotated[str, _with_fields("share", "names")]
    flag: Plain
    sum: Annotated[str, _with_fields("base", "total")]
    chart_share: Plain
    chart_effect: Plain
    share: Plain
    effect: Plain
    rest: Plain
    outlines: Plain
    faint: Plain
    names: dict[str, Plain] = {}


class CaseWords(_Strict):
    """Words about similar cases and prototypes."""

    headline: Annotated[str, _with_fields("shown", "total")]
    order: Plain
    here: Plain
    contrasts: Plain
    similarity: Annotated[str, _with_fields("value")]
    answer: Annotated[str, _with_fields("value")]
    known: Plain
    known_without: Plain
    unknown: Plain
    answered_alike: Annotated[str, _with_fields("share")]
    unit: Plain
    no_pictures: Plain
    prototypes: Annotated[str, _with_fields("shown", "total")]
    chart: Plain
    contribution: Plain
    resembles: Annotated[str, _with_fields("label")]
    term: Annotated[str, _with_fields("similarity", "weight")]


class CounterfactualWords(_Strict):
    """Words about counterfactuals."""

    flipped: Annotated[str, _with_fields("before", "after")]
    not_flipped: Annotated[str, _with_fields("before", "after")]
    before: Annotated[str, _with_fields("value")]
    after: Annotated[str, _with_fields("value")]
    difference: Plain
    curve: Plain
    frame: Annotated[str, _with_fields("value")]
    step: Plain
    answer: Plain
    mark_before: Plain
    mark_after: Plain
    mark_threshold: Plain
    stands_for: Annotated[str, _with_fields("answer", "gap")]
    added: Annotated[str, _with_fields("value")]
    replaced: Annotated[str, _with_fields("count", "total", "area")]
    smallest: Plain
    irreducible: Plain
    caution: Plain


class LatentWords(_Strict):
    """Words about a case's place among references."""

    headline: Annotated[str, _with_fields("value", "distance")]
    plot: Annotated[str, _with_fields("count", "plane")]
    distances: Plain
    limit: Plain
    trust: Annotated[str, _with_fields("value")]
    no_plot: Annotated[str, _with_fields("value")]
    placement: Annotated[str, _with_fields("value")]
    unusual: Plain
    here: Plain
    known_with: Plain
    known_without: Plain
    unknown: Plain
    traversal: Annotated[str, _with_fields("share")]


class CompareWords(_Strict):
    """Words of pages that show several maps side by side."""

    methods: Plain
    targets: Annotated[str, _with_fields("method")]
    scale: Plain
    unit: Plain
    left_out: Annotated[str, _with_fields("name")]


class MeasuredWords(_Strict):
    """Why a card is not green. `names` says what measurements are called; a name left out stays English, and so do
    the rules by which they are graded, where a reason quotes them. Reports hold every rule in any case."""

    not_measured: Plain = "not measured"
    reason: Annotated[str, _with_fields("name", "value", "grade", "rule")] = "{name} {value}: {grade}; {rule}"
    reason_with_baseline: Annotated[str, _with_fields("name", "value", "baseline", "grade", "rule")] = (
        "{name} {value} (baseline {baseline}): {grade}; {rule}"
    )
    names: dict[str, Plain] = Field(default_factory=dict)


class NoteWords(_Strict):
    """What a reader is told of how an image was read, by kind of note; one left out stays English."""

    gap: Plain = "Slices are missing"
    window_replaced: Plain = "Shown in another window than the image's own"
    pixel_data_repaired: Plain = "The pixel data contradicted their description; they were repaired"
    attribute_ignored: Plain = "Part of what the image says of itself could not be used"
    left_out: Plain = "Images of this series were left out"
    repeated: Plain = "Images that came twice are used once"
    split_series: Plain = "This is one part of its series; the other parts differ from it"
    uneven_slices: Plain = "Thickness or spacing of the slices varies"
    position_unknown: Plain = "Where the image lies in the patient is not known"


class ScopeWords(_Strict):
    """What is said of an image that a package says nothing about: `none` always, then a line for each reason."""

    none: Plain = "This image is unlike those the model was made for: no statement."
    modality: Plain = "It comes from another kind of machine."
    body_part: Plain = "Its header names another part of the body."
    view: Plain = "Its header names another view."
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


class Wording(_Strict):
    """`wording/LANGUAGE.yaml`: all words of pages and of the report's free text."""

    language: Concept
    not_for_diagnosis: Plain
    compare: CompareWords
    probability: Annotated[str, _with_fields("value")]
    threshold: Annotated[str, _with_fields("value")]
    value: Annotated[str, _with_fields("value")]
    present: Plain
    absent: Plain
    segment_found: Plain
    segment_empty: Plain
    original: Plain
    overlay: ByMethod
    segment: Annotated[str, _with_fields("name")]
    slice: Annotated[str, _with_fields("number", "total")]
    method: ByMethod
    layer: Annotated[str, _with_fields("layer")]
    region: Annotated[str, _with_fields("rule")]
    unseen: Plain
    package: Annotated[str, _with_fields("title", "name", "version", "digest")]
    quality: Plain
    grades: GradeNames
    badge: Annotated[str, _with_fields("method", "grade")] = "Explanation {method}: {grade}"
    no_concerns: Plain
    low_reliability: Plain
    withheld: Plain
    withheld_because: ByMethod
    refused: Plain
    refused_because: Annotated[str, _with_fields("method", "reason")]
    scale_planar: Plain
    scale_volume: Plain
    unit: Annotated[str, _with_fields("unit")]
    detector_plane: Plain
    made: Annotated[str, _with_fields("time")]
    revision: Annotated[str, _with_fields("number")]
    negative: Plain
    positive: Plain
    patient: Annotated[str, _with_fields("name", "identifier", "birth_date")]
    study: Annotated[str, _with_fields("date", "accession")]
    synthetic: Plain
    changed: Plain
    cine: Annotated[str, _with_fields("number", "total")]
    source_frame: Annotated[str, _with_fields("number", "total")] = "image frame {number} of {total}"
    frames_explained: Annotated[str, _with_fields("count", "total", "numbers")] = (
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
    region_rules: dict[str, Plain] = Field(default_factory=dict)
    """What the rules of outlined regions are called; one left out stays English."""


_FILES: dict[str, type[BaseModel]] = {
    "series.yaml": SeriesTemplates,
    "equipment.yaml": Equipment,
    "concepts.yaml": Concepts,
    "layout.yaml": Layout,
}
_WORDING, _NARRATIVE = Path("wording"), Path(FOLDER)
_LANGUAGES: dict[Path, type[BaseModel]] = {_WORDING: Wording, _NARRATIVE: NarrativePhrases}
"""Folders with a file a language; a site may add languages."""
_NAMES = (*_FILES, *(f"{folder}/LANGUAGE.yaml" for folder in _LANGUAGES))


@dataclass(frozen=True)
class Templates:
    """All templates in force. `version` is a digest of them: a change of wording gives results new UIDs."""

    series: SeriesTemplates
    equipment: Equipment
    concepts: Concepts
    layout: Layout
    wordings: Mapping[str, Wording]
    version: str

    def wording(self, language: str) -> Wording:
        """The wording of a language.

        Raises
        ------
        ConfigError
            If there is no `wording/LANGUAGE.yaml`.
        """
        if language not in self.wordings:
            raise ConfigError(
                f"no wording for language {language!r}; there are {', '.join(sorted(self.wordings))}",
                advice=f"Add wording/{language}.yaml to the site's template folder, or name one that exists.",
            )
        return self.wordings[language]


def load_templates(folder: Path | None = None) -> Templates:
    """The shipped templates, with the files of a site's `folder` in place of those of the same name.

    Raises
    ------
    ConfigError
        If a file says something that is not allowed, with file and line; or if `folder` does not exist.
    """
    shipped = shipped_templates()
    if folder is not None and not folder.is_dir():
        raise ConfigError(
            f"{folder}: no such folder of templates", advice="Create it, or leave the setting out to take the defaults."
        )
    known = {str(path.relative_to(shipped)): path for path in sorted(shipped.rglob("*.yaml"))}
    own = {} if folder is None else {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*.yaml"))}
    for name in own:
        if name not in known and Path(name).parent not in _LANGUAGES:
            raise ConfigError(f"{own[name]}: no template has this name; there are {', '.join(sorted(known))}")
    files = {**known, **own}
    read = _read(files)
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(name.encode() + b"\0" + files[name].read_bytes() + b"\0")
    return Templates(
        series=read["series.yaml"],
        equipment=read["equipment.yaml"],
        concepts=read["concepts.yaml"],
        layout=read["layout.yaml"],
        wordings={Path(name).stem: wording for name, wording in read.items() if Path(name).parent == _WORDING},
        version=digest.hexdigest()[:16],
    )


def template_schemas() -> dict[str, dict[str, Any]]:
    """{file name: JSON Schema (draft 2020-12)} of all template files; a language's as `wording/LANGUAGE.yaml`."""
    return {name: template_schema(name) for name in _NAMES}


def template_schema(name: str) -> dict[str, Any]:
    """The JSON Schema of one template file.

    Raises
    ------
    ConfigError
        If there is no such template.
    """
    model = _model(name)
    if model is None:
        raise ConfigError(f"no template has the name {name}; there are {', '.join(_NAMES)}")
    schema: dict[str, Any] = model.model_json_schema(by_alias=True, mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": name}


def _model(name: str) -> type[BaseModel] | None:
    return _LANGUAGES.get(Path(name).parent) or _FILES.get(name)


def _read(files: Mapping[str, Path]) -> dict[str, Any]:
    """All files as values; everything that is wrong with any of them in one error."""
    read, refused = {}, []
    for name in sorted(files):
        model = _model(name)
        if model is None:
            continue
        try:
            read[name] = read_template(files[name], model)
        except ConfigError as error:
            refused.append(error)
    if len(refused) == 1:
        raise refused[0]
    if refused:
        every = ConfigError("\n".join(error.message for error in refused), advice=refused[0].advice)
        every.line = refused[0].line
        raise every
    return read
