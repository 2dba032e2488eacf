"""What the templates' texts are held to: no unknown names, no unknown fields in braces."""

from __future__ import annotations

import string
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict


class Strict(BaseModel):
    """Base of all templates: a name that no template has is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def with_fields(*allowed: str) -> AfterValidator:
    """Refuses a text with a field in braces that it is never given."""

    def check(text: str) -> str:
        fields = {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}
        if fields - set(allowed):
            raise ValueError(f"unknown field {sorted(fields - set(allowed))}; known: {sorted(allowed) or 'none'}")
        return text

    return AfterValidator(check)


Plain = Annotated[str, with_fields()]
ByMethod = Annotated[str, with_fields("method")]
