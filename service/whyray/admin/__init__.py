"""The admin endpoint: HTTP API, web page, metrics; reads the catalog and acts through the catalog's own functions."""

from whyray.admin.actions import tools_of
from whyray.admin.app import create_app
from whyray.admin.server import AdminServer, serve_admin
from whyray.admin.site import (
    ClauseVerdict,
    DestinationInfo,
    EchoOutcome,
    MethodInfo,
    PackageInfo,
    PackageMethod,
    ParameterInfo,
    ResultStore,
    RouteInfo,
    RouteVerdict,
    Site,
    Tools,
)

__all__ = [
    "AdminServer",
    "ClauseVerdict",
    "DestinationInfo",
    "EchoOutcome",
    "MethodInfo",
    "PackageInfo",
    "PackageMethod",
    "ParameterInfo",
    "ResultStore",
    "RouteInfo",
    "RouteVerdict",
    "Site",
    "Tools",
    "create_app",
    "serve_admin",
    "tools_of",
]
