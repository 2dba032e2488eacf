"""A role starts while its configuration file is wrong: from the one that was last in force, and says so."""

from __future__ import annotations

import stat
import threading
from pathlib import Path
from typing import TypeVar

import pytest
import yaml
from sqlalchemy import select

from cli.conftest import Cli, cli, packages, planted, site
from whyray.app.context import Context, ProcessHeartbeat
from whyray.app.kept_config import STATE_OF_SUPERVISOR, config_to_ask_by
from whyray.app.supervisor import supervisor_of
from whyray.base.errors import ConfigError
from whyray.catalog import Catalog, Event, Process
from whyray.catalog.attention import attention
from whyray.catalog.shortages import Disks
from whyray.config import Config, Reload

Row = TypeVar("Row", Event, Process)
__all__ = ["cli", "packages", "planted", "site"]

WRONG = {
    "a key that nobody knows": "state: {state}\nroutse: []\n",
    "a reference that leads nowhere": "state: '{state}'  # here\nroutes: [{{name: a, when: {{}}, run: nothing@1}}]\n",
    "no YAML": 'state: "{state}"\nroutes: [\n',
    "a file that is cut off": "listener: {{",
    "not UTF-8": "state: {state}\n# caf\udce9\n",
}


def opened(site: Path) -> Context:
    context = Context.open(site)
    context.close()
    return context


@pytest.mark.parametrize("content", WRONG.values(), ids=WRONG)
def test_a_role_starts_from_the_last_good_configuration_while_the_file_is_wrong(content: str, site: Path) -> None:
    before = opened(site).config()
    site.write_bytes(content.format(state=site.parent / "state").encode("utf-8", "surrogateescape"))
    after = opened(site)
    assert after.config().routes == before.routes
    assert after.source.refusal


