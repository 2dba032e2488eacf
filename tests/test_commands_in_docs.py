"""Commands that the documentation names exist as they are written: programs, subcommands, options, targets, files."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from whyray.cli.main import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
_FENCED = re.compile(r"^```(?:sh|bash|shell|console)?\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:^ {4}.+\n)+", re.MULTILINE)
_SPAN = re.compile(r"`([^`]+)`")
_PROGRAMS = ("whyray", "make", "python", "python3")
_SETTING = re.compile(r"[A-Z][A-Z_]*=\S*$")
_OPTION = re.compile(r"--?[a-z][a-z-]*$")


def commands_in(text: str) -> Iterator[list[str]]:
    """The words of each command of these programs in blocks and spans of code, without variables set before it."""
    lines = []
    for block in (*_FENCED.findall(text), *_INDENTED.findall(text)):
        lines += block.replace("\\\n", " ").splitlines()
    for span in _SPAN.findall(re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)):
        lines.append(" ".join(span.split()))
    for line in lines:
        words = _words(line)
        while words and _SETTING.match(words[0]):
            words = words[1:]
        if len(words) > 1 and Path(words[0]).name in _PROGRAMS and "…" not in words[0]:
            yield [Path(words[0]).name, *words[1:]]


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line.strip().removeprefix("$ "), comments=True)
    except ValueError:  # a sentence with an apostrophe
        return []


def cases() -> list[Any]:
    commands = {}
    for page in PAGES:
        for words in commands_in(page.read_text("utf-8")):
            commands.setdefault(" ".join(words), pytest.param(words, id=f"{page.name}: {' '.join(words)}"))
    return list(commands.values())


@pytest.mark.parametrize("words", cases())
def test_a_command_of_the_documentation_exists_as_it_is_written(words: list[str]) -> None:
    program, *rest = words
    if program == "whyray":
        _check_whyray(rest)
    elif program == "make":
        _check_make(rest)
    else:
        _check_python(rest)


def test_commands_of_every_kind_are_found_and_what_does_not_exist_is_told() -> None:
    page = "`whyray jobs`, \n    make tests\n\n```\nA=b .venv/bin/python tests/none.py --fast  # why\n```\n`make it so`"
    commands = list(commands_in(page))
    assert [command[0] for command in commands] == ["python", "make", "whyray", "make"]
    for words in commands:
        with pytest.raises(AssertionError):
            test_a_command_of_the_documentation_exists_as_it_is_written(words)


def _check_whyray(words: list[str]) -> None:
    command: Any = typer.main.get_command(app)
    options = _options(command)
    while words and hasattr(command, "commands") and not words[0].startswith(("-", "…", "[")):
        assert words[0] in command.commands, f"no command {words[0]}: {sorted(command.commands)}"
        command, words = command.commands[words[0]], words[1:]
        options |= _options(command)
    for word in words:
        option = word.partition("=")[0].strip("[](),.…")
        if _OPTION.match(option):
            assert option in options | {"--help"}, f"no option {option}: {sorted(options)}"


def _options(command: Any) -> set[str]:
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}


def _check_make(words: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    variables = set(re.findall(r"\$\(([A-Z]+)\)|^([A-Z]+) [?:]?=", makefile, re.MULTILINE))
    known = {name for pair in variables for name in pair if name}
    assert words[0] in targets or "=" in words[0], f"no target {words[0]}: {sorted(targets)}"
    for word in words[1:]:
        name, has_value, value = word.partition("=")
        if has_value:
            assert name in known, f"no variable {name} in the Makefile"
            if name == "CHAOS":
                _check_options_of((ROOT / "tests/chaos/__main__.py").read_text("utf-8"), shlex.split(value))
        else:
            assert word in targets, f"no target {word}: {sorted(targets)}"


def _check_python(words: list[str]) -> None:
    if words[0] == "-m":
        name, rest = words[1], words[2:]
        if name in ("pip", "pytest"):
            paths = [word for word in rest if word.startswith("tests")]
            assert all((ROOT / path).exists() for path in paths), paths
            return
        source = _source_of(name)
    elif words[0].endswith(".py"):
        source, rest = ROOT / words[0], words[1:]
    else:
        return
    assert source.is_file(), f"no file {source}"
    _check_options_of(source.read_text("utf-8"), rest)


def _source_of(module: str) -> Path:
    beside = ROOT / "tests" / module.replace(".", "/")
    for file in (beside.with_suffix(".py"), beside / "__main__.py"):
        if file.is_file():
            return file
    spec = importlib.util.find_spec(module)
    assert spec is not None, f"no module {module}"
    assert spec.origin is not None
    return Path(spec.origin)


def _check_options_of(source: str, words: list[str]) -> None:
    for word in words:
        option = word.partition("=")[0].strip("[](),.…")
        if _OPTION.match(option):
            parameter = option.removeprefix("--").replace("-", "_")  # as typer has it
            of_typer = "typer.run(" in source and re.search(rf"^    {parameter}: ", source, re.MULTILINE)
            assert f'"{option}"' in source or of_typer or option == "--help", f"no option {option}"
