"""The admin endpoint: HTTP API, web page, metrics; reads the catalog and acts through the catalog's own functions."""

from whyray.admin.app import create_app
from whyray.admin.server import AdminServer, serve_admin
from whyray.admin.site import (
    DestinationInfo,
    EchoOutcome,
    PackageInfo,
    ResultStore,
    RouteInfo,
    RouteVerdict,
    Site,
    Tools,
)

__all__ = [
    "AdminServer",
    "DestinationInfo",
    "EchoOutcome",
    "PackageInfo",
    "ResultStore",
    "RouteInfo",
    "RouteVerdict",
    "Site",
    "Tools",
    "create_app",
    "serve_admin",
]
