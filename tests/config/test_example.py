"""The example that ships is right, and deploy/ holds the same one."""

from __future__ import annotations

from pathlib import Path

from whyray.config import example_config, read_config


def test_the_example_can_be_obeyed(tmp_path: Path) -> None:
    config, problems = read_config(example_config(), folder=tmp_path, environ={})
    assert problems == ()
    assert config is not None
    assert [route.name for route in config.routes] == ["chest radiographs", "head CT"]


def test_the_example_in_deploy_is_the_one_that_ships_in_the_wheel() -> None:
    written = Path(__file__).resolve().parents[2] / "deploy" / "whyray.example.yaml"
    assert written.read_text("utf-8") == example_config()


def test_the_example_can_be_obeyed_with_every_commented_setting_switched_on(tmp_path: Path) -> None:
    text = "\n".join(_switched_on(line) for line in example_config().splitlines())
    environ = dict.fromkeys(("WHYRAY_ARCHIVE_TOKEN", "WHYRAY_CATALOG_URL", "WHYRAY_ADMIN_PASSWORD"), "x://y")
    config, problems = read_config(text, folder=tmp_path, environ=environ)
    assert problems == ()
    assert config is not None
    assert config.destinations["archive"].kind == "dicomweb"
    assert config.uid_root is not None
    assert config.admin.oidc is not None
    assert config.admin.logins[0].password.reveal() == "x://y"


def _switched_on(line: str) -> str:
    indent, mark, rest = line.partition("# ")
    settings = (
        "archive:",
        "  url:",
        "  token:",
        "accept_",
        "announce_to:",
        "PatientAge:",
        "not:",
        "storage:",
        "catalog:",
        "queue:",
        "packages:",
        "templates:",
        "oidc:",
        "  issuer:",
        "  client_id:",
        "  roles:",
        "logins:",
        "uid_root:",
    )
    return indent + rest if mark and not indent.strip() and rest.startswith(settings) else line
