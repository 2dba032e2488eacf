"""Imports run down from the command line to `base` and never back: the floors of docs/architecture.md."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import whyray

SERVICE = Path(whyray.__file__).resolve().parents[1]
FLOORS: tuple[frozenset[str], ...] = tuple(
    frozenset(floor.split())
    for floor in (
        "base",
        "catalog config packages storage",
        "audit compression delivery imaging inference intake routing",
        "explain worklist",
        "quality",
        "onboarding results",
        "jobs reader_study",
        "admin",
        "app",
        "demo",
        "cli",
    )
)
"""Rooms of service/whyray, lowest first: a room imports rooms of lower floors alone."""
NOT_AT_RUN_TIME = {"whyray_docs", "whyray_training"}


@cache
def parsed(path: Path) -> ast.Module:
    """A file's syntax, read once for all tests."""
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def modules() -> dict[str, Path]:
    """Every module of ours by its dotted name."""
    named = {}
    for path in sorted(SERVICE.rglob("*.py")):
        parts = path.relative_to(SERVICE).with_suffix("").parts
        if "bundled" not in parts:
            named[".".join(parts).removesuffix(".__init__")] = path
    return named


MODULES = modules()


def imported(name: str, path: Path, *, when_loaded: bool = False) -> Iterator[str]:
    """Modules of ours that a module imports: all of them, or those alone that are imported as soon as it is."""
    tree = parsed(path)
    for node in _statements(tree, when_loaded=when_loaded):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("whyray"))
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports by dots"
            if (node.module or "").startswith("whyray"):
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    yield inner if inner in MODULES else str(node.module)


def _statements(tree: ast.AST, *, when_loaded: bool) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if when_loaded and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if when_loaded and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        yield from _statements(node, when_loaded=when_loaded)


def room_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "whyray" and len(parts) > 1 else None


ROOMS = {room for room in map(room_of, MODULES) if room not in (None, "__main__")}


def test_every_room_has_its_floor() -> None:
    assert set().union(*FLOORS) == ROOMS


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_room_imports_rooms_of_lower_floors_alone(room: str) -> None:
    floor = next(number for number, rooms in enumerate(FLOORS) if room in rooms)
    allowed = {room}.union(*FLOORS[:floor])
    upward = [
        f"{module} imports {other}"
        for module, path in MODULES.items()
        if room_of(module) == room
        for other in imported(module, path)
        if room_of(other) is not None and room_of(other) not in allowed
    ]
    assert upward == []


def test_nothing_at_run_time_imports_what_makes_the_docs_or_the_bundled_packages() -> None:
    reached = [
        f"{module} imports {other}"
        for module, path in MODULES.items()
        if module.split(".")[0] == "whyray"
        for other in imported(module, path)
        if other.split(".")[0] in NOT_AT_RUN_TIME
    ]
    assert reached == []


def test_no_modules_import_each_other_in_a_circle_when_they_are_loaded() -> None:
    imports = {
        module: {other for other in imported(module, path, when_loaded=True) if other != module}
        for module, path in MODULES.items()
    }
    # what a package's own __init__ hands on is no circle: its modules are named by their own paths
    faces = {module for module, path in MODULES.items() if path.name == "__init__.py"}
    remaining = {module: others - faces for module, others in imports.items() if module not in faces}
    while free := {module for module, others in remaining.items() if not others & remaining.keys()}:
        remaining = {module: others for module, others in remaining.items() if module not in free}
    assert sorted(remaining) == []


def has_face(package: str) -> bool:
    """Whether a package names in its `__init__` what it gives to others."""
    path = MODULES.get(package)
    return path is not None and path.name == "__init__.py" and "__all__" in path.read_text(encoding="utf-8")


def loaded_by(module: str) -> set[str]:
    """All modules of ours that are imported as soon as this one is, or when a face is asked for what it hands on."""
    loaded: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in loaded and name in MODULES:
            loaded.add(name)
            hands_on_late = "def __getattr__" in MODULES[name].read_text(encoding="utf-8")
            waiting += imported(name, MODULES[name], when_loaded=not hands_on_late)
    return loaded


def test_what_a_room_gives_is_imported_from_its_face() -> None:
    """But for modules that the face does not load: they are imported late, by those who need them."""
    behind = {room: loaded_by(f"whyray.{room}") for room in ROOMS if has_face(f"whyray.{room}")}
    past = [
        f"{module} imports {node.module}"
        for module, path in MODULES.items()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ImportFrom) and node.module in MODULES and module.split(".")[0] == "whyray"
        if (room := room_of(node.module)) in behind and room != room_of(module)
        if node.module in behind[room] and MODULES[node.module].name != "__init__.py"
    ]
    assert past == []


@pytest.mark.parametrize(
    ("room", "never"),
    [
        ("explain", {"pydicom", "highdicom", "pynetdicom", "sqlalchemy", "celery"}),
        ("quality", {"pydicom", "highdicom", "pynetdicom", "sqlalchemy", "celery"}),
        ("results", {"torch", "onnx", "onnxruntime", "pynetdicom", "sqlalchemy", "celery"}),
        ("intake", {"torch", "onnx", "onnxruntime", "highdicom"}),
        ("delivery", {"torch", "onnx", "onnxruntime", "highdicom"}),
    ],
)
def test_a_room_knows_nothing_of_what_is_not_its_business(room: str, never: set[str]) -> None:
    known = [
        f"{module} imports {name}"
        for module, path in MODULES.items()
        if room_of(module) == room
        for node in ast.walk(parsed(path))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
        if name.split(".")[0] in never
    ]
    assert known == []
