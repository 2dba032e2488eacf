"""Who somebody is: by a password, a token, a session's cookie, or a link that lets in."""

from __future__ import annotations

import logging
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from whyray.admin.identity import Identity
from whyray.admin.sessions import Sessions
from whyray.admin.settings import AdminSettings
from whyray.base.api_tokens import digest_of
from whyray.base.failures import logged
from whyray.base.given_secrets import holder_of, same_secret
from whyray.base.guess_brake import GuessBrake
from whyray.base.passwords import hashed, is_password, outdated
from whyray.base.repeat_filter import RepeatFilter
from whyray.base.roles import rights_of_scopes
from whyray.catalog import Catalog, accounts, api_tokens, entry_links, events
from whyray.config import Oidc

_log = logging.getLogger(__name__)


class Entrance:
    """The door of the admin endpoint. `settings` gives what the configuration in force says.

    It is asked at each request, and so is the catalog: who is removed is out at the next one.

    A name that the configuration gives a password or token belongs to that; an account of the same name is not asked.
    """

    def __init__(self, catalog: Catalog, settings: Callable[[], AdminSettings]) -> None:
        self.catalog, self.settings = catalog, settings
        self.sessions, self.brake = Sessions(catalog.clock), GuessBrake(catalog.clock)
        self._refused = RepeatFilter(lambda: catalog.clock().timestamp())

    def is_known(self, name: str) -> bool:
        """Whether this is the name of somebody who logs in with a password."""
        if name in self.settings().logins:
            return True
        with self.catalog.read() as session:
            return accounts.find(session, name) is not None

    def is_taken(self, name: str) -> bool:
        """Whether somebody else could be meant by this name, in whatever case."""
        if name.lower() in {other.lower() for other in self.settings().logins}:
            return True
        with self.catalog.read() as session:
            return accounts.is_taken(session, name)

    def has_nobody(self) -> bool:
        """Whether nobody can log in yet."""
        return not self.settings().names_somebody and not self.has_accounts()

    def has_accounts(self) -> bool:
        """Whether there is any account."""
        with self.catalog.read() as session:
            return accounts.there_is_one(session)

    def by_password(self, name: str, password: str, address: str) -> str | None:
        """Open a session for who has this name and password, or gives a token of the configuration; its cookie.

        An unknown name takes as long as that of an account.
        """
        settings = self.settings()
        holder = holder_of(password, settings.tokens)
        if name in settings.logins and same_secret(password, settings.logins[name]):
            holder = name
        if holder is not None:
            identity = Identity.of_role(holder, settings.role_of(holder))
            key = self.sessions.start(identity, "configuration", password)
            self.came_in(identity, f"by the configuration's secret, from {address}")
            return key
        return None if name in settings.logins else self._by_account(name, password, address)

    def _by_account(self, name: str, password: str, address: str) -> str | None:
        with self.catalog.read() as session:
            account = accounts.find(session, name)
        if not is_password(password, None if account is None else account.password_hash) or account is None:
            return None
        rehashed = hashed(password) if outdated(account.password_hash) else None
        with self.catalog.begin() as session:
            accounts.logged_in(session, name, self.catalog.clock(), rehashed=rehashed)
        return self._session_of(name, f"by password, from {address}")

    def by_link(self, code: str, address: str) -> str | None:
        """Open a session for who follows a link that logs into an account; its cookie."""
        with self.catalog.read() as session:
            link = entry_links.find(session, code, self.catalog.clock())
        return (
            None if link is None or link.account is None else self._session_of(link.account, f"by link, from {address}")
        )

    def makes_first(self, code: str) -> bool:
        """Whether this is the link by which the first administrator is made."""
        with self.catalog.read() as session:
            link = entry_links.find(session, code, self.catalog.clock())
            return link is not None and link.account is None and not accounts.there_is_one(session)

    def first_administrator(self, code: str, name: str, password: str, address: str) -> str | None:
        """Make the first administrator, which ends the link, and open a session; its cookie.

        Raises
        ------
        ConfigError
            If nobody can be called so, or the password is too short.
        """
        kept = hashed(password)
        with self.catalog.begin() as session:
            link = entry_links.find(session, code, self.catalog.clock())
            if link is None or link.account is not None or accounts.there_is_one(session):
                return None
            accounts.add(session, name, "administrator", kept, self.catalog.clock(), actor="entry link")
        return self._session_of(name, f"by the link of the first start, from {address}")

    def by_bearer(self, token: str) -> Identity | None:
        """Whose token this is."""
        settings = self.settings()
        holder = holder_of(token, settings.tokens)
        if holder is not None:
            return Identity.of_role(holder, settings.role_of(holder))
        row = api_tokens.admitted(self.catalog, token)
        if row is None:
            return None
        kind = f"token: {', '.join(row.scopes)}"
        return Identity(api_tokens.actor_of(row), kind, rights_of_scopes(row.scopes))  # type: ignore[arg-type]

    def by_cookie(self, key: str) -> Identity | None:
        """Whose session this is, if what it was opened with still lets in; with the rights of now."""
        session = self.sessions.find(key)
        if session is None:
            return None
        settings, name = self.settings(), session.identity.name
        if session.origin == "configuration":
            kept = any(session.opened_with(secret) for secret in settings.secrets_of(name))
            return Identity.of_role(name, settings.role_of(name)) if kept else None
        if session.origin == "oidc":
            kept = settings.oidc is not None and session.opened_with(stamp_of(settings.oidc))
            return session.identity if kept else None
        with self.catalog.read() as reading:
            account = accounts.find(reading, name)
        if account is None or not session.opened_with(account.password_hash):
            return None
        return Identity.of_role(name, account.role)  # type: ignore[arg-type]

    def came_in(self, identity: Identity, words: str) -> None:
        """Enter a log-in."""
        with self.catalog.begin() as session:
            events.record(session, self.catalog.clock(), "info", "admin.login", words, actor=identity.name)

    def went_too_far(self, identity: Identity, rights: str, address: str) -> None:
        """Enter that somebody asked for what they may not do; once a minute for the same rights and address."""
        if self._refused.passes((identity.name, rights, address)) is None:
            return
        words = f"{identity.kind} asked for what needs the right {rights}, from {address}"
        try:
            with self.catalog.begin() as session:
                events.record(session, self.catalog.clock(), "warning", "admin.refused", words, actor=identity.name)
        except SQLAlchemyError as error:
            logged(_log, error, "a refusal could not be entered")

    def kept_out(self, words: str) -> None:
        """Enter a failed log-in; never what was typed, which may be a password in the wrong field."""
        try:
            with self.catalog.begin() as session:
                events.record(session, self.catalog.clock(), "warning", "admin.login-failed", words, actor="unknown")
        except SQLAlchemyError as error:
            logged(_log, error, "a failed log-in could not be entered")

    def went_out(self, name: str) -> None:
        """Enter a log-out."""
        with self.catalog.begin() as session:
            events.record(session, self.catalog.clock(), "info", "admin.logout", "", actor=name)

    def _session_of(self, name: str, words: str) -> str | None:
        with self.catalog.read() as session:
            account = accounts.find(session, name)
        if account is None:
            return None
        identity = Identity.of_role(name, account.role)  # type: ignore[arg-type]
        self.came_in(identity, words)
        return self.sessions.start(identity, "account", account.password_hash)


def stamp_of(oidc: Oidc) -> str:
    """What a session by OpenID Connect is opened with: it ends when issuer, client, claims or roles become others."""
    return digest_of(oidc.model_dump_json(include={"issuer", "client_id", "role_claim", "name_claim", "roles"}))
