"""What was compiled, measured or proven of one package, kept on disk by the versions of all that decides it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from whyray.inference.cache import CompiledCache
from whyray.inference.gradient_proof import PROOF

_DECIDE_TIERS = ("whyray", "onnxruntime", "onnxruntime-gpu", "torch", "onnx2fx", "onnx2torch")
"""Distributions whose versions decide whether a twin is made and believed."""


class PackageCache:
    """The cache of one package. Of a network whose weights were changed nothing is kept, and nothing is proven.

    `digest` is the package's; `folder` where things are kept, None to keep nothing; `original` the cache of the
    package's own network where this is of a changed one; `reported` gives the proofs that the package's onboarding
    report names (see `proofs`).
    """

    def __init__(
        self,
        digest: str,
        folder: Path | None,
        *,
        original: PackageCache | None = None,
        reported: Callable[[], Sequence[Mapping[str, Any]]] = tuple,
    ) -> None:
        self._digest = digest
        self._original = original
        self._reported = reported
        self._cache = CompiledCache(folder if original is None else None)
        self._verdicts: dict[tuple[str, ...], str] = {}
        self.proofs: list[Mapping[str, Any]] = []
        """What was proven here, in words that a report can keep: engine, converter, providers, and the versions of all
        that decides whether an engine is believed."""

    def fetch(self, kind: str, made_of: Mapping[str, str], make: Callable[[], bytes]) -> bytes:
        """What `make` gives, from the cache where this package's was made before from the same things."""
        return self._cache.fetch(kind, {"package": self._digest, **made_of}, make)

    def judged(self, kind: str, made_of: Mapping[str, str], judge: Callable[[], str]) -> str:
        """As `fetch`, of a judgement in words, which other versions of what judges may change."""
        return self.fetch(kind, {**made_of, **_judges()}, lambda: judge().encode()).decode()

    def proof(self, engine: str, converter: str, providers: Sequence[str], prove: Callable[[], str]) -> str:
        """Why the gradients of an engine are not believed, as `prove` says, or as it said before of this package.

        A network whose weights were changed has the verdict on the original, whose operators it has; what nobody asked
        of the original is believed. What the onboarding report of this very package proved by the same converter, on
        the same providers, with the same versions of all that decides it, is not proven again.
        """
        key = (engine, converter, *providers)
        if self._original is not None:
            return self._original._verdicts.get(key, "")
        made_of = {"engine": engine, "converter": converter, "providers": " ".join(providers)}
        # Of WhyRay the number PROOF tells: a new version that judges as before shall not make every site prove again.
        versions = {name: number for name, number in _judges().items() if name != "whyray"}
        claim = {**made_of, "versions": versions}
        if claim in self.proofs:
            return ""
        reason = "" if claim in self._reported() else self.judged("proof", made_of, prove)
        if not reason:
            self.proofs.append(claim)
        self._verdicts[key] = reason
        return reason


def installed_version(distribution: str) -> str:
    """The version of a distribution, or 'absent'."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "absent"


def _judges() -> dict[str, str]:
    """All that decides whether an engine is believed, by name and version."""
    return {name: installed_version(name) for name in _DECIDE_TIERS} | {"proof": str(PROOF)}
