"""All explanation methods as an administrator sees them: what they say, and which packages they can explain.

Imported when the page asks for it: it loads the runtime.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import get_args

from whyray.admin.site import MethodInfo, PackageMethod, ParameterInfo
from whyray.base.errors import WhyRayError
from whyray.explain import AnyMethod, Kind, methods, why_not
from whyray.inference import load_package
from whyray.packages import list_packages

Files = tuple[tuple[int, int], ...]


def installed_methods(folders: Sequence[Path]) -> list[MethodInfo]:
    """Every method by type, in the order of the nine types, with what each installed package lacks for it."""
    entries = list_packages(folders)
    # one package's companion may be another one: a change of any asks all of them again
    state = tuple(file_state for entry in entries for file_state in _state(entry.folder))
    packages = {
        f"{entry.name}@{entry.version}": _judged(entry.folder, state, tuple(folders))
        for entry in entries
        if entry.problem is None and entry.manifest is not None and entry.manifest.targets
    }
    return [
        _method(method, tuple(PackageMethod(package, *verdicts[method.name]) for package, verdicts in packages.items()))
        for method in _by_type()
    ]


def kinds() -> dict[str, str]:
    """The type of each method, in the order of the nine types."""
    return {method.name: method.kind for method in _by_type()}


def _by_type() -> list[AnyMethod]:
    order = {kind: number for number, kind in enumerate(get_args(Kind))}
    return sorted(methods(), key=lambda method: (order[method.kind], method.tier, method.name))


def _state(folder: Path) -> Files:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return tuple((file.stat().st_size, file.stat().st_mtime_ns) for file in files)


@lru_cache(maxsize=64)
def _judged(folder: Path, _files: Files, search: tuple[Path, ...]) -> dict[str, tuple[bool, str | None, str | None]]:
    """By method: whether this package can be explained by it, and if not, why and what to do.

    Kept until a file of any package changes: a live page asks every two seconds.
    """
    model = load_package(folder, search=search)
    verdicts = {}
    for method in methods():
        try:
            refusal = why_not(method, model)
        except WhyRayError as error:
            refusal = error
        verdicts[method.name] = (
            refusal is None,
            refusal.message if refusal else None,
            refusal.advice if refusal else None,
        )
    return verdicts


def _method(method: AnyMethod, packages: Iterable[PackageMethod]) -> MethodInfo:
    doc = inspect.getdoc(method) or ""
    return MethodInfo(
        name=method.name,
        kind=method.kind,
        tier=method.tier,
        says=" ".join(doc.partition("\n\n")[0].split()),
        doc=doc,
        tasks=tuple(method.tasks),
        unit=method.unit,
        signed=method.signed,
        stochastic=method.stochastic,
        deliverable=method.deliverable,
        parameters=tuple(
            ParameterInfo(name, _written(field.default)) for name, field in method.Parameters.model_fields.items()
        ),
        packages=tuple(packages),
    )


def _written(default: object) -> str:
    return "null" if default is None else str(default).lower() if isinstance(default, bool) else str(default)
