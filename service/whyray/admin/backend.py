"""The dependencies of every endpoint: the backend, who asks, and which part of a list is wanted."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated

from fastapi import Depends, Query, Request

from whyray.admin.drift_watch import DriftWatch
from whyray.admin.finding_summaries import FindingSummaries
from whyray.admin.identity import Identity
from whyray.admin.pictures import Previews
from whyray.admin.site import Actions, ResultStore, Site
from whyray.base.outage_log import OutageLog
from whyray.catalog import Catalog

_log = logging.getLogger("whyray.admin")
_MOST = 2**31 - 1
"""What every database can count to."""


@dataclass(frozen=True)
class Backend:
    """The catalog, the store, the configuration in force, other rooms' actions; what is known of drift and findings."""

    catalog: Catalog
    store: ResultStore
    site: Callable[[], Site]
    actions: Actions
    drift: DriftWatch = field(default_factory=DriftWatch)
    findings: FindingSummaries = field(default_factory=FindingSummaries)
    asking_catalog: OutageLog = field(default_factory=lambda: OutageLog(_log, "asking the catalog"))
    asking_storage: OutageLog = field(default_factory=lambda: OutageLog(_log, "asking storage"))

    @cached_property
    def previews(self) -> Previews:
        """The pictures of results in small."""
        return Previews(self.store)

    def kinds(self) -> dict[str, str]:
        """By method: its type of interpretability, in the order of the types; empty where methods aren't known here."""
        return {} if self.actions.kinds is None else dict(self.actions.kinds())


def _backend(request: Request) -> Backend:
    backend: Backend = request.app.state.backend
    return backend


def _identity(request: Request) -> Identity:
    identity: Identity = request.state.identity
    return identity


def _actor(request: Request) -> str:
    return _identity(request).name


@dataclass(frozen=True)
class Paging:
    """Which part of a list is wanted."""

    limit: Annotated[int, Query(ge=1, le=500, description="How many.")] = 50
    offset: Annotated[int, Query(ge=0, le=_MOST, description="From which on; the further, the slower.")] = 0
    after: Annotated[
        str | None,
        Query(
            max_length=400, description="`next` or `previous` of an answer: the page beyond it. Instead of `offset`."
        ),
    ] = None


BackendDep = Annotated[Backend, Depends(_backend)]
ActorDep = Annotated[str, Depends(_actor)]
IdentityDep = Annotated[Identity, Depends(_identity)]
PagingDep = Annotated[Paging, Depends()]
