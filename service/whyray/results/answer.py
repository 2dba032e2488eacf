"""What results are made of: the answers of one package about one source image, with explanations in its geometry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from whyray.base.arrays import DoubleArray, FloatArray
from whyray.base.coded_concept import CodedConcept
from whyray.base.frame_array import Frames
from whyray.config import Audience, ResultKind
from whyray.explain import Agreement, TypedExplanation, method_title
from whyray.imaging import ModelGrid, SourceImage
from whyray.packages import TargetSpec, shift_between
from whyray.quality import Grade, QualityCard, ScopeCheck
from whyray.results.refusal import Refusal
from whyray.results.strengths import strengths_of


@dataclass(frozen=True)
class PackageIdentity:
    """Which package answered. `digest` is the SHA-256 (hex) over all files of the package."""

    name: str
    version: str
    title: str
    manufacturer: str
    task: Literal["classification", "multi-label", "regression", "segmentation", "autoencoder", "captioner"]
    digest: str


@dataclass(frozen=True)
class MapInSource:
    """A heatmap brought back to the source frames, with its quality card.

    Attributes
    ----------
    method, layer, parameters, unit, signed
        As in `whyray.explain.Heatmap`.
    values
        (frames, rows, columns) float32, in the source geometry; 0 where the model saw nothing.
    covered
        (frames, rows, columns): where the model's field of view lies.
    region
        (frames, rows, columns): the salient region, by `region_rule` (words, e.g. 'at least 50 % of the maximum').
    card
        Its measured quality. Where `card.withheld`, no picture, region or map of it may be made, and the SR says why.
    """

    method: str
    values: Frames[np.float32]
    covered: Frames[np.bool_]
    region: Frames[np.bool_]
    region_rule: str
    signed: bool
    unit: str
    card: QualityCard
    layer: str | None = None
    parameters: Mapping[str, object] = field(default_factory=dict)
    part: str | None = None
    """Which map of an explanation that has several, or is more than a map; None for a heatmap."""
    on_grid: FloatArray | None = None
    """(slices, rows, columns) float32 as the method made it, on `grid`: (frames, rows, columns) of planar images."""
    grid: ModelGrid | None = None
    """Where `on_grid` lies."""
    strengths: DoubleArray | None = field(default=None, compare=False, repr=False)
    """`strengths_of` values and region, where they are known already."""
    extremes: tuple[float, float] | None = field(default=None, compare=False, repr=False)
    """The least and the largest of `values`, where they are known already."""
    checksums: NDArray[np.uint32] | None = field(default=None, repr=False)
    """`checksums_of` values, where they are known already: they tell maps apart without making them once more."""

    def __post_init__(self) -> None:
        """Refuse what was known of other frames than these."""
        for known in (self.strengths, self.checksums):
            if known is not None and len(known) != len(self.values):
                raise ValueError(f"{len(self.values)} frames, and strengths or checksums of {len(known)}")

    @property
    def name(self) -> str:
        """The method, and which of its maps."""
        return self.method if self.part is None else f"{self.method}: {self.part}"

    @property
    def title(self) -> str:
        """The same as people call it."""
        title = method_title(self.method)
        return title if self.part is None else f"{title}: {self.part}"

    @cached_property
    def frame_strengths(self) -> DoubleArray:
        """How much of it lies on each frame: (frames, 3), as `strengths_of` has it."""
        return strengths_of(self.values, self.region) if self.strengths is None else self.strengths

    @cached_property
    def top(self) -> float:
        """Its largest value; 0 where none is positive."""
        return max(float(self.values.max()) if self.extremes is None else self.extremes[1], 0.0)

    @cached_property
    def largest(self) -> float:
        """Its largest value for or against the target, without sign."""
        if self.extremes is not None:
            return max(map(abs, self.extremes))
        return float(self.frame_strengths[:, 2].max(initial=0.0))


@dataclass(frozen=True)
class StructureInSource:
    """An anatomical structure of an explanation, (frames, rows, columns) of the source."""

    name: str
    mask: Frames[np.bool_]
    code: CodedConcept | None = None
    laterality: CodedConcept | None = None


@dataclass(frozen=True)
class GradedExplanation:
    """An explanation that is more, or other, than a heatmap, with its quality card.

    Its maps are among the finding's maps (with the name of their `part`); its structures are here, in the source
    geometry. Where `card.withheld`, nothing of it may be shown, and the report says why.
    """

    explanation: TypedExplanation
    card: QualityCard
    structures: tuple[StructureInSource, ...] = ()

    @property
    def method(self) -> str:
        """Kebab-case name of the method."""
        return self.explanation.method


@dataclass(frozen=True)
class Prevalence:
    """How common a finding is taken to be (0..1): that which its probability holds for, and that of the package.

    They differ where a route, or the command line, sets another than the package states.
    """

    value: float
    stated: float

    @property
    def is_set(self) -> bool:
        """Whether another is set than the package states."""
        return self.value != self.stated

    @property
    def shift(self) -> float:
        """What was added to the log odds of the package's own probability."""
        return shift_between(self.stated, self.value)


