"""What a model is explained with beside its own session: twins, compiled gradients, batch sizes, as measured."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from whyray.base.arrays import FloatArray
from whyray.base.errors import TierMissing
from whyray.inference.cache import CompiledCache
from whyray.inference.converters import Converter, converter_named
from whyray.inference.gradient_proof import PROOF
from whyray.inference.memory import measured_batch, memory_budget, unmeasured_batch
from whyray.packages.onboarding_report import read_report

if TYPE_CHECKING:
    from whyray.inference.compiled import CompiledEngine, CompiledHead
    from whyray.inference.gradient import GradientEngine, HeadGradient, Twin
    from whyray.inference.model import Model
    from whyray.packages.onboarding_report import Tier

_LOG = logging.getLogger(__name__)
_DECIDE_TIERS = ("whyray", "onnxruntime", "onnxruntime-gpu", "torch", "onnx2fx", "onnx2torch")
"""Distributions whose versions decide whether a twin is made and believed."""


class GradientBackends:
    """Made when first needed, and kept. Of a model whose weights were changed, no report and no cache is believed."""

    def __init__(self, model: Model, *, original: bool = True) -> None:
        self._model = model
        self._original = original
        self._image: FloatArray | None = None

    def prove_on(self, image: FloatArray) -> None:
        """Believe only gradients that are proven on `image` (1, C, *spatial) too, from now on."""
        self._image = image
        self.__dict__.pop("twin_or_reason", None)

    def proof(self, kind: str, converter: Converter, prove: Callable[[], str]) -> str:
        """Why the gradients of an engine are not believed, as `prove` says, or as it said before of this package.

        A model whose weights were changed keeps the proof of the original: it is made by the same operators.
        """
        if not self._original:
            return ""
        made_of = {"engine": kind, "converter": converter.name, "providers": " ".join(self._model.providers)}
        return self.compiled("proof", made_of | _judges(), lambda: prove().encode()).decode()

    @cached_property
    def measured(self) -> Mapping[str, Any]:
        """What onboarding measured of this very model on such a device; empty without that."""
        report = read_report(self._model.package) if self._original else None
        if report is None or report.get("providers") != list(self._model.providers):
            return {}
        return report

    # --- gradients --------------------------------------------------------------------------------------------------
    def twin(self, method: str) -> Twin:
        """The differentiable twin, verified against ONNX Runtime; TierMissing says why there is none."""
        twin, reason = self.twin_or_reason
        if twin is None:
            raise TierMissing(
                f"{method} needs gradients (T2), and {self._model.identity} has no verified twin: {reason}"
            )
        return twin

    @cached_property
    def twin_or_reason(self) -> tuple[Twin | None, str]:
        """The twin, or None and why there is none."""
        from whyray.inference.gradient import verified_twin

        return verified_twin(self._model, self._image)

    def gradient_engine(self, method: str, targets: int) -> GradientEngine:
        """What gives gradients of so many targets fastest: the compiled gradient where onboarding measured so."""
        if targets <= self._used_up_to("input gradient") and self._compiled is not None:
            return self._compiled
        return self.twin(method)

    @property
    def head_gradient(self) -> HeadGradient | CompiledHead:
        """d logits / d features of a head without a closed form; TierMissing where there is none."""
        found = self._head_or_refusal
        if isinstance(found, TierMissing):
            raise found
        return found

    @cached_property
    def _head_or_refusal(self) -> HeadGradient | CompiledHead | TierMissing:
        from whyray.inference.compiled import CompiledHead
        from whyray.inference.gradient import HeadGradient

        if self._used_up_to("head gradient"):
            try:
                return CompiledHead(self._model, self._converter("head gradient"), prove=True)
            except Exception as error:  # tracer, exporter and ONNX Runtime each have classes of their own
                _LOG.warning("%s: the head's compiled gradient can't be had: %s", self._model.identity, error)
        try:
            return HeadGradient(self._model)
        except TierMissing as error:
            return error

    @cached_property
    def _compiled(self) -> CompiledEngine | None:
        from whyray.inference.compiled import CompiledEngine

        try:
            return CompiledEngine(self._model, self._converter("input gradient"), prove=True)
        except Exception as error:  # as above
            _LOG.warning("%s: the compiled gradient can't be had: %s", self._model.identity, error)
            return None

    def _used_up_to(self, kind: str) -> int:
        return int(self._entry(kind).get("used up to targets", 0))

    def _converter(self, kind: str) -> Converter:
        return converter_named(self._entry(kind).get("converter", ""))

    def _entry(self, kind: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.measured.get("compiled", {}).get(kind, {})
        return found

    def compiled(self, kind: str, made_of: Mapping[str, str], make: Callable[[], bytes]) -> bytes:
        """What `make` gives, from the cache where this package's was made before from the same things."""
        cache = CompiledCache(self._model.options.cache if self._original else None)
        return cache.fetch(kind, {"package": self._model.digest, **made_of}, make)

    @cached_property
    def kept_tier(self) -> Tier:
        """The tier without a report: measured once for this package and these versions of what measures it."""

        def measure() -> bytes:
            return self._model.measured_tier().encode()

        kept = self.compiled("tier", _judges(), measure).decode()
        return kept if kept in ("T0", "T1", "T2") else self._model.measured_tier()  # type: ignore[return-value]

    # --- batches ----------------------------------------------------------------------------------------------------
    @cached_property
    def batch_size(self) -> int:
        """Items in one forward pass of a perturbation method."""
        return self._batch("forward")

    @cached_property
    def gradient_batch_size(self) -> int:
        """Items in one pass forward and back."""
        return self._batch("gradient")

    def _batch(self, kind: str) -> int:
        options = self._model.options
        if options.batch_size is not None:
            return max(1, options.batch_size)
        entry = self.measured.get("batch", {}).get(kind)
        if entry is None:
            return unmeasured_batch(self._model.input_shape)
        cuda = self._model.providers[0].startswith("CUDA")
        return measured_batch(entry, memory_budget(options, cuda=cuda)) or 1


def _judges() -> dict[str, str]:
    """All that decides whether an engine is believed, by name and version."""
    return {each: _version(each) for each in _DECIDE_TIERS} | {"proof": str(PROOF)}


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "absent"
