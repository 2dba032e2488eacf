"""The admin endpoint: HTTP API, web page, metrics; reads the catalog and acts through the catalog's own functions."""

from whyray.admin.actions import actions_of
from whyray.admin.app import create_app
from whyray.admin.server import AdminServer, serve_admin
from whyray.admin.site import (
    Actions,
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
)

__all__ = [
    "Actions",
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
    "actions_of",
    "create_app",
    "serve_admin",
]
