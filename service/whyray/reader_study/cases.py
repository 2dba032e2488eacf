"""Cases that a study could show, as values: where they come from does not matter here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MaterialFilter:
    """Which answers become cases: one target, of these packages (all if none), explained by these methods (any)."""

    target: str
    packages: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()

    def takes(self, package: str) -> bool:
        """Whether NAME@VERSION is among the packages, named with or without version."""
        return not self.packages or any(
            package == wanted or package.startswith(f"{wanted}@") for wanted in self.packages
        )


@dataclass(frozen=True)
class Material:
    """One possible case. `keys` are the names under which a list of truths may know it; `source` is the first.

    `image` and `pages` are PNG; `said` is what the model says, in words.
    """

    keys: tuple[str, ...]
    image: bytes
    pages: tuple[bytes, ...]
    said: str
    model_says: bool
    probability: float | None
    package: str
    methods: tuple[str, ...]
    grades: tuple[str | None, ...]

    @property
    def source(self) -> str:
        """The study it comes from."""
        return self.keys[0]


@dataclass(frozen=True)
class Gathered:
    """Cases that can be made, and why the others can't."""

    material: tuple[Material, ...]
    left_out: tuple[str, ...]
