"""What onboarding measured of a package, read back: believed only while the package is what it was then."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, cast

from whyray.base.errors import PackageError
from whyray.packages.package import Package

Tier = Literal["T0", "T1", "T2"]


def read_report(package: Package) -> dict[str, Any] | None:
    """The onboarding report; None without one. PackageError where it is unreadable, or of a package changed since."""
    path = package.report
    if not path.is_file():
        return None
    try:
        report = _parsed(path.read_text(encoding="utf-8"))
        digest, _ = report["digest"], report["tier"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PackageError(f"{path}: not an onboarding report: {error!r}", advice="Onboard it again.") from error
    if digest != package.digest:
        identity = f"{package.manifest.name}@{package.manifest.version}"
        raise PackageError(
            f"{path}: the package was changed after it was onboarded: {package.digest[:12]} now, {digest[:12]} then",
            advice=f"`whyray package onboard` {identity} again, or restore its files.",
        )
    return report


@lru_cache(maxsize=16)
def _parsed(text: str) -> dict[str, Any]:
    """By its very text, for it is read several times a map; nobody changes what it holds."""
    report: dict[str, Any] = json.loads(text)
    return report


def tier_in(report: dict[str, Any], package: Package) -> Tier:
    """The tier that a report states; PackageError where it is none."""
    tier = report["tier"]
    if tier not in ("T0", "T1", "T2"):
        raise PackageError(f"{package.report}: tier {tier!r} is none of T0, T1, T2", advice="Onboard it again.")
    return cast(Tier, tier)


def proofs_in(report: Mapping[str, Any] | None) -> Sequence[Mapping[str, Any]]:
    """Engines whose gradients a report says were proven: engine, converter, providers, and versions of what judged.

    Empty without a report, and of one that an earlier version wrote.
    """
    proofs = None if report is None else report.get("proofs")
    return proofs if isinstance(proofs, list) else ()
