"""What gives gradients of a network, its twin in torch or a compiled gradient, and the tier that follows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from whyray.base.arrays import FloatArray
from whyray.base.errors import TierMissing
from whyray.base.failures import raise_retriable
from whyray.inference.converters import CONVERTERS, TwinConverter, converter_named
from whyray.inference.network import Network
from whyray.inference.network_session import NetworkSession
from whyray.inference.package_cache import PackageCache
from whyray.inference.way_back import DifferentiationError

if TYPE_CHECKING:
    from whyray.inference.compiled import CompiledEngine, CompiledHead
    from whyray.inference.differentiated import DifferentiatedEngine
    from whyray.inference.gradient import GradientEngine, HeadGradient, Twin
    from whyray.packages.onboarding_report import Tier

_LOG = logging.getLogger(__name__)


class GradientBackends:
    """Gradient engines of one network; each is made when first needed, and kept.

    `session` answers for ONNX Runtime, with which they are compared; `cache` keeps what was compiled and proven.
    `original`: those of the package's own network, where the weights of this one were changed.
    """

    def __init__(
        self,
        network: Network,
        session: NetworkSession,
        cache: PackageCache,
        original: GradientBackends | None = None,
    ) -> None:
        self._network = network
        self._session = session
        self._cache = cache
        self._original = original
        self._image: FloatArray | None = None

    def prove_on(self, image: FloatArray) -> None:
        """Believe only gradients that are proven on `image` (1, C, *spatial) too, from now on: for onboarding."""
        self._image = image
        self.__dict__.pop("twin_or_reason", None)

    def proof(self, engine: str, converter: str, prove: Callable[[], str]) -> str:
        """Why the gradients of an engine are not believed; empty where they are. Kept with what was compiled."""
        return self._cache.proof(engine, converter, self._session.providers, prove)

    @property
    def proofs(self) -> Sequence[Mapping[str, Any]]:
        """What was proven of this network's gradients so far, as an onboarding report keeps it."""
        return tuple(self._cache.proofs)

    @property
    def kept(self) -> PackageCache:
        """What was compiled, measured or proven of this network."""
        return self._cache

    # --- the whole network ------------------------------------------------------------------------------------------
    def twin(self, method: str) -> Twin:
        """The differentiable twin, verified against ONNX Runtime; TierMissing says why there is none."""
        twin, reason = self.twin_or_reason
        if twin is None:
            raise TierMissing(
                f"{method} needs gradients (T2), and {self._network.identity} has no verified twin: {reason}"
            )
        return twin

    @cached_property
    def twin_or_reason(self) -> tuple[Twin | None, str]:
        """The twin, or None and why there is none."""
        from whyray.inference.gradient import verified_twin

        return verified_twin(self._network, self._session, self._cache, self._image)

    def engine(self, method: str, targets: int) -> GradientEngine:
        """What gives gradients of so many targets fastest: the compiled gradient where onboarding measured so."""
        if targets <= self._used_up_to("input gradient") and self._proven_compiled is not None:
            return self._proven_compiled
        return self.twin(method)

    def for_descent(self, method: str) -> GradientEngine:
        """What gives gradients at one point after the other: ONNX Runtime's of the differentiated graph, without torch.

        The twin where the graph has operators that are not differentiated, or the gradient is not proven. Which of them
        hangs on the graph alone (see `judged_by_the_graph`), so that a job which is done again says the same: what else
        goes wrong is raised.
        """
        return self.differentiated or self.twin(method)

    @cached_property
    def differentiated(self) -> DifferentiatedEngine | None:
        """The gradient written from the graph itself; None where that can't be, or is not proven.

        A network whose weights were changed is not proven: it takes the engine that the original takes, so that the two
        can be compared.
        """
        if self._original is not None and self._original.differentiated is None:
            return None
        from whyray.inference.differentiated import DifferentiatedEngine

        try:
            return DifferentiatedEngine(self._network, self._session, self._cache)
        except DifferentiationError as error:
            _LOG.warning("%s: the graph is not differentiated: %s", self._network.identity, error)
        return None

    def compiled(self, converter: TwinConverter = CONVERTERS[0], *, prove: bool = False) -> CompiledEngine:
        """The compiled gradient; raises what torch's exporter does, ValueError where it is to be proven and is not."""
        from whyray.inference.compiled import CompiledEngine

        return CompiledEngine(self._network, self._session, self._cache, converter, prove=prove)

    @cached_property
    def _proven_compiled(self) -> CompiledEngine | None:
        try:
            return self.compiled(self._converter("input gradient"), prove=True)
        except Exception as error:  # tracer, exporter and ONNX Runtime each have classes of their own
            raise_retriable(error)
            _LOG.warning("%s: the compiled gradient can't be had: %s", self._network.identity, error)
            return None

    # --- the head ---------------------------------------------------------------------------------------------------
    @property
    def head(self) -> HeadGradient | CompiledHead:
        """d logits / d features of a head without a closed form; TierMissing where there is none."""
        head = self._head_or_refusal
        if isinstance(head, TierMissing):
            raise head
        return head

    def converted_head(self) -> HeadGradient:
        """The head in torch; TierMissing where it does not convert, or is not proven."""
        from whyray.inference.gradient import HeadGradient

        return HeadGradient(self._network, self._session, self._cache)

    def compiled_head(self, converter: TwinConverter = CONVERTERS[0], *, prove: bool = False) -> CompiledHead:
        """The head's compiled gradient; raises as `compiled` does."""
        from whyray.inference.compiled import CompiledHead

        return CompiledHead(self._network, self._session, self._cache, converter, prove=prove)

    @cached_property
    def _head_or_refusal(self) -> HeadGradient | CompiledHead | TierMissing:
        if self._used_up_to("head gradient"):
            try:
                return self.compiled_head(self._converter("head gradient"), prove=True)
            except Exception as error:  # tracer, exporter and ONNX Runtime each have classes of their own
                raise_retriable(error)
                _LOG.warning("%s: the head's compiled gradient can't be had: %s", self._network.identity, error)
        try:
            return self.converted_head()
        except TierMissing as error:
            return error

    def _used_up_to(self, kind: str) -> int:
        return int(self._entry(kind).get("used up to targets", 0))

    def _converter(self, kind: str) -> TwinConverter:
        return converter_named(self._entry(kind).get("converter", ""))

    def _entry(self, kind: str) -> Mapping[str, Any]:
        entry: Mapping[str, Any] = self._session.measured.get("compiled", {}).get(kind, {})
        return entry

    # --- tiers ------------------------------------------------------------------------------------------------------
    def measured_tier(self) -> Tier:
        """The tier as it is now, whatever a report says."""
        if self.twin_or_reason[0] is not None:
            return "T2"
        return "T1" if self._network.features_name is not None else "T0"

    @cached_property
    def kept_tier(self) -> Tier:
        """The tier without a report: measured once for this package and these versions of what measures it."""
        kept = self._cache.judged("tier", {}, self.measured_tier)
        return kept if kept in ("T0", "T1", "T2") else self.measured_tier()  # type: ignore[return-value]

    @property
    def tier_reason(self) -> str:
        """Why the tier is not a higher one; empty for T2."""
        twin, reason = self.twin_or_reason
        network = self._network
        features = "" if network.features_name is not None else f"no feature maps: {network.features.reason}; "
        return "" if twin is not None else f"{features}{reason}"
