"""The command line teaches, is quick to ask, and tells whatever goes wrong in two lines."""

from __future__ import annotations

import logging
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from cli.conftest import Cli
from whyray import packages
from whyray.cli.entry import PlainRole, plain_role
from whyray.cli.main import app
from whyray_docs.commands import cli_markdown, leaves

PAGE = Path(__file__).resolve().parents[2] / "docs" / "cli.md"
COMMANDS = {" ".join(path[1:]): command for path, command in leaves(typer.main.get_command(app))}


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """The command line sets up logging for the whole process."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    with warnings.catch_warnings():
        yield
    root.handlers[:] = before
    root.setLevel(level)


def test_the_page_is_the_one_that_the_commands_give() -> None:
    """If this fails: python -m whyray_docs.commands > docs/cli.md."""
    assert PAGE.read_text("utf-8") == cli_markdown(app)


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_every_command_teaches_by_sentences_and_an_example(command: Any) -> None:
    words = command.help
    assert "Example" in words
    first = words.strip().partition("\n\n")[0]
    assert first[0].isupper()
    assert first.endswith(".")
    assert "`whyray " in words
    for parameter in command.params:
        if parameter.name != "help":
            text = parameter.help.partition("[default")[0].strip()
            assert text.endswith((".", "11112")), parameter.name
            assert text[0].isupper() or text.startswith(("auto", "debug")), parameter.name


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command_is_printed(cli: Cli, name: str) -> None:
    said = cli(*name.split(), "--help")
    assert said.code == 0
    assert "Usage:" in said.out
    assert said.err == ""


def test_every_command_that_answers_by_exit_code_says_what_the_codes_mean() -> None:
    silent = {"config schema", "config example", "template schema", "package list", "package show", "package methods"}
    for name, command in COMMANDS.items():
        assert ("Exit code" in command.help) == (name not in silent), name


def test_asking_for_help_loads_no_runtime_so_that_it_is_quick() -> None:
    heavy = (
        "torch",
        "onnxruntime",
        "celery",
        "highdicom",
        "scipy",
        "pynetdicom",
        "pydicom",
        "sqlalchemy",
        "pydantic",
        "rich",
    )
    code = f"import sys, whyray.cli.main; print([each for each in {heavy!r} if each in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_role_that_decodes_no_pixels_loads_neither_what_does_nor_what_it_may_never_send_with() -> None:
    never = (
        *("numpy", "PIL", "gdcm", "openjpeg", "jpeg_ls", "requests", "scipy", "skimage", "sklearn"),
        *("onnx", "onnxruntime", "torch"),
        *("highdicom", "alembic", "celery", "kombu", "redis", "httpx", "cryptography", "typer", "rich", "pydantic.v1"),
    )
    code = f"""
import sys
from whyray.cli import entry
from whyray.app.role_program import light_by_day_and_night
light_by_day_and_night()
from whyray.app import roles
import whyray.intake, whyray.routing, whyray.worklist, whyray.delivery, whyray.audit, whyray.packages
loaded = lambda *names: sorted(name for name in names if sys.modules.get(name) is not None)
print(loaded(*{never!r}, "starlette", "uvicorn"))
import whyray.admin
from fastapi.encoders import jsonable_encoder
jsonable_encoder(type("Made", (), {{}})())
print(loaded(*{never!r}))
import numpy, PIL.Image
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", "[]"]


def test_explaining_loads_nothing_that_an_ordinary_radiograph_does_not_need() -> None:
    never = (
        *("torch", "sklearn", "scipy.stats", "matplotlib", "gdcm", "urllib.request", "ssl", "requests", "tqdm"),
        *("sqlalchemy", "pynetdicom", "celery", "redis", "starlette", "whyray.config.model"),
    )
    code = f"""
import sys
sys.argv = ["whyray", "explain", "/nowhere/to/be/found.dcm", "--package", "cxr-findings", "--out", "out"]
from whyray.cli.entry import main
try:
    main()
except SystemExit:
    pass
assert sys.modules["whyray.jobs.files"], "it came as far as that"
print([name for name in {never!r} if sys.modules.get(name) is not None])
import gdcm, urllib.request, requests
from importlib.metadata import entry_points
assert entry_points(group="pylibjpeg.pixel_data_decoders")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]"]
    assert "/nowhere/to/be/found.dcm" in done.stderr


def test_a_role_on_sqlite_loads_neither_another_database_nor_what_migrates() -> None:
    code = """
