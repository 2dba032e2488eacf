"""`whyray.yaml`: read, checked, explained; what it says as values that never change."""

from whyray.config.check import MethodFacts, PackageFacts, check_config
from whyray.config.conditions import AllOf, AnyOf, Clause, Condition, Not, parse_condition
from whyray.config.load import example_config, load_config, read_config
from whyray.config.model import Config
from whyray.config.network import (
    AssociationTimeouts,
    Destination,
    DicomDestination,
    DicomPeer,
    DicomWebDestination,
    Informed,
    Listener,
    ListenerLimits,
    Peer,
    Retry,
)
from whyray.config.problems import Problem
from whyray.config.routes import (
    Budget,
    Completion,
    ExpectedCount,
    MethodRequest,
    Otherwise,
    PackageReference,
    Priority,
    ResultKind,
    Route,
    Send,
    TargetRequest,
)
from whyray.config.schema import config_schema
from whyray.config.secrets import Secret
from whyray.config.services import Login
from whyray.config.site import Admin, Catalog, Packages, Queue, Retention, Storage, Templates, Workers
from whyray.config.source import ConfigSource, Reload
from whyray.config.values import format_duration, format_size, parse_duration, parse_size
from whyray.config.worklists import Orders, Task, Worklist

__all__ = [
    "Admin",
    "AllOf",
    "AnyOf",
    "AssociationTimeouts",
    "Budget",
    "Catalog",
    "Clause",
    "Completion",
    "Condition",
    "Config",
    "ConfigSource",
    "Destination",
    "DicomDestination",
    "DicomPeer",
    "DicomWebDestination",
    "ExpectedCount",
    "Informed",
    "Listener",
    "ListenerLimits",
    "Login",
    "MethodFacts",
    "MethodRequest",
    "Not",
    "Orders",
    "Otherwise",
    "PackageFacts",
    "PackageReference",
    "Packages",
    "Peer",
    "Priority",
    "Problem",
    "Queue",
    "Reload",
    "ResultKind",
    "Retention",
    "Retry",
    "Route",
    "Secret",
    "Send",
    "Storage",
    "TargetRequest",
    "Task",
    "Templates",
    "Workers",
    "Worklist",
    "check_config",
    "config_schema",
    "example_config",
    "format_duration",
    "format_size",
    "load_config",
    "parse_condition",
    "parse_duration",
    "parse_size",
    "read_config",
]
