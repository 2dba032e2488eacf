"""Who may enter the admin endpoint, as far as the configuration says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from whyray.base.errors import ConfigError
from whyray.base.roles import Role
from whyray.config import Config, Oidc

_SHORTEST_TOKEN = 16
_SHORTEST_PASSWORD = 8


@dataclass(frozen=True)
class AdminSettings:
    """What the configuration says of access to the admin endpoint; accounts and API tokens are in the catalog.

    `tokens` and `logins` are secrets by the name under which their holders' actions are audited: a token stands alone,
    a password needs its user's name. `roles` are those of the logins. With `local_only`, direct clients on this very
    machine are let in without a log-in, and nobody else.
    """

    tokens: Mapping[str, str] = field(default_factory=dict, repr=False)
    logins: Mapping[str, str] = field(default_factory=dict, repr=False)
    roles: Mapping[str, Role] = field(default_factory=dict)
    oidc: Oidc | None = None
    local_only: bool = False

    def secrets_of(self, name: str) -> tuple[str, ...]:
        """The token and the password that belong to a name now."""
        return tuple(named[name] for named in (self.tokens, self.logins) if name in named)

    def role_of(self, name: str) -> Role:
        """What a name of the configuration is; tokens are administrators."""
        return self.roles.get(name, "administrator")

    @property
    def names_somebody(self) -> bool:
        """Whether anybody can log in by the configuration alone."""
        return bool(self.tokens or self.logins or self.oidc or self.local_only)


def settings_of(config: Config) -> AdminSettings:
    """What the configuration's admin section says about access."""
    admin = config.admin
    return AdminSettings(
        tokens={} if admin.token is None else {"token": admin.token.reveal()},
        logins={login.user: login.password.reveal() for login in admin.logins},
        roles={login.user: login.role for login in admin.logins},
        oidc=admin.oidc,
        local_only=admin.local_access,
    )


def check(settings: AdminSettings) -> None:
    """Refuse secrets that can be guessed.

    Raises
    ------
    ConfigError
        If a token has fewer than 16, or a password fewer than 8 characters.
    """
    for kind, secrets, least in (
        ("token", settings.tokens, _SHORTEST_TOKEN),
        ("password", settings.logins, _SHORTEST_PASSWORD),
    ):
        for name, secret in secrets.items():
            if len(secret) < least:
                raise ConfigError(
                    f"the admin {kind} of {name!r} has {len(secret)} characters, at least {least} are needed",
                    advice="Make one with `openssl rand -hex 32` and keep it in a file or the environment.",
                )