@dataclass(frozen=True)
class Finding:
    """The answer about one target.

    `present`: whether its number reaches the target's threshold, which nobody may have stated: `verdict` is told.
    `probability` in 0..1 (calibrated where the package has a calibration) or None for a regression; `value` the
    regression value, or the volume in ml (area in mm² for planar) of a segment; `mask` the segment of a segmentation.
    """

    target: TargetSpec
    present: bool
    probability: float | None
    value: float | None = None
    prevalence: Prevalence | None = None
    """That which the probability holds for; None where the package states none."""
    maps: tuple[MapInSource, ...] = ()
    typed: tuple[GradedExplanation, ...] = ()
    refused: Mapping[str, Refusal] = field(default_factory=dict)
    """Methods that could not explain this answer, and why."""
    mask: Frames[np.bool_] | None = None
    agreement: Agreement | None = None
    """How far its maps point at the same places, of those that are not withheld; None where no two can be compared."""

    @property
    def name(self) -> str:
        """As people write it: packages may name targets with underscores, and in small letters."""
        name = self.target.name.replace("_", " ")
        return name[:1].upper() + name[1:]

    @property
    def decided(self) -> bool:
        """Whether anybody says what counts as present: nobody does of a number without a threshold of its own."""
        number = self.probability is None and self.mask is None and self.value is not None
        return not number or "threshold" in self.target.model_fields_set

    @property
    def verdict(self) -> bool | None:
        """Whether it is present, as people and programs are told; None where nobody decides that."""
        return self.present if self.decided else None

    @property
    def is_sought(self) -> bool:
        """Whether it is among what is shown and explained where present findings are asked for: what is present, and
        numbers of which nobody decides that."""
        return self.verdict is not False

    @property
    def heatmaps(self) -> tuple[MapInSource, ...]:
        """Maps that explain it by themselves; those that are part of another explanation say what that one means."""
        return tuple(heatmap for heatmap in self.maps if heatmap.part is None)

    @property
    def explanations(self) -> tuple[MapInSource | GradedExplanation, ...]:
        """All that explains it, heatmaps first."""
        return (*self.heatmaps, *self.typed)


@dataclass(frozen=True)
class FramesExplained:
    """Which frames of a multi-frame instance are explained, where not all are.

    Attributes
    ----------
    numbers
        The explained frames, as in Referenced Frame Number, ascending: those with the clearest answers.
    answered
        How many frames the model answered about.
    """

    numbers: tuple[int, ...]
    answered: int

    @property
    def ranges(self) -> str:
        """The numbers in words: '3-5, 9'."""
        runs: list[list[int]] = []
        for number in self.numbers:
            if runs and number == runs[-1][-1] + 1:
                runs[-1].append(number)
            else:
                runs.append([number])
        return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


@dataclass(frozen=True)
class ImageInStudy:
    """Which of the images of a study that were answered together an answer is about.

    Attributes
    ----------
    side
        R or L of a part that is one of a pair; else empty.
    view
        As in View Position (0018,5101), e.g. PA or MLO, with its modifiers; empty where the header names none.
    number, total
        Its place among them, from 1, and how many there are.
    alone
        Whether no other image has the same side and view.
    """

    side: str
    view: str
    number: int
    total: int
    alone: bool

    @property
    def label(self) -> str:
        """Short, and the same in every language: 'R MLO', or '2 of 3'."""
        named = [part for part in (self.side, self.view) if part]
        return " ".join(named if self.alone else [*named, f"{self.number} of {self.total}"])


