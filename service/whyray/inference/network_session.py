"""Running a network in ONNX Runtime: its answers and inner activations, alone and in batches, and what that costs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import FloatArray
from whyray.base.errors import PackageError
from whyray.inference.answer_session import AnswerSession
from whyray.inference.class_maps import class_maps
from whyray.inference.kept_runs import kept_runs
from whyray.inference.mask_graphs import MaskRule
from whyray.inference.masked_passes import MaskedPasses, bytes_beside
from whyray.inference.memory import measured_batch, memory_budget, unmeasured_batch
from whyray.inference.network import Network
from whyray.inference.output_form import doubt_by_answers
from whyray.inference.precision import as_float32
from whyray.inference.session import limit_torch_threads, open_session, run_session, runtime_errors

_LOG = logging.getLogger(__name__)
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


class NetworkSession:
    """A network that runs. Arrays are channels-first, (N, C, *spatial) float32.

    `report` gives what onboarding measured of this very network, or None; it is read when that is first needed.
    """

    def __init__(self, network: Network, report: Callable[[], Mapping[str, Any] | None] = lambda: None) -> None:
        self.network = network
        self._report = report
        self._batch_proof: bool | None = None
        self._taps: dict[tuple[str, ...], Any] = {}
        self.forwards = 0
        """Items that went through the graph so far: what an explanation or a metric cost."""
        self.output_doubt = ""
        """Why the answers may be what the manifest does not say, where that is not sure; known once it has run."""

    @property
    def providers(self) -> tuple[str, ...]:
        """ONNX Runtime's execution providers in use, preferred first."""
        return self._answering.providers

    @property
    def torch_device(self) -> str:
        """The torch device that goes with the providers; asked before torch computes, which then has its threads."""
        import torch

        limit_torch_threads(self.network.options)
        return "cuda" if self.providers[0].startswith("CUDA") and torch.cuda.is_available() else "cpu"

    @cached_property
    def measured(self) -> Mapping[str, Any]:
        """What onboarding measured of this very network on such a device; empty without that."""
        report = self._report()
        if report is None or report.get("providers") != list(self.providers):
            return {}
        return report

    # --- answers ----------------------------------------------------------------------------------------------------
    def run(self, x: FloatArray) -> Run:
        """One pass of `x` (1, C, *spatial) with all that explanations need; of several items the logits alone."""
        if len(x) > 1:
            return Run(self.logits(x), None, None)
        kept = kept_runs()
        if kept is None:
            return self._forward(x, inner=True)
        before = self.forwards
        run = kept.run(self, x, lambda: self._forward(x, inner=True))
        self.forwards = before + 1  # what an explanation says it cost hangs on no other job
        return run

    def logits(self, x: FloatArray) -> FloatArray:
        """(N, targets, ...) logits of `x` (N, C, *spatial) in one pass; one by one where the graph's batch is fixed."""
        if len(x) > 1 and not self.batchable(x):
            singles = [self._forward(x[item : item + 1], inner=False).logits for item in range(len(x))]
            return np.concatenate(singles)
        return self._forward(x, inner=False).logits

    def tapped(self, x: FloatArray, names: Sequence[str]) -> dict[str, FloatArray]:
        """The named tensors of a pass of `x`, each as the graph has it, float32.

        One pass an item where the graph's batch is fixed. The pass counts in `forwards`. Raises PackageError where the
        graph has no such tensor.
        """
        graph = self.network.graph
        wanted = tuple(dict.fromkeys(names))
        missing = [name for name in wanted if name not in graph.producer]
        if missing:
            raise PackageError(
                f"{graph.where}: no tensor is called {', '.join(missing)}",
                advice="Name tensors of the graph in model.yaml; a viewer of ONNX graphs shows them.",
            )
        if wanted not in self._taps:
            self._taps[wanted] = open_session(graph.with_outputs(list(wanted)), self.network.options, name=graph.where)
        fed = self.fed(x)
        whole = len(x) == 1 or self.batchable(x)
        parts = [fed] if whole else [fed[item : item + 1] for item in range(len(fed))]
        try:
            runs = [run_session(self._taps[wanted], wanted, {graph.input: part}) for part in parts]
        except runtime_errors() as error:
            raise PackageError(
                f"{self.network.identity}: the graph does not run up to {', '.join(wanted)}: {error}",
                advice="Name other tensors of the graph in model.yaml.",
            ) from error
        self.forwards += len(x)
        return {
            name: np.concatenate([np.asarray(run[place], np.float32) for run in runs])
            for place, name in enumerate(wanted)
        }

    def masked_passes(self, rule: MaskRule, shown: FloatArray, hidden: FloatArray) -> MaskedPasses | None:
        """Passes of an image `shown` with parts `hidden`, both (1, C, *spatial), made where the model runs.

        None where images are to be made on the host: by the options, where several items in one pass do not answer as
        each alone does, or where the graph that makes them does not load, which the log says then.
        """
        if not self.perturbs_on_device:
            return None
        if self.batch_size > 1 and not self.batchable(np.concatenate([shown, hidden, (shown + hidden) / 2])):
            return None
        try:
            return MaskedPasses(
                rule,
                shown,
                hidden,
                input_type=self._answering.input_type,
                options=self.network.options,
                answer=self._answer_there,
                on_host=self.network.shaped_logits,
            )
        except PackageError as error:
            _LOG.warning("%s: perturbed images are made on the host: %s", self.network.identity, error)
            return None

    @property
    def perturbs_on_device(self) -> bool:
        """Whether images of perturbation methods are made where the model runs, as the options say."""
        wanted = self.network.options.perturbed_on
        return wanted == "device" or (wanted == "auto" and self._answering.device == "cuda")

    def _answer_there(self, batch: Any) -> Any:
        """The output that is explained, of a batch that lies where the model runs; both OrtValues."""
        network = self.network
        try:
            answer = self._answering.run_where_it_lies(network.graph.input, batch, network.tapped_names[0])
        except runtime_errors() as error:
            raise self._refused(batch.shape(), error) from error
        self.forwards += batch.shape()[0]
        return answer

    def fed(self, x: FloatArray) -> NDArray[Any]:
        """`x` in the number type that the graph takes, contiguous."""
        return np.ascontiguousarray(x, dtype=self._answering.input_type)

    @cached_property
    def in_single_precision(self) -> NetworkSession:
        """What gradients are compared with: of a graph in half precision, the same in single; else this one."""
        proto = as_float32(self.network.graph.proto)
        return self if proto is self.network.graph.proto else NetworkSession(self.network.with_graph(proto))

    # --- batches ----------------------------------------------------------------------------------------------------
    def batchable(self, x: FloatArray) -> bool:
        """Whether several items in one pass answer as each alone does; proved once, on the first batch that comes.

        `x`: (N, C, *spatial) float32 in the model's own scale, of which the first three items are tried; these passes
        don't count among `forwards`.
        """
        if self._batch_proof is None:
            known = self.measured.get("several items in one pass")
            before = self.forwards
            proved = bool(known) if known is not None else self._batch_equals_singles(x[:3])
            self.forwards = before  # of the model's, not of whoever comes first: what that says it cost would differ
            self._batch_proof = self.network.graph.dynamic_batch and proved
        return self._batch_proof

    @cached_property
    def batch_size(self) -> int:
        """Items in one forward pass of a perturbation method: as onboarding measured, or the options say."""
        return self._batch("forward")

    @cached_property
    def gradient_batch_size(self) -> int:
        """Items in one pass forward and back."""
        return self._batch("gradient")

    def _batch(self, kind: str) -> int:
        options, spec = self.network.options, self.network.manifest.input
        if options.batch_size is not None:
            return max(1, options.batch_size)
        entry = self.measured.get("batch", {}).get(kind)
        if entry is None:
            return unmeasured_batch((spec.channels, *spec.shape))
        cuda = self.providers[0].startswith("CUDA")
        beside = 0
        if kind == "forward" and self.perturbs_on_device:
            regions = len(self.network.manifest.targets) if self.network.manifest.task == "segmentation" else 0
            beside = bytes_beside(spec.channels, prod(spec.shape), regions)
        return measured_batch(entry, memory_budget(options, cuda=cuda), beside) or 1

    def _batch_equals_singles(self, x: FloatArray) -> bool:
        try:
            together = self._forward(x, inner=False).logits
        except PackageError:
            return False
        alone = np.concatenate([self._forward(item[None], inner=False).logits for item in x])
        return bool(np.abs(together - alone).max() <= _BATCH_TOLERANCE * (1 + np.abs(alone).max()))

    # --- the session ------------------------------------------------------------------------------------------------
    def _forward(self, x: FloatArray, *, inner: bool) -> Run:
        network = self.network
        names = network.tapped_names if inner else network.tapped_names[:1]
        tensors, maps = self._fetched(self._answering, self.fed(x), names, maps=inner and len(x) == 1)
        self.forwards += len(x)
        vector = tensors.get(network.manifest.output.embedding or "")
        return Run(
            network.shaped_logits(tensors[network.logits_name], len(x)),
            tensors.get(network.features_name or ""),
            None if vector is None else vector.reshape(len(x), -1),
            maps,
            tensors.get(network.evidence_name or ""),
        )

    def _fetched(
        self, answering: AnswerSession, fed: NDArray[Any], names: Sequence[str], *, maps: bool
    ) -> tuple[dict[str, FloatArray], dict[int, FloatArray]]:
        try:
            return answering.run(self.network.graph.input, fed, names, maps=maps)
        except runtime_errors() as error:
            raise self._refused(fed.shape, error) from error

    def _refused(self, shape: Sequence[int], error: Exception) -> PackageError:
        return PackageError(
            f"{self.network.identity}: the graph does not run on {tuple(shape)}: {error}",
            advice="Correct input.shape, input.layout and input.channels in model.yaml, or export the graph again.",
        )

    @cached_property
    def _answering(self) -> AnswerSession:
        network = self.network
        maps = None
        if network.features_name is not None:
            targets = [place for place, target in enumerate(network.manifest.targets) if not target.background]
            shape = network.manifest.input.shape
            lies = network.placement(network.features_name)
            maps = class_maps(network.graph, network.features_name, network.head, targets, shape, lies)
        answering = AnswerSession(network.graph, network.tapped_names, network.options, maps)
        if network.form.unclear:
            self.output_doubt = self._doubt(answering)
        return answering

    def _doubt(self, answering: AnswerSession) -> str:
        """What the answers say of an output whose operators leave open what it is; see `doubt_by_answers`."""
        network, spec = self.network, self.network.manifest.input

        def answers(x: FloatArray) -> FloatArray:
            fed = np.ascontiguousarray(x, dtype=answering.input_type)
            tensors, _ = self._fetched(answering, fed, network.tapped_names[:1], maps=False)
            return network.shaped_logits(tensors[network.logits_name], 1)

        return doubt_by_answers(network.manifest, network.graph.where, (spec.channels, *spec.shape), answers)
