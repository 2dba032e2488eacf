"""From a route's section of the configuration to what the run needs."""

from __future__ import annotations

from whyray.config import Route
from whyray.pipeline.run import Wish


def wish_of(route: Route) -> Wish:
    """What this route asks of its packages."""
    return Wish(
        methods={each.name: dict(each.parameters) for each in route.explain},
        targets=route.targets.names if route.targets.rule == "named" else route.targets.rule,
        most=route.targets.count if route.targets.rule == "top" else None,
        most_forwards=route.budget.quality_forwards,
    )
