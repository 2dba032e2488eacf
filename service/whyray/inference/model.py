"""A loaded model: one ONNX graph, its answers, and its inner activations from the same run."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import FloatArray
from whyray.base.errors import ArtefactMissing, ModelOutputError, PackageError, TierMissing
from whyray.inference.answer_session import AnswerSession
from whyray.inference.answers import checked_logits, probabilities, refuse_no_probabilities
from whyray.inference.class_maps import class_maps
from whyray.inference.feature_choice import Features
from whyray.inference.gradient_backends import GradientBackends
from whyray.inference.graph import Graph, item_shape
from whyray.inference.head import AffineHead, HeadRun, affine_head
from whyray.inference.memo import Memo
from whyray.inference.output_form import OutputForm, doubt_by_answers
from whyray.inference.package_graph import ReadGraph, read_package_graph
from whyray.inference.session import RuntimeOptions, runtime_errors
from whyray.packages import CompanionRole, Manifest, Package, TargetSpec, find_package, read_package
from whyray.packages.onboarding_report import Tier, read_report, tier_in

if TYPE_CHECKING:
    from whyray.inference.compiled import CompiledHead
    from whyray.inference.converters import Converter
    from whyray.inference.gradient import GradientEngine, HeadGradient, Twin

T = TypeVar("T")
_BATCH_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Run:
    """What one forward pass gave.

    Attributes
    ----------
    logits
        (N, targets) or (N, targets, *spatial) float32: the named output before activation; a regression's values.
    features
        (N, channels, *feature grid) float32, or None where the graph has no feature maps.
    embedding
        (N, D) float32, or None where the manifest names none.
    grad_cams
        By number of the target: Grad-CAM (*spatial) float32, where it is compiled into the graph (see `class_maps`).
    evidence
        (N, targets, *evidence grid) float32: terms that the answer is the sum of; None where the manifest names none.
    """

    logits: FloatArray
    features: FloatArray | None
    embedding: FloatArray | None
    grad_cams: Mapping[int, FloatArray] = field(default_factory=dict)
    evidence: FloatArray | None = None


class Model:
    """A model package that can be run. Sessions, closed forms and twins are made when first needed.

    Arrays are in the layout of the manifest where a docstring says `layout`, else channels-first: (N, C, *spatial).
    """

    def __init__(self, package: Package, options: RuntimeOptions, search: Iterable[Path] = ()) -> None:
        self.package = package
        self.options = options
        self.search = tuple(search)
        self._memo: Memo[Run] = Memo()
        self._batch_proof: bool | None = None
        self._gradient_backends = GradientBackends(self)
        self._companions: dict[str, Model] = {}
        self._sessions: dict[Hashable, Any] = {}
        self.forwards = 0
        """Items that went through the graph so far: what an explanation or a metric cost."""
        self.output_doubt = ""
        """Why the answers may be what the manifest does not say, where that is not sure; known once it has run."""

    # --- what it is -------------------------------------------------------------------------------------------------
    @property
    def manifest(self) -> Manifest:
        """All of model.yaml."""
        return self.package.manifest

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over all files of the package."""
        return self.package.digest

    @property
    def identity(self) -> str:
        """`NAME@VERSION`, for messages and logs."""
        return f"{self.manifest.name}@{self.manifest.version}"

    @property
    def task(self) -> str:
        """classification, multi-label, regression, segmentation or autoencoder."""
        return self.manifest.task

    @cached_property
    def targets(self) -> tuple[str, ...]:
        """Names of all targets, in the order of the output's channels."""
        return tuple(target.name for target in self.manifest.targets)

    @cached_property
    def explainable_targets(self) -> tuple[str, ...]:
        """Targets without the background of a segmentation."""
        return tuple(target.name for target in self.manifest.targets if not target.background)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of a batch of one in the layout of the manifest, e.g. (1, 1, 224, 224)."""
        return (1, *item_shape(self.manifest.input))

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        """Shape of a heatmap: the input without batch and channels."""
        return self.manifest.input.shape

    @property
    def providers(self) -> tuple[str, ...]:
        """ONNX Runtime's execution providers in use, preferred first."""
        return self._answering.providers

    def target_index(self, name: str) -> int:
        """The output channel of a target; ModelOutputError where the package has no such target."""
        if name not in self.targets:
            raise ModelOutputError(
                f"{self.identity} has no target {name!r}; it has {', '.join(self.targets)}",
                advice="Name one of the package's targets.",
            )
        return self.targets.index(name)

    # --- tiers ------------------------------------------------------------------------------------------------------
    @cached_property
    def tier(self) -> Tier:
        """What explanations this model can give: read from the onboarding report, else measured (seconds) and kept."""
        return self.reported_tier or self._gradient_backends.kept_tier

    @property
    def reported_tier(self) -> Tier | None:
        """The tier that onboarding measured; None without a report. A package changed since then is refused."""
        report = self.report()
        return None if report is None else tier_in(report, self.package)

    def report(self) -> dict[str, Any] | None:
        """What onboarding measured; None without a report. A package changed since then is refused."""
        return read_report(self.package)

    def twin(self, method: str) -> Twin:
        """The differentiable twin, verified against ONNX Runtime; TierMissing says why there is none."""
        return self._gradient_backends.twin(method)

    def gradient_engine(self, method: str, targets: int) -> GradientEngine:
        """What gives gradients of so many targets fastest: compiled, where onboarding measured so, else the twin."""
        return self._gradient_backends.gradient_engine(method, targets)

    def compiled(self, kind: str, made_of: Mapping[str, str], make: Callable[[], bytes]) -> bytes:
        """What `make` compiles from this package, from the cache on disk where it was made before."""
        return self._gradient_backends.compiled(kind, made_of, make)

    def proof(self, kind: str, converter: Converter, prove: Callable[[], str]) -> str:
        """Why the gradients of an engine are not believed; empty where they are. Kept with what was compiled."""
        return self._gradient_backends.proof(kind, converter, prove)

    def prove_on(self, x: FloatArray) -> None:
        """Believe only gradients that are proven on the image `x` (1, C, *spatial) too: for onboarding."""
        self._gradient_backends.prove_on(x)

    def companion(self, role: CompanionRole, *, method: str, reference: str | None = None) -> Model:
        """The package that stands beside this one in a role; `reference` overrides the manifest's. Loaded once.

        Raises ArtefactMissing where neither names one, NotFound where there is no such package.
        """
        named = reference or self.manifest.companions.get(role)
        if named is None:
            raise ArtefactMissing(
                f"{method} needs a package as {role}, and {self.identity} names none",
                advice=f"Name one under companions.{role} in model.yaml, or in the method's parameter `{role}`.",
            )
        if named not in self._companions:
            self._companions[named] = load_package(named, search=self.search, options=self.options)
        return self._companions[named]

    # --- answers ----------------------------------------------------------------------------------------------------
    def predict(self, x: NDArray[Any]) -> FloatArray:
        """The answer about `x` (N, item in layout): probabilities after activation and calibration.

        Shape (N, targets), or (N, targets, *spatial) for a segmentation. A regression's values are as they are.
        Raises ModelOutputError for a wrong shape, NaN or infinity, on the way in and out.
        """
        return self.answer(self.logits(x))

    def logits(self, x: NDArray[Any]) -> FloatArray:
        """The named output before activation, for `x` (N, item in layout)."""
        return self.run(self.channels_first(x)).logits

    def embedding(self, x: NDArray[Any]) -> FloatArray:
        """(N, D): the vector that stands for each case; ModelOutputError where the manifest names none."""
        found = self.run(self.channels_first(x)).embedding
        if found is None:
            raise ModelOutputError(
                f"{self.identity}: model.yaml names no embedding", advice="Name a tensor in output.embedding."
            )
        return found

    def answer(self, logits: FloatArray) -> FloatArray:
        """From logits to probabilities: activation, then each target's own calibration (Platt 1999).

        Raises ModelOutputError where the answers should be probabilities by the task, and are none.
        """
        answer = probabilities(logits, self.activation, self.manifest.targets)
        if self.output_form.unit == "probability":
            refuse_no_probabilities(answer, identity=self.identity, tensor=self.logits_name)
        return answer

    @cached_property
    def activation(self) -> str:
        """What turns logits into the answer: the manifest's activation, or the one found at the graph's end."""
        return self.output_form.activation

    # --- running ----------------------------------------------------------------------------------------------------
    def channels_first(self, x: NDArray[Any]) -> FloatArray:
        """`x` in layout → (N, C, *spatial) float32, checked; a batch axis that is missing is added."""
        array = np.asarray(x, np.float32)
        if array.shape == self.input_shape[1:]:
            array = array[None]
        if array.shape[1:] != self.input_shape[1:] or not len(array):
            raise ModelOutputError(
                f"{self.identity}: expected an input of shape (N, {', '.join(map(str, self.input_shape[1:]))}), "
                f"found {array.shape}",
                advice="Prepare the image by the package's manifest.",
            )
        if not np.isfinite(array).all():
            raise ModelOutputError(f"{self.identity}: the input has NaN or infinite values")
        return np.moveaxis(array, -1, 1) if self.manifest.input.layout == "NHWC" else array

    def run(self, x: FloatArray) -> Run:
        """One forward pass of channels-first `x`; the last run of one item is kept: asking twice is free."""
        if len(x) != 1:
            return Run(self.batch_logits(x), None, None)
        return self._memo.run(x, lambda: self._forward(x, inner=True))

    def keep(self, x: FloatArray, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives, made once for the image `x` under `key`; kept until another image comes."""
        return self._memo.keep(x, key, make)

    def keeping(self) -> AbstractContextManager[None]:
        """Whatever is run within, what is kept of the last image is kept afterwards."""
        return self._memo.keeping()

    def session(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives, made once for this model under `key`: a session, a head, an engine."""
        if key not in self._sessions:
            self._sessions[key] = make()
        found: T = self._sessions[key]
        return found

    def forget(self) -> None:
        """Drop what is kept of the last image, so that it is computed again: for measurements of time."""
        self._memo.forget()

    def batch_logits(self, x: FloatArray) -> FloatArray:
        """Logits of channels-first `x` (N, C, *spatial) in one pass, or one by one where the graph's batch is fixed."""
        if len(x) > 1 and not self.batchable(x):
            return np.concatenate([self._forward(x[each : each + 1], inner=False).logits for each in range(len(x))])
        return self._forward(x, inner=False).logits

    def batchable(self, x: FloatArray) -> bool:
        """Whether several items in one pass answer as each alone does; proved once, on the first batch that comes."""
        if self._batch_proof is None:
            known = self._gradient_backends.measured.get("several items in one pass")
            proved = bool(known) if known is not None else self._batch_equals_singles(x[:3])
            self._batch_proof = self.graph.dynamic_batch and proved
        return self._batch_proof

    @property
    def batch_size(self) -> int:
        """Items in one forward pass of a perturbation method: as onboarding measured, or the options say."""
        return self._gradient_backends.batch_size

    @property
    def gradient_batch_size(self) -> int:
        """Items in one pass forward and back."""
        return self._gradient_backends.gradient_batch_size

    def _batch_equals_singles(self, x: FloatArray) -> bool:
        try:
            together = self._forward(x, inner=False).logits
        except PackageError:
            return False
        alone = np.concatenate([self._forward(each[None], inner=False).logits for each in x])
        return bool(np.abs(together - alone).max() <= _BATCH_TOLERANCE * (1 + np.abs(alone).max()))

    def _forward(self, x: FloatArray, *, inner: bool) -> Run:
        names = self._tapped if inner else self._tapped[:1]
        fed = self.fed(x)
        try:
            found, maps = self._answering.run(self.graph.input, fed, names, maps=inner and len(x) == 1)
        except runtime_errors() as error:
            raise self._does_not_run(fed.shape, error) from error
        self.forwards += len(x)
        vector = found.get(self.manifest.output.embedding or "")
        return Run(
            self.shaped_logits(found[self.logits_name], len(x)),
            found.get(self.features_name or ""),
            None if vector is None else vector.reshape(len(x), -1),
            maps,
            found.get(self._evidence_name or ""),
        )

    def fed(self, x: FloatArray) -> NDArray[Any]:
        """Channels-first `x` as the graph takes it: its layout, its number type, contiguous."""
        laid = np.moveaxis(x, 1, -1) if self.manifest.input.layout == "NHWC" else x
        return np.ascontiguousarray(laid, dtype=self._answering.input_type)

    def shaped_logits(self, raw: FloatArray, batch: int) -> FloatArray:
        """The graph's output for `batch` items as (N, targets) or (N, targets, *spatial); ModelOutputError if wrong."""
        return checked_logits(raw, batch, self.manifest, identity=self.identity, tensor=self.logits_name)

    # --- the graph --------------------------------------------------------------------------------------------------
    @property
    def graph(self) -> Graph:
        """The graph, read; PackageError where it does not load or does not fit the manifest."""
        return self._read.graph

    @property
    def output_form(self) -> OutputForm:
        """How the answer comes from the graph, and of what explanations are a part."""
        return self._read.form

    @property
    def features(self) -> Features:
        """The tensor of the class activation maps: the manifest's, else the last map; or why there is none."""
        return self._read.features

    @cached_property
    def _read(self) -> ReadGraph:
        return read_package_graph(self.package, self.options)

    def with_graph(self, proto: Any) -> Model:
        """The same package with another graph of the same shape, e.g. one with randomised weights."""
        other = Model(self.package, self.options, self.search)
        other._gradient_backends = GradientBackends(other, original=False)
        where = f"{self.graph.where} (changed)"
        graph = Graph(proto, self.manifest.input, where, self.graph.stands_for)
        other.__dict__["_read"] = ReadGraph(graph, replace(self.output_form, unclear=False), self.features)
        return other

    @property
    def tier_reason(self) -> str:
        """Why the tier is not a higher one; empty for T2."""
        twin, reason = self._gradient_backends.twin_or_reason
        features = "" if self.features_name is not None else f"no feature maps: {self.features.reason}; "
        return "" if twin is not None else f"{features}{reason}"

    def measured_tier(self) -> Tier:
        """The tier as it is now, whatever a report says."""
        if self._gradient_backends.twin_or_reason[0] is not None:
            return "T2"
        return "T1" if self.features_name is not None else "T0"

    @property
    def logits_name(self) -> str:
        """The tensor that is explained."""
        return self.output_form.logits

    @cached_property
    def features_name(self) -> str | None:
        """The tensor of the class activation maps, channels-first; None without one (see `features`)."""
        name = self.features.name
        return None if name is None else self.graph.stands_for.get(name, name)

    @cached_property
    def head(self) -> AffineHead | None:
        """The head in closed form, or None where it has none."""
        if self.features_name is None:
            return None
        return affine_head(self.graph, self.features_name, self.logits_name, self.options)

    @cached_property
    def head_run(self) -> HeadRun:
        """The head alone, from features to logits; PackageError where the logits depend on more than the features."""
        if self.features_name is None:
            raise TierMissing(f"{self.identity} has no feature maps")
        return HeadRun(self.graph, self.features_name, self.logits_name, self.options)

    @property
    def head_gradient(self) -> HeadGradient | CompiledHead:
        """The gradient of the logits with respect to the features; TierMissing where there is none."""
        return self._gradient_backends.head_gradient

    @cached_property
    def _tapped(self) -> tuple[str, ...]:
        wanted = (self.logits_name, self.features_name, self.manifest.output.embedding, self._evidence_name)
        return tuple(dict.fromkeys(each for each in wanted if each is not None))

    @property
    def _evidence_name(self) -> str | None:
        return None if self.manifest.evidence is None else self.manifest.evidence.output

    @cached_property
    def _answering(self) -> AnswerSession:
        self.report()  # refuses a package that was changed behind its report before anything is run
        maps = None
        if self.features_name is not None:
            targets = [self.targets.index(target) for target in self.explainable_targets]
            maps = class_maps(self.graph, self.features_name, self.head, targets, self.spatial_shape)
        answering = AnswerSession(self.graph, self._tapped, self.options, maps)
        if self.output_form.unclear:
            self.output_doubt = self._doubt(answering)
        return answering

    def _doubt(self, answering: AnswerSession) -> str:
        """What the answers say of an output whose operators leave open what it is; see `doubt_by_answers`."""
        shape = (self.manifest.input.channels, *self.spatial_shape)

        def answers(x: FloatArray) -> FloatArray:
            laid = np.moveaxis(x, 1, -1) if self.manifest.input.layout == "NHWC" else x
            fed = np.ascontiguousarray(laid, dtype=answering.input_type)
            try:
                found, _ = answering.run(self.graph.input, fed, self._tapped[:1], maps=False)
            except runtime_errors() as error:
                raise self._does_not_run(fed.shape, error) from error
            return self.shaped_logits(found[self.logits_name], 1)

        return doubt_by_answers(self.manifest, self.graph.where, shape, answers)

    def _does_not_run(self, shape: tuple[int, ...], error: Exception) -> PackageError:
        return PackageError(
            f"{self.identity}: the graph does not run on {shape}: {error}",
            advice="Correct input.shape, input.layout and input.channels in model.yaml, or export the graph again.",
        )


def load_package(reference: str | Path, *, search: Iterable[Path] = (), options: RuntimeOptions | None = None) -> Model:
    """A model from a package: a folder, or NAME[@VERSION] of an installed one (see `find_package`).

    Nothing heavy happens until the first answer is asked for. Raises NotFound, PackageError.
    """
    search = tuple(search)
    return Model(read_package(find_package(reference, search)), options or RuntimeOptions(), search)


def target_spec(model: Model, name: str) -> TargetSpec:
    """The manifest's entry of a target."""
    return model.manifest.targets[model.target_index(name)]
