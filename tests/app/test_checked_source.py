"""Packages and methods are looked up in a process of its own, so that roles without models hold no runtime."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cli.conftest import packages, planted, site
from whyray.app import checked_source
from whyray.app.checked_source import CHECKED_BY_SUPERVISOR, fingerprint
from whyray.app.context import Context
from whyray.app.kept_config import STATE_OF_SUPERVISOR
from whyray.app.supervisor import supervisor_of
from whyray.base.errors import ConfigError

__all__ = ["packages", "planted", "site"]

NEVER = "onnx", "onnxruntime", "torch", "scipy", "skimage", "sklearn", "highdicom"


def refusal(site: Path, *, apart: bool) -> str:
    with pytest.raises(ConfigError) as refused:
        Context.open(site, check_apart=apart)
    return refused.value.message


def test_what_a_package_can_not_give_is_told_alike_whichever_process_finds_it(site: Path) -> None:
    site.write_text(site.read_text().replace("planted", "planned"))
    told = refusal(site, apart=True)
    assert told == refusal(site, apart=False)
    assert "planned" in told
    assert "line " in told


def test_a_role_that_has_checked_its_configuration_holds_no_runtime(site: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from whyray.app import roles
context = roles.Context.open(Path({str(site)!r}), check_apart=True)
assert context.config().routes
print([name for name in {NEVER!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_role_relies_on_what_its_supervisor_has_checked_and_on_nothing_else(
    site: Path, packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = Context.open(site)
    context.close()
    supervisor = supervisor_of(site, context.config())
    told = supervisor._environment(supervisor.roles[0])[CHECKED_BY_SUPERVISOR]
    assert told == fingerprint(context.config(), site.parent)
    shutil.rmtree(packages / "planted")
    monkeypatch.setenv(CHECKED_BY_SUPERVISOR, told)
    Context.open(site).close()
    site.write_text(site.read_text() + "\n# changed since\n")
    changed = Context.open(site)
    changed.close()
    assert "planted" in str(changed.source.refusal[0])


def test_a_check_that_dies_refuses_the_configuration_and_says_so(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checked_source.sys, "executable", "/bin/false")
    assert "could not be looked up: the process that does it ended with code 1" in refusal(site, apart=True)


def test_a_configuration_without_routes_needs_no_check(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checked_source.sys, "executable", "/bin/false")
    site.write_text(f"state: {site.parent / 'state'}\n")
    Context.open(site, check_apart=True).close()


def test_a_port_of_intake_and_admin_is_refused_by_the_roles_of_one_machine_alone(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = site.read_text()
    site.write_text(good + "\nadmin: {port: 11112}\n" if "admin:" not in good else good)
    Context.open(site).close()  # as a role in a container of its own does
    for folder in site.parent.glob("*/config"):
        shutil.rmtree(folder)
    with pytest.raises(ConfigError, match="port '11112' of the admin page is that of the DICOM listener too, on this"):
        Context.open(site, one_machine=True)
    monkeypatch.setenv(STATE_OF_SUPERVISOR, str(site.parent / "elsewhere"))
    with pytest.raises(ConfigError, match="run intake and admin on machines of their own"):
        Context.open(site)
