from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from whyray.base.body_limit import BodyLimit
from whyray.base.uids import is_uid

MOST = 1000


async def sized(request: Request) -> Response:
    try:
        return PlainTextResponse(str(len(await request.body())))
    except Exception as error:  # as frameworks do with whatever goes wrong in reading a body
        return PlainTextResponse(f"the body could not be parsed ({type(error).__name__})", 400)


@pytest.fixture
def client() -> Iterator[TestClient]:
    limit = Middleware(
        BodyLimit,
        most=lambda path: 2 * MOST if path == "/files" else MOST,
        refusal=lambda most: PlainTextResponse(f"at most {most} bytes", 413),
    )
    routes = [Route(path, sized, methods=["POST"]) for path in ("/", "/files")]
    with TestClient(Starlette(routes=routes, middleware=[limit])) as opened:
        yield opened


def in_pieces(size: int) -> Iterator[bytes]:
    """Without a declared length."""
    yield from (b"1" for _ in range(size))


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_is_taken_up_to_its_paths_limit_and_refused_above(client: TestClient, declared: bool) -> None:
    def posted(path: str, size: int) -> tuple[int, str]:
        answer = client.post(path, content=b"1" * size if declared else in_pieces(size))
        return answer.status_code, answer.text

    assert posted("/", MOST) == (200, str(MOST))
    assert posted("/", MOST + 1) == (413, f"at most {MOST} bytes")
    assert posted("/files", 2 * MOST) == (200, str(2 * MOST))
    assert posted("/files", 2 * MOST + 1) == (413, f"at most {2 * MOST} bytes")


def test_a_uid_is_digits_between_single_dots() -> None:
    assert all(map(is_uid, ("1", "1.2.840.10008", "1.2.03", "9" * 64)))
    assert not any(map(is_uid, ("", ".", "..", ".1", "1.", "1..2", "1/2", "1.2 ", "9" * 65, "1.\u0662")))
