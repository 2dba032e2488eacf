"""From a route's section of the configuration to what the run needs."""

from __future__ import annotations

from pathlib import Path

from whyray.config import Route
from whyray.jobs.explanation_request import ExplanationRequest


def request_of(route: Route, phrases: Path | None = None) -> ExplanationRequest:
    """What this route asks of its packages; `phrases` is the folder of the site's templates."""
    return ExplanationRequest(
        methods={method.name: dict(method.parameters) for method in route.explain},
        targets=route.targets.names if route.targets.rule == "named" else route.targets.rule,
        most=route.targets.count if route.targets.rule == "top" else None,
        most_frames=route.budget.frames,
        most_forwards=route.budget.quality_forwards,
        prevalence=route.prevalence,
        language=route.language,
        phrases=phrases,
    )
