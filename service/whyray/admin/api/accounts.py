"""Who asks; who may come in."""

from __future__ import annotations

from fastapi import APIRouter

from whyray.admin.access_schemas import AccountOut, ApiTokenOut, Me
from whyray.admin.backend import BackendDep, IdentityDep
from whyray.catalog import accounts, api_tokens

router = APIRouter(tags=["accounts"])


@router.get("/me", summary="Who I am here")
def me(asking: IdentityDep) -> Me:
    """The name under which acts are entered, and what may be done under it."""
    return Me(name=asking.name, kind=asking.kind, rights=sorted(asking.rights))


@router.get("/accounts", summary="List accounts")
def list_accounts(backend: BackendDep) -> list[AccountOut]:
    """Those of the catalog; `whyray account` makes and removes them."""
    with backend.catalog.read() as session:
        return [AccountOut.model_validate(account) for account in accounts.every(session)]


@router.get("/tokens", summary="List API tokens")
def list_tokens(backend: BackendDep) -> list[ApiTokenOut]:
    """All that there ever were, without what they are; `whyray account token` makes and revokes them."""
    now = backend.catalog.clock()
    with backend.catalog.read() as session:
        return [
            ApiTokenOut(
                id=token.id,
                name=token.name,
                scopes=list(token.scopes),
                created_at=token.created_at,
                created_by=token.created_by,
                expires_at=token.expires_at,
                revoked_at=token.revoked_at,
                last_used_at=token.last_used_at,
                in_force=api_tokens.in_force(token, now),
            )
            for token in api_tokens.every(session)
        ]
