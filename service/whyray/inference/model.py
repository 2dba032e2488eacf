"""A loaded model package: its network, the session that answers, gradients of it, and its companions."""

from __future__ import annotations

import html
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

from numpy.typing import NDArray

from whyray.base.arrays import FloatArray
from whyray.base.errors import ArtefactMissing, ModelOutputError, PackageError
from whyray.inference.answers import probabilities, refuse_another_grid, refuse_no_probabilities
from whyray.inference.gradient_backends import GradientBackends
from whyray.inference.network import Network, read_network
from whyray.inference.network_session import NetworkSession
from whyray.inference.package_cache import PackageCache
from whyray.inference.session import RuntimeOptions
from whyray.packages import CompanionRole, Manifest, Package, TargetSpec, at_prevalence, find_package, read_package
from whyray.packages.localisation_report import MethodLocalisation, localisation_in
from whyray.packages.onboarding_report import Tier, proofs_in, read_report, tier_in

T = TypeVar("T")


class Model:
    """A model package that can be run. Sessions, closed forms and twins are made when first needed.

    Attributes
    ----------
    package, options
        What it is, and how it runs.
    network
        The graph, the tensors of it that matter, and its head.
    session
        What runs the network: answers, inner activations, batches, and what they cost.
    gradients
        Gradients of the network, and the tier that follows.
    as_stated
        The model as its package states it; another one where this answers for prevalences that a site set.
    """

    def __init__(
        self,
        package: Package,
        options: RuntimeOptions,
        load: Callable[[str], Model] | None = None,
        *,
        changed: Network | None = None,
        original: Model | None = None,
    ) -> None:
        self.package = package
        self.options = options
        self._load = load or partial(load_package, options=options)
        self._changed = changed
        self._original = original
        self.as_stated: Model = self
        self._companions: dict[str, Model] = {}
        self._once: dict[Hashable, Any] = {}
        self._localisation: tuple[dict[str, Any] | None, dict[str, MethodLocalisation]] | None = None

    # --- what it is -------------------------------------------------------------------------------------------------
    @property
    def manifest(self) -> Manifest:
        """All of model.yaml."""
        return self.package.manifest

    @property
    def identity(self) -> str:
        """`NAME@VERSION`, for messages and logs."""
        return f"{self.manifest.name}@{self.manifest.version}"

    def _repr_html_(self) -> str:
        """What a notebook shows: what the package is of and for. Nothing is loaded or run for it."""
        wanted = self.manifest.input
        rows = {
            "package": f"{self.identity}: {self.manifest.title}",
            "made for": self.manifest.intended_use,
            "takes": f"{' or '.join(wanted.modalities) or 'any modality'}, {wanted.kind}, "
            f"{' × '.join(map(str, wanted.shape))}, {wanted.channels} channel{'s' if wanted.channels > 1 else ''}",
            "answers with": f"{self.task}: {', '.join(self.targets) or 'no targets'}",
        }
        body = "".join(f"<tr><th>{name}</th><td>{html.escape(words)}</td></tr>" for name, words in rows.items())
        return f"<table>{body}</table><p>Not for diagnostic use.</p>"

    @property
    def task(self) -> str:
        """classification, multi-label, regression, segmentation, autoencoder or captioner."""
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
    def spatial_shape(self) -> tuple[int, ...]:
        """Shape of a heatmap: the input without batch and channels."""
        return self.manifest.input.shape

    def target_index(self, name: str) -> int:
        """The output channel of a target; ModelOutputError where the package has no such target."""
        if name not in self.targets:
            raise ModelOutputError(
                f"{self.identity} has no target {name!r}; it has {', '.join(self.targets)}",
                advice="Name one of the package's targets.",
            )
        return self.targets.index(name)

    @cached_property
    def network(self) -> Network:
        """The network, read; PackageError where the graph does not load or does not fit the manifest."""
        return self._changed or read_network(self.package, self.options)

    @cached_property
    def session(self) -> NetworkSession:
        """What runs the network. A package changed since its report is refused before anything is run."""
        self.report()
        return NetworkSession(self.network, self.report if self._changed is None else lambda: None)

    @cached_property
    def gradients(self) -> GradientBackends:
        """Gradients of the network. One whose weights were changed has the engines of the original, and no cache."""
        original = None if self._original is None else self._original.gradients
        cache = PackageCache(
            self.package.digest,
            self.options.cache,
            original=None if original is None else original.kept,
            reported=lambda: proofs_in(self.report()),
        )
        return GradientBackends(self.network, self.session, cache, original)

    # --- tiers ------------------------------------------------------------------------------------------------------
    @cached_property
    def tier(self) -> Tier:
        """What explanations this model can give: read from the onboarding report, else measured (seconds) and kept."""
        return self.reported_tier or self.gradients.kept_tier

    @property
    def reported_tier(self) -> Tier | None:
        """The tier that onboarding measured; None without a report. A package changed since then is refused."""
        report = self.report()
        return None if report is None else tier_in(report, self.package)

    def report(self) -> dict[str, Any] | None:
        """What onboarding measured; None without a report. A package changed since then is refused."""
        return read_report(self.package)

    def localisation(self) -> dict[str, MethodLocalisation]:
        """By method, how well its maps point at what readers marked (`localisation_in`), read once for a report."""
        report = self.report()
        if self._localisation is None or self._localisation[0] is not report:
            self._localisation = report, localisation_in(report, self.package)
        return self._localisation[1]

    # --- answers ----------------------------------------------------------------------------------------------------
    def predict(self, x: NDArray[Any]) -> FloatArray:
        """The answer about `x` (N, item in layout): probabilities after activation and calibration.

        Shape (N, targets), or (N, targets, *spatial) for a segmentation. A regression's values are as they are.
        Raises ModelOutputError for a wrong shape, NaN or infinity, on the way in and out.
        """
        return self.answer(self.logits(x))

    def answer_on_the_image(self, logits: FloatArray) -> FloatArray:
        """As `answer`; ModelOutputError where a segmentation is not on the grid of the image."""
        answer = self.answer(logits)
        refuse_another_grid(answer, self.manifest, identity=self.identity, tensor=self.network.form.logits)
        return answer

    def logits(self, x: NDArray[Any]) -> FloatArray:
        """(N, targets) or (N, targets, *grid): the named output before activation, for `x` (N, item in layout)."""
        return self.session.run(self.network.checked_input(x)).logits

    def embedding(self, x: NDArray[Any]) -> FloatArray:
        """(N, D): the vector that stands for each case; ModelOutputError where the manifest names none."""
        embedding = self.session.run(self.network.checked_input(x)).embedding
        if embedding is None:
            raise ModelOutputError(
                f"{self.identity}: model.yaml names no embedding", advice="Name a tensor in output.embedding."
            )
        return embedding

    def answer(self, logits: FloatArray) -> FloatArray:
        """From logits (N, targets, ...) to probabilities in that shape: activation, then calibration (Platt 1999).

        Raises ModelOutputError where the answers should be probabilities by the task, and are none.
        """
        form = self.network.form
        answer = probabilities(logits, form.activation, self.manifest.targets)
        if form.unit == "probability":
            refuse_no_probabilities(answer, identity=self.identity, tensor=form.logits)
        return answer

    # --- what stands beside it --------------------------------------------------------------------------------------
    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives, made once for this model under `key`: a head, an index, a randomised copy."""
        if key not in self._once:
            self._once[key] = make()
        made: T = self._once[key]
        return made

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
            self._companions[named] = self._load(named)
        return self._companions[named]

    def at_prevalence(self, prevalence: Mapping[str, float]) -> Model:
        """The same model with probabilities and thresholds for these prevalences (target → 0..1, neither end).

        It shares network, session and gradients with this one, and is made once for the same prevalences. Logits, and
        so all explanations of them, are the same.

        Raises
        ------
        ModelOutputError
            If the package has no such target.
        PackageError
            If it states no prevalence for one, so that nobody knows what to move from.
        """
        if not prevalence:
            return self
        for name in prevalence:
            if self.manifest.targets[self.target_index(name)].prevalence is None:
                stated = [target.name for target in self.manifest.targets if target.prevalence is not None]
                raise PackageError(
                    f"{self.identity} states no prevalence for {name!r}, so its probability can't be moved to another",
                    advice=f"It states one for {', '.join(stated) or 'no target'}; leave the others out.",
                )
        return self.once(("prevalence", tuple(sorted(prevalence.items()))), lambda: self._moved(prevalence))

    def _moved(self, prevalence: Mapping[str, float]) -> Model:
        targets = tuple(
            at_prevalence(target, prevalence[target.name]) if target.name in prevalence else target
            for target in self.manifest.targets
        )
        manifest = self.manifest.model_copy(update={"targets": targets})
        package = replace(self.package, manifest=manifest)
        moved = Model(package, self.options, self._load, changed=self._changed, original=self._original)
        moved.network, moved.session, moved.gradients = self.network, self.session, self.gradients
        moved.as_stated, moved._companions = self.as_stated, self._companions
        return moved

    def with_graph(self, proto: Any) -> Model:
        """The same package with another graph of the same shape, e.g. one with randomised weights."""
        original = self if self._original is None else self._original
        return Model(self.package, self.options, self._load, changed=self.network.with_graph(proto), original=original)


def load_package(
    reference: str | Path,
    *,
    search: Iterable[Path] = (),
    options: RuntimeOptions | None = None,
    load: Callable[[str], Model] | None = None,
) -> Model:
    """A model from a package: a folder, or NAME[@VERSION] of an installed one (see `find_package`).

    Nothing heavy happens until the first answer is asked for. `load` gives the packages that stand beside it, so that
    several models may have the same ones; left out, they are loaded for this one. Raises NotFound, PackageError.
    """
    search, options = tuple(search), options or RuntimeOptions()
    beside = load or partial(load_package, search=search, options=options)
    return Model(read_package(find_package(reference, search)), options, beside)


def target_spec(model: Model, name: str) -> TargetSpec:
    """The manifest's entry of a target."""
    return model.manifest.targets[model.target_index(name)]