import sys
import whyray.app.roles, whyray.admin, whyray.delivery, whyray.jobs.result_notices
from whyray.catalog import Catalog
Catalog(sys.argv[1], apart=True).close()
print([name for name in ("sqlalchemy.dialects.postgresql", "alembic", "mako", "redis") if name in sys.modules])
"""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/catalog.sqlite"
        done = subprocess.run([sys.executable, "-c", code, url], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"
        assert Path(folder, "catalog.sqlite").stat().st_size > 0


@pytest.mark.parametrize(
    ("arguments", "plain"),
    [
        (["intake"], PlainRole("intake", Path("whyray.yaml"), "info")),
        (["admin", "--config", "a.yaml"], PlainRole("admin", Path("a.yaml"), "info")),
        (["--log-level", "debug", "worker", "-c", "a.yaml"], PlainRole("worker", Path("a.yaml"), "debug")),
        (["--log-level", "loud", "worker"], None),
        (["delivery", "--help"], None),
        (["delivery", "--config"], None),
        (["serve"], None),
        (["--version"], None),
        ([], None),
    ],
)
def test_a_role_asked_for_in_plain_words_starts_without_the_command_line(
    arguments: list[str], plain: PlainRole | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WHYRAY_CONFIG", raising=False)
    monkeypatch.delenv("WHYRAY_LOG_LEVEL", raising=False)
    assert plain_role(arguments) == plain


def test_a_role_in_plain_words_heeds_the_same_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHYRAY_CONFIG", "/etc/whyray/whyray.yaml")
    monkeypatch.setenv("WHYRAY_LOG_LEVEL", "warning")
    assert plain_role(["intake"]) == PlainRole("intake", Path("/etc/whyray/whyray.yaml"), "warning")


def test_a_worker_loads_no_library_that_it_may_never_need() -> None:
    heavy = "sklearn", "scipy.stats", "torch"
    code = f"import sys, whyray.jobs.worker; print([each for each in {heavy!r} if each in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_version_is_told(cli: Cli) -> None:
    said = cli("--version")
    assert said.code == 0
    assert said.out.startswith("whyray 0.")


@pytest.mark.parametrize("arguments", [("explan",), ("explain",), ("--log-level", "loud", "status"), ("send", "x")])
def test_a_command_that_is_misspelt_or_incomplete_is_refused_with_usage(cli: Cli, arguments: tuple[str, ...]) -> None:
    said = cli(*arguments)
    assert said.code == 2
    assert "Usage:" in said.err
    assert "Traceback" not in said.everything


@pytest.mark.parametrize("role", ["serve", "intake", "worker", "delivery", "admin"])
def test_a_role_does_not_start_on_a_configuration_that_cannot_be_obeyed(cli: Cli, role: str, tmp_path: Path) -> None:
    cli(role, "--config", tmp_path / "nowhere.yaml").refused("ConfigError", "nowhere.yaml")
    assert not list(tmp_path.iterdir())


def test_a_defect_is_told_in_two_lines_that_quote_nothing(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("Doe^Jane")

    monkeypatch.setattr(packages, "list_packages", broken)
    said = cli("package", "list")
    said.refused("InternalError", "RuntimeError in cli/package.py line ", "--log-level debug")
    assert "Doe" not in said.everything
    assert "Traceback" in cli("--log-level", "debug", "package", "list").err


def test_what_libraries_log_about_data_sets_is_not_shown(cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    cli("package", "methods", "rise")
    import pydicom.config

    pydicom.config.debug(False, False)  # as at its import: it sets its own level
    logging.getLogger("pydicom.valuerep").error("Doe^Jane is no valid PN")
    logging.getLogger("whyray.test").error("heard")
    told = capsys.readouterr().err
    assert "Doe" not in told
    assert "heard" in told
