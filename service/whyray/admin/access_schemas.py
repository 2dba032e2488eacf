"""What the API says of who may come in."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from whyray.base.roles import Right


class Me(BaseModel):
    """Whoever asks."""

    name: str = Field(examples=["ada"])
    kind: str = Field(description="The role, or 'token' and its scopes.", examples=["operator"])
    rights: list[Right]


class AccountOut(BaseModel):
    """One account; nothing of its password."""

    model_config = ConfigDict(from_attributes=True)

    name: str = Field(examples=["ada"])
    role: str = Field(examples=["operator"])
    created_at: datetime
    created_by: str
    password_at: datetime = Field(description="When the password was set.")
    last_login_at: datetime | None


class ApiTokenOut(BaseModel):
    """One API token; nothing by which it could be used."""

    id: str = Field(examples=["3f9a1c2b"])
    name: str = Field(examples=["prometheus"])
    scopes: list[str] = Field(examples=[["read"]])
    created_at: datetime
    created_by: str
    expires_at: datetime
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="To a day; null where it has not let anybody in yet.")
    in_force: bool
