"""Which right each operation of the admin endpoint needs: the one place where that is said. What is not here is closed.

An operation is found by Starlette's own routes, from method and path alone; no header has a part in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

from whyray.base.roles import Right

OPERATIONS: dict[Right, tuple[str, ...]] = {
    Right.OPEN: (
        "GET /healthz",
        "GET /readyz",
        "GET /static/{path:path}",
        "GET /login",
        "POST /login",
        "GET /login/oidc",
        "GET /login/oidc/back",
        "GET /welcome",
        "POST /welcome",
    ),
    Right.SELF: ("POST /logout", "GET /api/v1/me"),
    Right.QUEUE: (
        "GET /",
        "GET /metrics",
        "GET /api/docs",
        "GET /api/v1/openapi.json",
        "GET /api/v1/overview",
        "GET /api/v1/choices",
        "GET /api/v1/studies",
        "GET /api/v1/studies/{study_instance_uid}",
        "GET /api/v1/jobs",
        "GET /api/v1/jobs/{job_id}",
        "GET /api/v1/deliveries",
        "GET /api/v1/deliveries/{delivery_id}",
        "GET /api/v1/results",
        "GET /api/v1/results/{sop_instance_uid}",
        "GET /api/v1/events",
        "GET /api/v1/routes",
        "GET /api/v1/packages",
        "GET /api/v1/packages/{name}/{version}",
        "GET /api/v1/methods",
        "GET /api/v1/methods/{name}",
        "GET /api/v1/destinations",
        "GET /api/v1/feedback",
        "GET /api/v1/drift",
        "GET /api/v1/drift/{series_id}",
    ),
    Right.PICTURES: (
        "GET /api/v1/results/{sop_instance_uid}/picture",
        "GET /api/v1/results/{sop_instance_uid}/feedback",
        "POST /api/v1/results/{sop_instance_uid}/feedback",
        "DELETE /api/v1/results/{sop_instance_uid}/feedback",
        "GET /api/v1/feedback/verdicts",
    ),
    Right.STEER: (
        "POST /api/v1/studies/{study_instance_uid}/use-newest",
        "POST /api/v1/studies/{study_instance_uid}/keep",
        "POST /api/v1/studies/{study_instance_uid}/lift-rejections",
        "POST /api/v1/jobs/{job_id}/retry",
        "POST /api/v1/jobs/{job_id}/cancel",
        "POST /api/v1/deliveries/{delivery_id}/retry",
        "POST /api/v1/deliveries/{delivery_id}/cancel",
        "POST /api/v1/bulk",
        "POST /api/v1/routes/test",
        "POST /api/v1/destinations/{name}/echo",
    ),
    Right.IDENTITY: ("GET /api/v1/results/{sop_instance_uid}/dicom",),
    Right.ADMINISTER: (
        "GET /api/v1/accounts",
        "GET /api/v1/tokens",
        "GET /api/v1/reader-studies",
        "POST /api/v1/reader-studies/{name}/open",
        "POST /api/v1/reader-studies/{name}/close",
    ),
    Right.READING: (
        "GET /reading",
        "GET /api/v1/reading",
        "GET /api/v1/reading/{name}",
        "POST /api/v1/reading/{name}/consent",
        "POST /api/v1/reading/{name}/next",
        "POST /api/v1/reading/{name}/back",
        "POST /api/v1/reading/{name}/answers",
        "GET /api/v1/reading/{name}/pictures/{picture}",
    ),
}


@dataclass(frozen=True)
class Needed:
    """What a request needs: rights (all of them), or, where no operation is declared for it, the methods that are."""

    rights: frozenset[Right] = frozenset()
    other_methods: tuple[str, ...] = field(default=())

    @property
    def open(self) -> bool:
        """Whether it needs nobody's log-in."""
        return self.rights == {Right.OPEN}


def declared() -> Iterator[tuple[str, str, Right]]:
    """(method, path, right) of every operation."""
    for right, operations in OPERATIONS.items():
        for operation in operations:
            method, _, path = operation.partition(" ")
            yield method, path, right


class _Matched:
    """Stands for an endpoint: the gate's routes are matched, never called."""

    async def __call__(self, _scope: Scope, _receive: Receive, _send: Send) -> None:
        raise NotImplementedError


_GATE = tuple((Route(path, _Matched(), methods=[method]), right) for method, path, right in declared())


def needed(scope: Scope) -> Needed:
    """What a request needs. Of several operations that its path fits, all have to be allowed."""
    matches = [(route.matches(scope)[0], route, right) for route, right in _GATE]
    rights = frozenset(right for match, _, right in matches if match is Match.FULL)
    others = sorted({method for match, route, _ in matches if match is Match.PARTIAL for method in route.methods or ()})
    return Needed(rights, tuple(others))
