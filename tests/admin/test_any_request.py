"""Requests of any kind that the API's own description allows, under every role: schemathesis makes them up."""

from __future__ import annotations

from typing import Any

import schemathesis
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings

from admin.scene import Scene
from admin.test_operations import (  # noqa: F401 - fixtures
    CELLS,
    HOST,
    ROLES,
    app,
    everybody,
    people,
)

_AS_PAGE_SAYS = dict(CELLS)
_EXAMPLES = settings(
    max_examples=1,
    derandomize=True,
    database=None,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)


def operations_of(described: dict[str, Any]) -> dict[str, Any]:
    schema = schemathesis.openapi.from_dict(described)
    return {
        f"{operation.ok().method.upper()} {operation.ok().path}": operation.ok()
        for operation in schema.get_all_operations()
    }


def test_no_request_of_any_role_breaks_an_operation_or_does_more_than_the_role_may(
    people: Scene,  # noqa: F811
    everybody: dict[str, TestClient],  # noqa: F811
    app: FastAPI,  # noqa: F811
) -> None:
    operations = operations_of(app.openapi())
    assert len(operations) > 40
    for name, operation in operations.items():
        ask_for(operation, everybody, _AS_PAGE_SAYS[name])


def ask_for(operation: Any, everybody: dict[str, TestClient], cells: dict[str, str]) -> None:  # noqa: F811
    @_EXAMPLES
    @given(case=operation.as_strategy())
    def ask(case: Any) -> None:
        sent = case.as_transport_kwargs(base_url=HOST["base_url"])
        sent = {key: sent[key] for key in ("method", "url", "params", "json", "data", "files") if sent.get(key)}
        for role in ROLES:
            status = everybody[role].request(**sent).status_code
            assert status < 500, (role, sent)
            assert (status == 403) == (cells[role] == "403"), (role, sent, status)

    ask()