def test_it_starts_so_too_when_the_file_is_gone_and_the_supervisor_knows_the_state(
    site: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path_factory.mktemp("var") / "state"
    content = yaml.safe_load(site.read_text())
    site.write_text(yaml.safe_dump(content | {"state": str(elsewhere)}))
    opened(site)
    site.unlink()
    with pytest.raises(ConfigError, match="No such file"):
        Context.open(site)
    monkeypatch.setenv(STATE_OF_SUPERVISOR, str(elsewhere))
    assert opened(site).source.refusal


def test_a_first_start_with_a_wrong_file_refuses(site: Path) -> None:
    site.write_text(WRONG["a key that nobody knows"].format(state=site.parent / "state"))
    with pytest.raises(ConfigError, match="routse"):
        Context.open(site)


def test_what_another_file_said_is_not_taken_for_this_one(site: Path) -> None:
    opened(site)
    other = site.with_name("other.yaml")
    other.write_text(WRONG["no YAML"].format(state=site.parent / "state"))
    with pytest.raises(ConfigError):
        Context.open(other)


def test_the_kept_one_is_readable_by_its_owner_alone_since_it_may_hold_secrets(site: Path) -> None:
    opened(site)
    (kept,) = (site.parent / "state" / "config").iterdir()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert kept.read_bytes() == site.read_bytes()


def test_a_mended_file_is_in_force_at_once_and_is_what_is_kept_then(site: Path) -> None:
    good = site.read_text()
    opened(site)
    site.write_text("routes: [\nstate: " + str(site.parent / "state"))
    context = Context.open(site)
    with ProcessHeartbeat(context, "worker") as heartbeat:
        (told,) = rows(context.catalog, Process)
        assert "routes" in told.detail["config_refused"] or "line" in told.detail["config_refused"]
        (event,) = [event for event in rows(context.catalog, Event) if event.kind == "config.refused"]
        assert event.message.startswith("the old configuration stays in force: ")
        site.write_text(with_a_route_renamed(good))
        told = look_again(heartbeat, context)
        assert "config_refused" not in told.detail
    assert context.config().routes[0].name == "renamed"
    assert context.source.refusal == ()
    context.close()
    assert (site.parent / "state" / "config").joinpath(kept_name(site)).read_text() == site.read_text()


def test_what_a_role_can_t_do_is_refused_with_words_and_the_role_lives_on(site: Path) -> None:
    context = Context.open(site)
    good = site.read_text()
    taken = ConfigError("can't listen on 127.0.0.1 port 104", advice="Name a free one.")

    def obey(_: Config) -> None:
        raise taken

    with ProcessHeartbeat(context, "intake", obey=obey, detail=lambda: {"port": 11112}) as heartbeat:
        site.write_text(with_a_route_renamed(good))
        told = look_again(heartbeat, context)
        assert "can't listen on 127.0.0.1 port 104" in told.detail["config_refused"]
        assert told.detail["port"] == 11112
        (event,) = [event for event in rows(context.catalog, Event) if event.kind == "config.refused"]
        assert event.message.startswith("the old configuration stays in force: ")
        assert context.config().routes[0].name != "renamed"
        (kept,) = (site.parent / "state" / "config").iterdir()
        assert kept.read_text() == good, "what is started next starts from what could be obeyed"
    context.close()


def test_a_role_is_seen_and_looks_again_whatever_a_look_at_the_file_raises(
    site: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    context = Context.open(site)
    looks = threading.Semaphore(0)

    def reload(_: object) -> Reload:
        looks.release()
        raise KeyError("unforeseen")

    monkeypatch.setattr("whyray.app.context._RELOAD_EVERY", 0.001)
    monkeypatch.setattr(context.source, "reload_if_changed", reload)
    with ProcessHeartbeat(context, "intake"):
        for _ in range(3):
            assert looks.acquire(timeout=30)
    context.close()
    assert len([record for record in caplog.records if "KeyError" in record.getMessage()]) == 1, "logged once"


def with_a_route_renamed(content: str) -> str:
    changed = yaml.safe_load(content)
    changed["routes"][0]["name"] = "renamed"
    return str(yaml.safe_dump(changed))


def look_again(heartbeat: ProcessHeartbeat, context: Context) -> Process:
    """What is shown of a role after its next look at the file."""
    heartbeat._reload()
    heartbeat._seen()
    (told,) = rows(context.catalog, Process)
    return told


def opened_while_wrong(site: Path) -> Context:
    """A role's, begun after the file went wrong."""
    opened(site)
    site.write_text(WRONG["no YAML"].format(state=site.parent / "state"))
    return Context.open(site)


def kept_name(site: Path) -> str:
    (kept,) = (site.parent / "state" / "config").iterdir()
    return kept.name


def rows(catalog: Catalog, table: type[Row]) -> list[Row]:
    with catalog.read() as session:
        return list(session.scalars(select(table)))


def test_the_administrator_is_told_once_however_many_roles_look_at_the_wrong_file(site: Path) -> None:
    context = opened_while_wrong(site)
    with ProcessHeartbeat(context, "worker"), ProcessHeartbeat(context, "intake"), context.catalog.read() as session:
        entries = attention(session, context.catalog.clock(), destinations=["pacs"], disks=Disks())
        (refused,) = [entry for entry in entries if entry.kind == "config.refused"]
    assert refused.severity == "error"
    assert "stays in force" in refused.message
    context.close()


def test_status_says_that_an_older_configuration_is_in_force(cli: Cli, site: Path) -> None:
    context = opened_while_wrong(site)
    with ProcessHeartbeat(context, "worker"):
        said = cli("status", "--config", site)
    context.close()
    assert said.code == 0
    assert "the old configuration stays in force" in said.everything
    assert config_to_ask_by(site).routes


def test_serve_starts_from_the_kept_one_too(site: Path) -> None:
    context = opened_while_wrong(site)
    context.close()
    supervisor = supervisor_of(site, context.config())
    assert [role.name for role in supervisor.roles] == ["intake", "delivery", "admin", "worker 1"]
