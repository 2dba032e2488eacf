"""The HTTP API: one module for each kind of thing."""

from whyray.admin.api import deliveries, events, health, jobs, overview, reading, results, site, studies

ROUTERS = (
    overview.router,
    studies.router,
    jobs.router,
    deliveries.router,
    results.router,
    events.router,
    site.router,
    reading.router,
)

__all__ = ["ROUTERS", "health"]
