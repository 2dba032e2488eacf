"""docs/cli.md, made from the commands themselves, so that it can't fall behind them.

`python -m whyray_docs.commands > docs/cli.md` writes it.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from typing import Any

import typer

_PREFACE = """# The command line

One command, `whyray`. Every command tells about itself with `--help`; this page is made from the same words by
`python -m whyray_docs.commands > docs/cli.md`.

Whatever goes wrong is told in two lines on the error stream: what was expected and what was found, then what to do.
Exit code 0 says that all went well, 1 that the command did its work and the answer is 'no' or 'not all' (each command
says what that means), 2 that it could not be done as it was asked for, and 3 that all was made and an evaluation
withholds an explanation (`whyray explain`) or all of them (`whyray package onboard`, where most weights learned
nothing). 130 says that Ctrl-C stopped it. `whyray --log-level debug …` adds what
developers need; without it, no line names a patient.
"""


def cli_markdown(app: typer.Typer) -> str:
    """The page: one section for each command, in the order of `--help`, with its words, arguments and options."""
    root = typer.main.get_command(app)
    sections = [_PREFACE, _options_of_all(root)]
    for path, command in leaves(root):
        sections.append(_section(path, command))
    return "\n".join(sections)


def leaves(command: Any, path: tuple[str, ...] = ("whyray",)) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that does something, with the words that call it."""
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, subcommand in command.commands.items():
        if not subcommand.hidden:
            yield from leaves(subcommand, (*path, name))


def _options_of_all(root: Any) -> str:
    rows = [row for parameter in root.params if "completion" not in str(parameter.name) and (row := _row(parameter))]
    return "\n".join(["Options of all commands stand before the command's name.", "", *_table(rows)]) + "\n"


def _section(path: tuple[str, ...], command: Any) -> str:
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    usage = " ".join([*path, "[options]", *(_usage(argument) for argument in arguments)])
    lines = [f"## {' '.join(path)}", "", f"    {usage}", "", inspect.cleandoc(command.help or "").strip(), ""]
    rows = [row for parameter in command.params if (row := _row(parameter))]
    return "\n".join([*lines, *(_table(rows) if rows else [])]).rstrip() + "\n"


def _usage(argument: Any) -> str:
    name = str(argument.name).upper() + (" …" if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def _table(rows: list[str]) -> list[str]:
    return ["| option | meaning | default |", "| --- | --- | --- |", *rows]


def _row(parameter: Any) -> str:
    if parameter.name == "help":
        return ""
    if parameter.param_type_name == "argument":
        name = f"`{str(parameter.name).upper()}`"
    else:
        name = ", ".join(f"`{option}`" for option in (*parameter.opts, *parameter.secondary_opts))
    words, _, said = str(parameter.help or "").partition("[default: ")
    if parameter.envvar:
        words = f"{words.rstrip()} Also by the environment: `{parameter.envvar}`."
    return f"| {name} | {_one_line(words)} | {said.rstrip(']') or _default(parameter)} |"


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    value = getattr(parameter.default, "value", parameter.default)
    if value is None or value == "" or value == []:
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    from whyray.cli.main import app

    sys.stdout.write(cli_markdown(app))
