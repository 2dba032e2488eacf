"""Who asks, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass

from whyray.base.roles import RIGHTS_OF_ROLE, Right, Role


@dataclass(frozen=True)
class Identity:
    """Whoever asks: under which name their acts are entered, as what they are here, and what they may do."""

    name: str
    kind: str
    """The role of a person, in a word; of a program 'token' and its scopes."""
    rights: frozenset[Right]

    @classmethod
    def of_role(cls, name: str, role: Role) -> Identity:
        """A person."""
        return cls(name, role, RIGHTS_OF_ROLE[role])

    def may(self, right: Right) -> bool:
        """Whether they may do what needs this right."""
        return right is Right.OPEN or right in self.rights


LOCAL = Identity.of_role("local", "administrator")
"""Whoever is on this machine, where the configuration lets them in without a log-in."""
