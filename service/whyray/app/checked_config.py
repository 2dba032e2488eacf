"""The configuration checked against the packages and methods that there are: what can't be met is refused here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from whyray.base.shown import shown_path
from whyray.config import Config, PackageFacts, Problem, check_config, config_error, load_config
from whyray.explain import Tier, method_named, methods
from whyray.inference import Model, RuntimeOptions, load_package


def load_checked_config(path: Path, *, read_secrets: bool = True) -> Config:
    """Read and check.

    Raises
    ------
    ConfigError
        Naming every problem with its line.
    """
    config = load_config(path, read_secrets=read_secrets)
    problems = registry_problems(config)
    if problems:
        raise config_error(problems, shown_path(path))
    return config


def registry_problems(config: Config) -> Sequence[Problem]:
    """What no package or method that there is can give."""
    known = {method.name for method in methods()}
    wanted = {method.name for route in config.routes for method in route.explain if method.name in known}
    wished = [method_named(name) for name in sorted(wanted)]
    needs_gradients = any(method.tier == "T2" for method in wished)
    options = RuntimeOptions(artefacts=(config.artefact_folder,))

    def facts(reference: str) -> PackageFacts:
        model = load_package(reference, search=config.packages.folders, options=options)
        tier, reason = _tier(model, measure=needs_gradients)
        return PackageFacts(
            name=model.manifest.name,
            version=model.manifest.version,
            tier=tier,
            task=model.task,
            targets=model.explainable_targets,
            tier_reason=reason,
            prevalence={
                target.name: target.prevalence for target in model.manifest.targets if target.prevalence is not None
            },
            lacks=_Lacks(model),
        )

    return check_config(config, resolve_package=facts, methods=methods())


class _Lacks:
    """What a model lacks for a method with parameters, looked up once: for some that takes a while."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._known: dict[tuple[str, str], str | None] = {}

    def __call__(self, method: str, parameters: Mapping[str, object]) -> str | None:
        key = method, repr(sorted(parameters.items()))
        if key not in self._known:
            lack = method_named(method).why_not_with(self._model, parameters)
            self._known[key] = None if lack is None else lack.message
        return self._known[key]


def quick_tier(model: Model) -> Tier:
    """The tier as reported by onboarding, else as far as the graph alone shows it: never the search for gradients."""
    return model.reported_tier or ("T0" if model.network.features_name is None else "T1")


def _tier(model: Model, *, measure: bool) -> tuple[Tier, str | None]:
    """The model's tier; the search for gradients, which takes seconds, only where a route asks for them."""
    if measure:
        return model.tier, None if model.tier == "T2" else model.gradients.tier_reason
    tier = quick_tier(model)
    return (
        tier,
        f"no feature maps: {model.network.features.reason}" if tier == "T0" and model.reported_tier is None else None,
    )
