"""`whyray.yaml`: read, checked, explained; what it says as values that never change.

What `whyray.yaml` may say is loaded when it is first asked for: who only makes results needs nothing of it, and its
models take as long to build as a radiograph's pages take to draw.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from whyray.config.audiences import Audience, reader_of
from whyray.config.lines import read_yaml
from whyray.config.problems import Problem, config_error
from whyray.config.result_kinds import DEFAULT_KINDS, KIND_TITLES, ResultKind, kind_title, result_kinds

if TYPE_CHECKING:
    from whyray.config.attributes import DATES, NUMBERS, Attribute, AttributePath, keyword_of, parse_attribute
    from whyray.config.audit import Audit, Syslog
    from whyray.config.check import MethodFacts, PackageFacts, check_config
    from whyray.config.conditions import (
        AllOf,
        AnyOf,
        Clause,
        Condition,
        Not,
        age_in_days,
        parse_condition,
        pattern_validator,
    )
    from whyray.config.destinations import (
        AssociationTimeouts,
        CallerTls,
        Destination,
        DicomDestination,
        DicomPeer,
        DicomWebDestination,
        Informed,
        Retry,
    )
    from whyray.config.encryption import Encryption, StorageKey
    from whyray.config.load import example_config, load_config, read_config
    from whyray.config.model import Config
    from whyray.config.network import DicomWebListener, Listener, ListenerLimits, ListenerTls, Peer
    from whyray.config.routes import (
        Budget,
        Completion,
        ExpectedCount,
        MethodRequest,
        Otherwise,
        PackageReference,
        Priority,
        Route,
        Send,
        TargetRequest,
    )
    from whyray.config.schema import config_schema
    from whyray.config.secrets import Secret
    from whyray.config.services import Login
    from whyray.config.single_sign_on import Oidc, may_be_asked
    from whyray.config.site import Admin, Catalog, Packages, Queue, Retention, Storage, Templates, Workers
    from whyray.config.source import ConfigSource, Reload
    from whyray.config.values import format_duration, format_share, format_size, parse_duration, parse_share, parse_size
    from whyray.config.warnings import problems_on_one_machine, warnings_of
    from whyray.config.worklists import Orders, Task, Worklist

_LATE = {
    "attributes": "DATES NUMBERS Attribute AttributePath keyword_of parse_attribute",
    "audit": "Audit Syslog",
    "check": "MethodFacts PackageFacts check_config",
    "conditions": "AllOf AnyOf Clause Condition Not age_in_days parse_condition pattern_validator",
    "destinations": "AssociationTimeouts CallerTls Destination DicomDestination "
    "DicomPeer DicomWebDestination Informed Retry",
    "encryption": "Encryption StorageKey",
    "load": "example_config load_config read_config",
    "model": "Config",
    "network": "DicomWebListener Listener ListenerLimits ListenerTls Peer",
    "warnings": "problems_on_one_machine warnings_of",
    "routes": "Budget Completion ExpectedCount MethodRequest Otherwise "
    "PackageReference Priority Route Send TargetRequest",
    "schema": "config_schema",
    "secrets": "Secret",
    "services": "Login",
    "single_sign_on": "Oidc may_be_asked",
    "site": "Admin Catalog Packages Queue Retention Storage Templates Workers",
    "source": "ConfigSource Reload",
    "values": "format_duration format_share format_size parse_duration parse_share parse_size",
    "worklists": "Orders Task Worklist",
}
"""By module, what of it is handed on when somebody asks for it."""
_MODULE_OF = {name: module for module, names in _LATE.items() for name in names.split()}


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


__all__ = [
    "DATES",
    "DEFAULT_KINDS",
    "KIND_TITLES",
    "NUMBERS",
    "Admin",
    "AllOf",
    "AnyOf",
    "AssociationTimeouts",
    "Attribute",
    "AttributePath",
    "Audience",
    "Audit",
    "Budget",
    "CallerTls",
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
    "DicomWebListener",
    "Encryption",
    "ExpectedCount",
    "Informed",
    "Listener",
    "ListenerLimits",
    "ListenerTls",
    "Login",
    "MethodFacts",
    "MethodRequest",
    "Not",
    "Oidc",
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
    "StorageKey",
    "Syslog",
    "TargetRequest",
    "Task",
    "Templates",
    "Workers",
    "Worklist",
    "age_in_days",
    "check_config",
    "config_error",
    "config_schema",
    "example_config",
    "format_duration",
    "format_share",
    "format_size",
    "keyword_of",
    "kind_title",
    "load_config",
    "may_be_asked",
    "parse_attribute",
    "parse_condition",
    "parse_duration",
    "parse_share",
    "parse_size",
    "pattern_validator",
    "problems_on_one_machine",
    "read_config",
    "read_yaml",
    "reader_of",
    "result_kinds",
    "warnings_of",
]
