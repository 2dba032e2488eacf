"""Errors of the HTTP API as problem details (RFC 9457), with WhyRay's code and advice."""

from __future__ import annotations

import logging
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlalchemy.exc import DataError
from starlette.exceptions import HTTPException

from whyray.base import errors
from whyray.base.failures import logged, typed_error
from whyray.base.repeat_filter import RepeatFilter

_log = logging.getLogger(__name__)

_STATUS: tuple[tuple[type[errors.WhyRayError], HTTPStatus], ...] = (
    (errors.NotFound, HTTPStatus.NOT_FOUND),
    (errors.TransitionError, HTTPStatus.CONFLICT),
    (errors.ResourceExhausted, HTTPStatus.INSUFFICIENT_STORAGE),
    (errors.PeerUnreachable, HTTPStatus.BAD_GATEWAY),
    (errors.PeerBusy, HTTPStatus.BAD_GATEWAY),
    (errors.PeerRefused, HTTPStatus.BAD_GATEWAY),
    (errors.ImageError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (errors.ConfigError, HTTPStatus.UNPROCESSABLE_ENTITY),
)


class Problem(BaseModel):
    """Why a request failed, and what to do."""

    type: str = "about:blank"
    title: str = Field(examples=["Conflict"])
    status: int = Field(examples=[409])
    code: str = Field(description="The error's class, as in docs/operate.md.", examples=["TransitionError"])
    message: str = Field(description="What was expected and what was found.", examples=["a job that is done cannot …"])
    advice: str = Field(
        description="What to do.", examples=["docs/states-events-metrics.md lists which state can become which."]
    )


def problem(status: int, code: str, message: str, advice: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """A problem response."""
    body = Problem(title=HTTPStatus(status).phrase, status=status, code=code, message=message, advice=advice)
    return JSONResponse(body.model_dump(), status, headers, media_type="application/problem+json")


def install(app: FastAPI) -> None:
    """Let every error of the application leave as problem details."""
    told = RepeatFilter()

    @app.exception_handler(errors.WhyRayError)
    def _ours(_request: Request, error: errors.WhyRayError) -> JSONResponse:
        status = next((status for kind, status in _STATUS if isinstance(error, kind)), HTTPStatus.INTERNAL_SERVER_ERROR)
        return problem(status, error.code, error.message, error.advice)

    @app.exception_handler(RequestValidationError)
    def _invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        # pydantic's 'input' may echo what was uploaded: only the place and the rule are repeated
        said = "; ".join(
            f"{'.'.join(str(part) for part in detail['loc'])}: {detail['msg']}" for detail in error.errors()
        )
        return problem(422, "InvalidRequest", said, "See the API reference at /api/docs.")

    @app.exception_handler(DataError)
    def _no_such_value(_request: Request, _error: DataError) -> JSONResponse:
        said = "a value of the request is none that the catalog can look up: too large a number, or a NUL character"
        return problem(422, "InvalidRequest", said, "See the API reference at /api/docs.")

    @app.exception_handler(HTTPException)
    def _http(_request: Request, error: HTTPException) -> JSONResponse:
        advice = "See the API reference at /api/docs."
        return problem(error.status_code, "HttpError", str(error.detail), advice, dict(error.headers or {}))

    @app.exception_handler(Exception)
    def _unforeseen(request: Request, error: Exception) -> JSONResponse:
        typed = typed_error(error)
        # a page that is open asks anew every two seconds, whatever is away
        more = told.passes((request.method, request.url.path, typed.message))
        if more is not None:
            times = f", {more} more times since it was told" if more else ""
            logged(_log, error, f"{request.method} {request.url.path} failed{times}")
        if not isinstance(typed, errors.InternalError):
            status = HTTPStatus.SERVICE_UNAVAILABLE if typed.retriable else HTTPStatus.INTERNAL_SERVER_ERROR
            return problem(status, typed.code, typed.message, typed.advice)
        advice = "The log of the admin process has the way that led there; please report it."
        return problem(500, typed.code, f"{typed.message}, in {request.method} {request.url.path}", advice)


RESPONSES: dict[int | str, dict[str, object]] = {
    status: {"model": Problem, "description": words, "content": {"application/problem+json": {}}}
    for status, words in (
        (401, "Not logged in."),
        (403, "Refused: wrong host, or a request from another site."),
        (404, "No such thing."),
        (409, "The state does not allow it."),
        (422, "The request is malformed."),
    )
}
"""What the OpenAPI description says about failures, for every operation."""
