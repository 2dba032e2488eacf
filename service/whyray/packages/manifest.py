"""`model.yaml`: what a model package says about itself, validated.

A package is a folder `NAME/VERSION/` holding `model.yaml` and the files that it names. Unknown keys are errors.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from whyray.base.coded_concept import CodedConcept

NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
VERSION = re.compile(r"\d+\.\d+\.\d+")


def _inside(path: str) -> str:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts:
        raise ValueError(f"{path!r} leaves the package folder; name a file inside it")
    return path


PackagePath = Annotated[str, AfterValidator(_inside)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


UNITS = {"HU": "CT", "BQML": "PT", "SUVbw": "PT"}
"""Units with a name, and the modality that has them: Hounsfield units; Bq/ml; standardised uptake value by body weight,
in g/ml. Others are named by their UCUM code, and images have to be mapped to them."""
_NAMED_OTHERWISE = {
    **dict.fromkeys(("hu", "[hnsf'u]", "hounsfield"), "HU"),
    **dict.fromkeys(("bqml", "bq/ml", "kbq/ml"), "BQML"),
    **dict.fromkeys(("suv", "suvbw", "g/ml", "gml", "{suvbw}g/ml"), "SUVbw"),
}
_UCUM = re.compile(r"[!-~]+")


class Intensity(_Strict):
    """From stored values to the numbers that the model was trained on.

    `source`: `voi` takes the image as displayed (modality LUT, VOI LUT or window, photometric interpretation) in 0..1;
    `modality` takes modality units (HU for CT). `window` (centre, width) maps modality units to 0..1 linearly with
    clipping and is needed by `modality`. Then `(v - mean) / std` per channel.

    `unit`: in which the window is: HU, BQML, SUVbw, or a UCUM code ('mm2/s' of an apparent diffusion coefficient). An
    image in another one is refused, unless it can be computed: SUV by body weight from Bq/ml and what a PET says of
    weight, dose and times; all from a Real World Value Mapping. Not named: HU of CT, whatever MR has, and no PET.
    """

    source: Literal["voi", "modality"] = "voi"
    window: tuple[float, float] | None = None
    unit: str | None = None
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    @field_validator("unit")
    @classmethod
    def _unit_as_it_is_written(cls, unit: str | None) -> str | None:
        if unit is None or unit in UNITS:
            return unit
        if meant := _NAMED_OTHERWISE.get(unit.lower()):
            raise ValueError(f"intensity.unit {unit!r}: write {meant}")
        if not _UCUM.fullmatch(unit):
            raise ValueError(f"intensity.unit {unit!r} is none of {', '.join(UNITS)}, and no UCUM code (mm2/s, ms)")
        return unit

    @model_validator(mode="after")
    def _window_where_needed(self) -> Intensity:
        if self.source == "modality" and self.window is None:
            raise ValueError("intensity.source 'modality' needs a window: [centre, width]")
        if self.source != "modality" and self.window is not None:
            raise ValueError(
                f"intensity.window is for source 'modality', and source is '{self.source}': the image's own window "
                "would be taken. Write source: modality, or leave window out"
            )
        if self.unit is not None and self.source != "modality":
            raise ValueError(f"intensity.unit is for source 'modality', and source is '{self.source}': leave unit out")
        if self.window is not None and self.window[1] <= 0:
            raise ValueError(f"intensity.window: the width must be above 0, found {self.window[1]:g}")
        return self


class OtherInput(_Strict):
    """A further input of the graph, which WhyRay can't take from the study: it gets a constant.

    `value` fills the input's shape for one item: a number, or numbers that broadcast to it. `meaning` says in words
    what is so assumed of every patient ('age in years: the median of the training set').
    """

    value: float | tuple[float, ...]
    meaning: str


class InputSpec(_Strict):
    """The tensor that the graph takes, and how an image becomes it.

    `shape` is the spatial shape: (rows, columns), or (slices, rows, columns) for a volume. `fit` says how a planar
    image of another shape gets there: `pad` keeps the aspect ratio and letterboxes with `pad_value` (in 0..1 before
    mean/std), `stretch` does not, `crop` keeps it and cuts the centre. A volume is resampled to `spacing` (mm along
    slices, rows, columns), centred, cropped or padded to `shape`; where `spacing` is absent, the whole field of view
    is fitted into `shape`. A package whose `shape` is smaller than the volume is run once on that grid.
    """

    name: str
    layout: Literal["NCHW", "NHWC", "NCDHW"] = "NCHW"
    kind: Literal["planar", "volume"] = "planar"
    shape: tuple[int, ...]
    channels: int = 1
    spacing: tuple[float, float, float] | None = None
    fit: Literal["pad", "stretch", "crop"] = "pad"
    pad_value: float = 0.0
    intensity: Intensity = Intensity()
    modalities: tuple[str, ...] = ()
    computed: tuple[Literal["projection", "subtraction"], ...] = ()
    """Which images that were computed from others it is made for: projections through slices (MIP, renderings),
    differences of two (contrast enhanced mammography, DSA). Of any other kind they are refused."""
    others: dict[str, OtherInput] = Field(default_factory=dict)
    """Further inputs of the graph (age, sex, a mask), by name, and the constant that each gets."""

    @model_validator(mode="after")
    def _consistent(self) -> InputSpec:
        if self.name in self.others:
            raise ValueError(f"input.others names {self.name!r}, which is the image itself")
        wanted = 3 if self.kind == "volume" else 2
        if len(self.shape) != wanted or min(self.shape) < 1:
            raise ValueError(f"a {self.kind} input needs {wanted} positive sizes in shape, got {list(self.shape)}")
        if self.spacing is not None and (self.kind != "volume" or min(self.spacing) <= 0):
            raise ValueError(
                f"spacing is of volumes, in mm above 0 along slices, rows and columns; found {self.spacing}"
            )
        if self.channels < 1:
            raise ValueError(f"channels must be 1 or more, found {self.channels}")
        if not 0 <= self.pad_value <= 1:
            raise ValueError(f"pad_value is in 0..1, before mean and std; found {self.pad_value:g}")
        for field in ("mean", "std"):
            if len(getattr(self.intensity, field)) not in (1, self.channels):
                raise ValueError(f"intensity.{field} needs 1 or {self.channels} values")
        self._refuse_a_unit_of_another_modality()
        if min(self.intensity.std) <= 0:
            raise ValueError("intensity.std must be positive")
        return self

    def _refuse_a_unit_of_another_modality(self) -> None:
        unit = self.intensity.unit
        of = None if unit is None else UNITS.get(unit)
        if of is not None and self.modalities and self.modalities != (of,):
            raise ValueError(f"intensity.unit {unit} is of {of}, and modalities are {', '.join(self.modalities)}")
        if unit is None and self.intensity.source == "modality" and "PT" in self.modalities:
            raise ValueError(
                "PET has counts, Bq/ml or SUV: name in intensity.unit which of them the window is in (SUVbw, BQML)"
            )


class OutputSpec(_Strict):
    """The graph's answer. `activation` turns the named output into probabilities; `none` means that it is the answer.

    Explanations are of the named output before activation. `features` names the tensor whose activations the class
    activation maps use, `embedding` the vector that stands for the case; either may be left out and is then found.
    """

    name: str
    activation: Literal["sigmoid", "softmax", "none"] = "sigmoid"
    features: str | None = None
    embedding: str | None = None


class TargetSpec(_Strict):
    """One thing that the model answers about, in the order of the output's channels.

    `threshold`: the finding is reported as present at this probability or above (for a regression: at this value).
    `calibration` (a, b): the probability shown is sigmoid(a * logit + b) (Platt 1999), fitted on held-out data.
    `prevalence`: the share (0..1, neither end) of images with the finding among those that the calibration was fitted
    on, which its probabilities hold for; a site whose own differs may set it in a route. Not stated: nobody may.
    `background`: a segmentation class that is never reported or explained.
    """

    name: str
    code: CodedConcept | None = None
    anatomy: CodedConcept | None = None
    threshold: float = 0.5
    calibration: tuple[float, float] | None = None
    prevalence: float | None = Field(default=None, gt=0, lt=1)
    unit: CodedConcept | None = None
    background: bool = False

    @model_validator(mode="after")
    def _prevalence_of_a_calibration(self) -> TargetSpec:
        if self.prevalence is not None and self.calibration is None:
            raise ValueError(
                f"target {self.name!r} states a prevalence without a calibration: say for which its probabilities hold"
            )
        return self


class ConceptSpec(_Strict):
    """One concept that a bottleneck package computes on its way to the answer.

    `threshold`: the concept is said to be present at this probability or above. `held_out_auc`: area under the ROC
    curve on images that it was not fitted on; a concept below 0.7 is not relied on.
    """

    name: str
    code: CodedConcept | None = None
    threshold: float = 0.5
    held_out_auc: float | None = None


class ConceptsSpec(_Strict):
    """The bottleneck: `output` names the tensor (N, concepts) that the answer is computed from, and nothing else.

    `activation` turns it into probabilities; what the head takes is the tensor as it is.
    """

    output: str
    activation: Literal["sigmoid", "none"] = "sigmoid"
    names: tuple[ConceptSpec, ...] = Field(min_length=1)


class PrototypesSpec(_Strict):
    """A ProtoPNet-form graph (Chen et al. 2019): `maps` (N, prototypes, *grid) is how similar each place is to each
    prototype, `similarities` (N, prototypes) its maximum, and the answer is `weights` (targets, prototypes) times that
    (plus a bias). Pictures and labels of the prototypes lie in the artefact 'prototypes'.
    """

    maps: str
    similarities: str


class EvidenceSpec(_Strict):
    """A graph that answers by the sum of local evidence (the form of BagNet, Brendel and Bethge 2019, section 2).

    `output` names the tensor (N, targets, *grid) whose sum over the grid plus `bias` is what `output.name` says before
    activation: a number for all targets, or one for each in their order. `whyray package check` and onboarding refuse a
    package whose sums are not its answers.
    """

    output: str
    bias: float | tuple[float, ...] = 0.0

    def biases(self, targets: int) -> tuple[float, ...]:
        """The bias of each target."""
        return (self.bias,) * targets if isinstance(self.bias, float) else self.bias


class CaptionSpec(_Strict):
    """How an encoder-decoder package writes captions.

    The package's graph is the encoder: `output.name` is what the decoder attends to. The artefact `decoder` is an ONNX
    file with the inputs `memory` (the encoder's output) and `tokens` (N, T) int64, and the output `logits` (N, T,
    vocabulary) or, of the next token alone, (N, vocabulary). The artefact `vocabulary` is a text file in UTF-8 with a
    token a line, the first being number 0; a token that begins with `##` continues the one before it.
    `mentions` are the words by which captions speak of each finding, `denials` those that deny it when they stand
    before it in the same sentence.
    """

    memory: str = "memory"
    tokens: str = "tokens"
    logits: str = "logits"
    start: str = "<s>"
    end: str = "</s>"
    at_most: int = Field(64, ge=1, le=512)
    mentions: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    denials: tuple[str, ...] = ("no", "not", "without")


class ScopeSpec(_Strict):
    """Which images the package is made for, beside `input.modalities`; of any other it says nothing.

    `companions.scope` names the package that compares an image with ordinary ones; where it is named and can't
    measure, nothing is said either. `percentile`: of ordinary images kept apart; above it, an image is refused (0..100,
    of each of the two measures). `references`: how many times as far from the package's own reference index as the
    farthest reference that was held out. `body_parts`: words, one of which Body Part Examined (0018,0015) holds where
    it names a part that the standard knows (PS3.16 annex L); `views`: View Position (0018,5101) where it is a defined
    term; of a breast with what was done besides ('M CC', 'CC ID'), which a plain word leaves out. `implants`,
    `partial_views`: whether breasts with an implant (0028,1300) and images of a part (0028,1350) are such images.
    `parts`: of a segmentation, the least and largest share (0..1) of its grid that a segment has on such an image.
    Empty: any.
    """

    percentile: float = Field(default=98.0, gt=50, le=100)
    references: float = Field(default=1.5, ge=1)
    body_parts: tuple[str, ...] = ()
    views: tuple[str, ...] = ()
    implants: bool = True
    partial_views: bool = True
    parts: dict[str, tuple[float, float]] = Field(default_factory=dict)


CompanionRole = Literal["autoencoder", "anatomy", "captioner", "scope"]
WITHOUT_TARGETS = frozenset({"autoencoder", "captioner"})
"""Tasks of packages that answer nothing themselves: they stand beside others as companions, and no route runs them."""
_ANSWERS_FINDINGS = ("classification", "multi-label")
SUMS_EVIDENCE = ("classification", "multi-label", "regression")
"""Tasks whose answer can be a sum over the image: one number a target."""


def _refuse_senseless_numbers(target: TargetSpec, task: str, activation: str) -> None:
    """ValueError where a calibration or threshold says the same of all images, or the opposite of the graph.

    Segments under softmax are taken by the highest score, and a background is never reported: their threshold is not
    read.
    """
    if task == "regression":
        if target.calibration is not None:
            raise ValueError(f"target {target.name!r}: a calibration makes probabilities, and this is a regression")
        return
    if target.calibration is not None and target.calibration[0] <= 0:
        fault = "is the same whatever the logit is" if target.calibration[0] == 0 else "falls as the logit rises"
        raise ValueError(
            f"the calibration of {target.name!r} has a = {target.calibration[0]:g}, so that the probability {fault}: "
            "a must be above 0"
        )
    unread = target.background or (task == "segmentation" and activation == "softmax")
    if not unread and not 0 < target.threshold < 1:
        raise ValueError(
            f"the threshold of {target.name!r} is a probability between 0 and 1, found {target.threshold:g}: the "
            f"finding would be reported {'always' if target.threshold <= 0 else 'never'}"
        )


class Manifest(_Strict):
    """All of `model.yaml`.

    An `autoencoder` has no targets: `output.name` is the reconstruction, in the shape and the scale of the input, and
    `output.embedding` its latents (N, D), which the reconstruction depends on and nothing else of the input. Nor has a
    `captioner`, whose `caption` says how it writes.
    """

    name: str
    version: str
    title: str
    manufacturer: str
    task: Literal["classification", "multi-label", "regression", "segmentation", "autoencoder", "captioner"]
    graph: PackagePath = "model.onnx"
    card: PackagePath = "MODEL_CARD.md"
    licence: str
    intended_use: str
    input: InputSpec
    output: OutputSpec
    targets: tuple[TargetSpec, ...] = ()
    artefacts: dict[str, PackagePath] = Field(default_factory=dict)
    """Files of explanation methods, by kind: {'reference-index': reference-index.npz}."""
    companions: dict[CompanionRole, str] = Field(default_factory=dict)
    """Other packages that explanation methods use with this one, by role: NAME or NAME@VERSION."""
    scope: ScopeSpec = ScopeSpec()
    concepts: ConceptsSpec | None = None
    prototypes: PrototypesSpec | None = None
    evidence: EvidenceSpec | None = None
    caption: CaptionSpec | None = None
    methods: dict[str, dict[str, object]] = Field(default_factory=dict)
    """Parameters of explanation methods that this package prefers to the paper's: {method: {parameter: value}}."""

    @model_validator(mode="after")
    def _consistent(self) -> Manifest:
        if not NAME.fullmatch(self.name):
            raise ValueError(f"name {self.name!r} must be lower-case letters, digits and hyphens")
        if not VERSION.fullmatch(self.version):
            raise ValueError(f"version {self.version!r} must be MAJOR.MINOR.PATCH")
        names = [target.name for target in self.targets]
        if bool(names) == (self.task in WITHOUT_TARGETS):
            raise ValueError(f"the task {self.task} {'has no' if names else 'needs'} targets")
        if self.task == "autoencoder" and (self.output.embedding is None or self.output.activation != "none"):
            raise ValueError("an autoencoder names its latents in output.embedding, and output.activation is none")
        if self.task == "captioner" and (self.caption is None or {"decoder", "vocabulary"} - set(self.artefacts)):
            raise ValueError("a captioner has a section caption, and names the artefacts decoder and vocabulary")
        if len(set(names)) != len(names):
            raise ValueError("target names must be unique")
        if any(target.prevalence is not None for target in self.targets) and self.task not in _ANSWERS_FINDINGS:
            raise ValueError(f"a prevalence is of findings that are there or not, and this is a {self.task}")
        for target in self.targets:
            _refuse_senseless_numbers(target, self.task, self.output.activation)
        if self.task == "multi-label" and self.output.activation == "softmax" and len(names) > 1:
            raise ValueError(
                "the targets of a multi-label package are there or not by themselves, and softmax shares out one "
                "probability among them, so that of two that are there neither seems likely. Write activation: "
                "sigmoid; or task: classification, where one alone of the targets holds of each image"
            )
        if self.evidence is not None:
            if self.task not in SUMS_EVIDENCE:
                raise ValueError(f"evidence is for {', '.join(SUMS_EVIDENCE)}, and this is a {self.task}")
            if len(self.evidence.biases(len(names))) != len(names):
                raise ValueError(f"evidence.bias needs one number, or {len(names)}: one for each target")
        if (
            self.task == "segmentation"
            and self.output.activation == "sigmoid"
            and any(target.background for target in self.targets)
        ):
            raise ValueError("a sigmoid segmentation has no background channel")
        return self
