"""The admin endpoint's actions out of other rooms: made here, given to `create_app` by who starts the process.

Models and network are imported when a tool is used: an admin process of its own need not load a runtime.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

from whyray.admin.site import Actions, ClauseVerdict, EchoOutcome, MethodInfo, PackageInfo, RouteVerdict
from whyray.base.errors import PackageError, WhyRayError
from whyray.config import Config
from whyray.routing import Match, is_own_result, match_series, match_study, read_header, series_of


def actions_of(
    config_source: Callable[[], Config],
    *,
    known: Callable[[str], bool],
) -> Actions:
    """All actions that this installation can give.

    Parameters
    ----------
    known
        Whether the catalog has a result of this SOP Instance UID: WhyRay's own results match no route.
    """
    return Actions(
        route_test=lambda paths: try_routes(config_source(), paths, known),
        echo=lambda name: echo_destination(config_source(), name),
        packages=lambda: installed_packages(config_source().packages.folders),
        methods=lambda: all_methods(config_source().packages.folders),
        kinds=all_kinds,
    )


def try_routes(config: Config, paths: Sequence[Path], known: Callable[[str], bool]) -> list[RouteVerdict]:
    """What each route says about each series of these files, which are taken for one study.

    Raises
    ------
    DecodeError
        For a file that is no DICOM file.
    """
    # the browser's own names of files may name a patient: they were not kept, so files are told by their number
    series = series_of(read_header(path, called=f"file {path.stem}") for path in paths)
    verdicts = []
    for candidate in series:
        own = is_own_result(candidate.header, config.uid_root, known)
        for route in config.routes:
            clauses = (
                *_guard(own),
                *_clauses(match_series(route, candidate.header, instances=candidate.instances), ""),
                *_clauses(match_study(route, series), "study: "),
                *([] if route.enabled else [ClauseVerdict("enabled", False, "false in the configuration")]),
            )
            matches = all(clause.held for clause in clauses)
            verdicts.append(RouteVerdict(route.name, candidate.uid, matches, clauses))
    return verdicts


def echo_destination(config: Config, name: str) -> EchoOutcome:
    """Whether a destination of the configuration answers, and how fast."""
    from whyray.delivery import Caller, echo

    began = time.perf_counter()
    try:
        answer = echo(config.destinations[name], Caller(config.listener.ae_title))
    except WhyRayError as error:
        return EchoOutcome(False, 1e3 * (time.perf_counter() - began), error.message, error.advice)
    return EchoOutcome(True, 1e3 * (time.perf_counter() - began), answer.words)


def _guard(own: str | None) -> list[ClauseVerdict]:
    return [] if own is None else [ClauseVerdict("not a result of WhyRay itself", False, own)]


def _clauses(match: Match, prefix: str) -> list[ClauseVerdict]:
    return [ClauseVerdict(prefix + clause.text, clause.matched, clause.value) for clause in match.clauses]


def all_methods(folders: Sequence[Path]) -> list[MethodInfo]:
    """All explanation methods, and which packages they can explain."""
    from whyray.admin.method_list import installed_methods

    return installed_methods(folders)


@lru_cache(maxsize=1)
def all_kinds() -> dict[str, str]:
    """The type of interpretability of each explanation method."""
    from whyray.admin.method_list import kinds

    return kinds()


def installed_packages(folders: Sequence[Path]) -> list[PackageInfo]:
    """All packages, the broken ones with their problem."""
    from whyray.packages import list_packages

    return [
        _package(package.folder, package.name, package.version, package.problem) for package in list_packages(folders)
    ]


def _package(folder: Path, name: str, version: str, problem: str | None) -> PackageInfo:
    # digesting all weights at each request of a live page would be waste: only when a file's size or time changed
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return _read(
        folder, name, version, problem, tuple((file.stat().st_size, file.stat().st_mtime_ns) for file in files)
    )


@lru_cache(maxsize=64)
def _read(
    folder: Path, name: str, version: str, problem: str | None, _files: tuple[tuple[int, int], ...]
) -> PackageInfo:
    from whyray.packages import read_package

    if problem is None:
        try:
            package = read_package(folder)
        except PackageError as error:
            problem = error.message
        else:
            manifest = package.manifest
            card = folder / manifest.card
            return PackageInfo(
                name=name,
                version=version,
                title=manifest.title,
                task=manifest.task,
                tier=_tier(package.report),
                targets=tuple(target.name for target in manifest.targets if not target.background),
                digest=package.digest,
                licence=manifest.licence,
                intended_use=manifest.intended_use,
                card=card.read_text("utf-8") if card.is_file() else "The package has no model card.",
                problem=None,
            )
    return PackageInfo(name, version, "", "", "unknown", (), "", "", "", "", problem)


def _tier(report: Path) -> str:
    try:
        return str(json.loads(report.read_text("utf-8"))["tier"])
    except (OSError, ValueError, KeyError):
        return "not onboarded"