@dataclass(frozen=True)
class Answer:
    """All findings of one run, and what the results need to say where they come from.

    `at` is timezone-aware. `device_uid` is that of the installation that made it. `supersedes` holds the SOP Instance
    UIDs of earlier results that this answer replaces; `revision` counts from 1, and so does `run`, the runs of one
    revision that gave other results than those before. Both are shown from 2 on: all have the time of the job.
    `replaces` are revision and run of the results of an earlier revision that were in force when this one came; None
    for the first run of the revision before.
    """

    package: PackageIdentity
    image: SourceImage
    findings: tuple[Finding, ...]
    route: str
    at: datetime
    revision: int = 1
    run: int = 1
    supersedes: tuple[str, ...] = ()
    replaces: tuple[int, int] | None = None
    frames_explained: FramesExplained | None = None
    """Of one frame of many: which of them are explained, where not all are."""
    scope: ScopeCheck | None = None
    """Whether the image is one that the package was made for; where it is refused, there are no findings."""
    anatomy: tuple[StructureInSource, ...] = ()
    """Structures of the image by which pages say where something lies; none where nothing is known of them."""
    in_study: ImageInStudy | None = None
    """Where several images of a study were answered together, which of them this answer is about."""
    device_uid: str = field(kw_only=True)

    @property
    def version(self) -> str:
        """Revision and run in short: '2', or '2.3' for other results of the third run."""
        return _version(self.revision, self.run)

    @property
    def version_replaced(self) -> str | None:
        """The `version` that this one replaces first of all; None of what is the first."""
        if self.run > 1:
            return _version(self.revision, self.run - 1)
        return _version(*(self.replaces or (self.revision - 1, 1))) if self.revision > 1 else None


def _version(revision: int, run: int) -> str:
    return f"{revision}.{run}" if run > 1 else f"{revision}"


PageKind = Literal["summary", "map", "segment", "notice", "typed", "cine", "compared", "details"]
"""What a page shows: what was found, a map, a segment, why nothing is shown, another explanation, its steps, several
maps side by side, or every measurement."""


@dataclass(frozen=True)
class Result:
    """One DICOM object made from an answer.

    `grade` is that of the explanation which it shows, from that explanation's own card; the worst where it compares
    several; None where it shows none, or is of all findings. `picture` is an 8-bit RGB array (rows, columns, 3) of what
    a person sees in it, where it has a picture of its own.
    """

    kind: ResultKind
    dataset: Dataset
    finding: str | None
    method: str | None
    description: str
    picture: NDArray[np.uint8] | None = None
    grade: Grade | None = None
    """Of the explanation that it shows; of several frames' that of the worst of them."""
    page: PageKind | None = None
    """What it shows, of pages."""


def no_statement(answer: Answer) -> bool:
    """Whether the package says nothing of this image, since it is unlike those that it was made for."""
    return answer.scope is not None and answer.scope.refused


def by_probability(findings: Iterable[Finding]) -> list[Finding]:
    """What is sought before what is absent, then by probability, the highest first, then by value."""

    def order(finding: Finding) -> tuple[bool, bool, float]:
        number = finding.value if finding.probability is None else finding.probability
        return not finding.is_sought, finding.probability is None, -(number or 0.0)

    return sorted(findings, key=order)


def named_findings(answer: Answer) -> list[Finding]:
    """What results are about: findings with an explanation that is shown, or else those that are sought."""
    shown = [finding for finding, _ in (*shown_maps(answer), *shown_typed(answer))]
    sought = [finding for finding in answer.findings if finding.is_sought]
    names = {finding.target.name for finding in shown or sought}
    return by_probability(finding for finding in answer.findings if finding.target.name in names)


def label_of(finding: Finding) -> str:
    """Its name for lists of series and segments, which show no probability: there it says where it was not found."""
    name = finding.target.name
    return f"{name} (not found)" if finding.probability is not None and not finding.present else name


def shown_maps(answer: Answer) -> list[tuple[Finding, MapInSource]]:
    """All maps that may be shown, with their findings, in the answer's order."""
    return [(finding, heatmap) for finding in answer.findings for heatmap in finding.maps if not heatmap.card.withheld]


def maps_for(answer: Answer, audience: Audience) -> list[tuple[Finding, MapInSource]]:
    """Maps that have regions, maps and states of their own: those that explain a finding by themselves, for scientists
    those too that are part of another explanation, which others see on that explanation's page."""
    return [(finding, heatmap) for finding, heatmap in shown_maps(answer) if is_for(heatmap, audience)]


def is_for(heatmap: MapInSource, audience: Audience) -> bool:
    """Whether a map that may be shown is for these readers by itself."""
    return heatmap.part is None or audience == "scientist"


def shown_typed(answer: Answer) -> list[tuple[Finding, GradedExplanation]]:
    """All explanations that are not heatmaps and may be shown, with their findings, in the answer's order."""
    return [(finding, graded) for finding in answer.findings for graded in finding.typed if not graded.card.withheld]
