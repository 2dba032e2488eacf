"""What deploy/ holds is true: commands exist, configurations can be obeyed, and the wheel carries what it needs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer.main
import yaml

from certificates import Authority
from whyray.app.checked_config import load_checked_config
from whyray.cli.main import app
from whyray.config import example_config, load_config

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMMANDS = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def test_every_service_of_the_compose_file_runs_a_command_that_exists() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    ours = {
        name: service
        for name, service in compose["services"].items()
        if str(service.get("image", "")).startswith("whyray")
    }
    assert {service["command"][0] for service in ours.values()} == {"intake", "worker", "delivery", "admin"}
    assert {service["command"][0] for service in ours.values()} <= COMMANDS
    named = {secret for service in compose["services"].values() for secret in service.get("secrets", [])}
    assert named == set(compose["secrets"])
    for service in compose["services"].values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in compose["volumes"] or (DEPLOY / source).exists(), volume


def test_the_compose_files_configuration_can_be_obeyed() -> None:
    config = load_checked_config(DEPLOY / "site" / "whyray.yaml", read_secrets=False)
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    assert f"{config.listener.port}:{config.listener.port}" in compose["services"]["intake"]["ports"]
    for destination in config.destinations.values():
        assert destination.host in compose["services"]


def _switched_on(file: str) -> str:
    """A file of deploy/ with what it offers in comments: lines whose comment is YAML."""
    offered = re.compile(r"^( *)# ( *(?:- \S|[a-z_]+:(?: |$)))", re.MULTILINE)
    return offered.sub(r"\1\2", (DEPLOY / file).read_text())


def test_what_the_compose_file_offers_in_comments_is_what_its_configuration_offers_in_comments(tmp_path: Path) -> None:
    """It mounted no certificate, published neither port of TLS and STOW-RS, and had no place for packages of a site."""
    compose = yaml.safe_load(_switched_on("compose.yaml"))
    certificate, key = Authority(tmp_path / "tls", "hospital").signs("whyray")
    mounts = dict(mount.split(":")[:2][::-1] for mount in compose["services"]["intake"]["volumes"])
    text = _switched_on("site/whyray.yaml")
    for file, there in (("whyray.crt", certificate), ("whyray.key", key)):
        assert mounts["/etc/whyray/tls"] == "./site/tls"
        text = text.replace(f"/etc/whyray/tls/{file}", str(there))
    for folder in ("packages", "templates"):
        assert mounts[f"/etc/whyray/{folder}"] == f"./site/{folder}"
        assert f"/etc/whyray/{folder}" in text
        (tmp_path / folder).mkdir()
        text = text.replace(f"/etc/whyray/{folder}", str(tmp_path / folder))
    written = tmp_path / "whyray.yaml"
    written.write_text(text)
    config = load_checked_config(written, read_secrets=False)
    assert config.listener.tls is not None
    assert config.listener.dicomweb is not None
    assert config.listener.dicomweb.tls is not None
    assert config.admin.tls is not None
    ports = compose["services"]["intake"]["ports"]
    for port in (config.listener.port, config.listener.tls.port, config.listener.dicomweb.port):
        assert f"{port}:{port}" in ports
    worker = compose["services"]["worker"]["volumes"]
    assert worker == compose["services"]["intake"]["volumes"], "a package is computed by the worker"


def test_the_example_is_what_the_command_prints_and_can_be_obeyed() -> None:
    assert (DEPLOY / "whyray.example.yaml").read_text() == example_config()
    load_config(DEPLOY / "whyray.example.yaml")


def test_orthancs_configuration_knows_whyray_where_the_compose_file_runs_it() -> None:
    settings = json.loads((DEPLOY / "orthanc" / "orthanc.json").read_text())
    config = load_config(DEPLOY / "site" / "whyray.yaml", read_secrets=False)
    modality = settings["DicomModalities"]["WHYRAY"]
    assert (modality["AET"], modality["Port"]) == (config.listener.ae_title, config.listener.port)
    assert settings["DicomAet"] in config.listener.peers
    assert "/modalities/WHYRAY/store" in (DEPLOY / "orthanc" / "route-to-whyray.lua").read_text()


def test_the_systemd_unit_runs_commands_that_exist() -> None:
    unit = (DEPLOY / "systemd" / "whyray.service").read_text()
    called = re.findall(r"^Exec\w+=-?/opt/whyray/bin/whyray (\w+)", unit, re.MULTILINE)
    assert called == ["config", "serve"]
    assert set(called) <= COMMANDS


def test_the_dockerfile_copies_what_is_there_and_starts_commands_that_exist() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    for line in lines:
        if line.startswith("COPY ") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert (ROOT / source).exists(), line
        if line.startswith(("CMD", "HEALTHCHECK")):
            words = json.loads(line[line.index("[") :])
            assert (words[1] if words[0] == "whyray" else words[0]) in COMMANDS
    targets = [line.split()[-1] for line in lines if line.startswith("FROM")]
    assert {"cpu", "cuda"} <= set(targets)
    assert sum(line.startswith("USER 10001") for line in lines) == 2


@pytest.mark.timeout(300)
def test_the_wheel_carries_packages_templates_and_pages(tmp_path: Path) -> None:
    """The step of the Dockerfile that can go wrong unseen: an installed copy, run away from the repository."""
    target = tmp_path / "installed"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*install, "--target", str(target), str(ROOT)], check=True, cwd=tmp_path)
    environment = os.environ | {"PYTHONPATH": str(target)}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "whyray", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "cxr-findings" in run("package", "list")
    assert "in order" in run("template", "check")
    assert "listener" in run("config", "example")
    assert (target / "whyray" / "admin" / "templates").is_dir()
    assert (target / "whyray" / "admin" / "static").is_dir()


def test_every_extra_stands_in_the_table_of_extras() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    told = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "install.md").read_text(), flags=re.MULTILINE)
    assert sorted(told) == sorted(extras)
