"""Rules: which series go to which packages. Pure functions; `read_header` alone reads a file."""

from whyray.routing.headers import LARGEST_DOCUMENT, read_header, read_header_and_bytes, series_of
from whyray.routing.loop_guard import is_own_result
from whyray.routing.match import ClauseResult, Match, RouteMatch, Routing, Series, match_series, match_study, routes_for

__all__ = [
    "LARGEST_DOCUMENT",
    "ClauseResult",
    "Match",
    "RouteMatch",
    "Routing",
    "Series",
    "is_own_result",
    "match_series",
    "match_study",
    "read_header",
    "read_header_and_bytes",
    "routes_for",
    "series_of",
]
