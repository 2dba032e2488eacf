"""Who may enter the admin endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from whyray.base.errors import ConfigError
from whyray.config import Config

_SHORTEST_TOKEN = 16
_SHORTEST_PASSWORD = 8


@dataclass(frozen=True)
class AdminSettings:
    """Access to the admin endpoint. There is no default password.

    `tokens` and `logins` are secrets by the name under which their holders' actions are audited: a token stands alone,
    a password needs its user's name. Where both are empty, only clients on this very machine are let in. `readers` are
    the users among the logins who see reader studies and nothing else.
    """

    tokens: Mapping[str, str] = field(default_factory=dict, repr=False)
    logins: Mapping[str, str] = field(default_factory=dict, repr=False)
    readers: frozenset[str] = frozenset()

    def secrets_of(self, name: str) -> tuple[str, ...]:
        """The token and the password that belong to a name now."""
        return tuple(named[name] for named in (self.tokens, self.logins) if name in named)

    @property
    def local_only(self) -> bool:
        """Whether there is nothing to log in with."""
        return not self.tokens and not self.logins


def settings_of(config: Config) -> AdminSettings:
    """What the configuration's admin section says about access."""
    admin = config.admin
    return AdminSettings(
        tokens={} if admin.token is None else {"token": admin.token.reveal()},
        logins={login.user: login.password.reveal() for login in admin.logins},
        readers=frozenset(login.user for login in admin.logins if login.role == "reader"),
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
