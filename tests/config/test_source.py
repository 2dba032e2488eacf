"""A configuration is replaced as a whole, by content, and only by one that can be obeyed."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

import pytest

from whyray.base.errors import ConfigError
from whyray.config import Config, ConfigSource, Problem, Reload


def at_once(_: float) -> None:
    """No pause between the two readings of a changed file."""


def text(name: str, peers: int = 1) -> str:
    listed = ", ".join(f"PEER_{index}: 10.0.0.{index}" for index in range(1, peers + 1))
    return f"listener: {{peers: {{{listed}}}}}\nroutes:\n  - {{name: {name}, when: {{}}, run: p}}\n"


def source(file: Path, content: str = text("first")) -> ConfigSource:
    file.write_text(content)
    return ConfigSource(file, pause=at_once)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "whyray.yaml"


def test_nothing_happens_while_the_file_stays_the_same(file: Path) -> None:
    config = source(file)
    os.utime(file, (1, 1))
    assert config.reload_if_changed() == Reload(False)


def test_a_changed_file_is_put_in_force(file: Path) -> None:
    config = source(file)
    file.write_text(text("second", peers=3))
    assert config.reload_if_changed() == Reload(True)
    assert config.current.routes[0].name == "second"
    assert set(config.current.listener.peers) == {"PEER_1", "PEER_2", "PEER_3"}
    assert config.reload_if_changed() == Reload(False)


def test_a_file_that_is_replaced_by_rename_with_the_same_size_and_time_is_seen(file: Path) -> None:
    config = source(file, text("aaaaa"))
    before = file.stat()
    new = file.with_suffix(".new")
    new.write_text(text("bbbbb"))
    os.utime(new, ns=(before.st_atime_ns, before.st_mtime_ns))
    new.replace(file)
    assert config.reload_if_changed().changed
    assert config.current.routes[0].name == "bbbbb"


def test_a_broken_file_leaves_the_old_one_in_force_and_is_told_once(file: Path) -> None:
    config = source(file)
    file.write_text(text("second") + "listner: {}\n")
    reload = config.reload_if_changed()
    assert not reload.changed
    assert [problem.line for problem in reload.errors] == [4]
    assert config.current.routes[0].name == "first"
    assert config.reload_if_changed() == Reload(False)
    file.write_text(text("third"))
    assert config.reload_if_changed() == Reload(True)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"routes: ["])
def test_an_empty_or_unreadable_file_leaves_the_old_one_in_force(file: Path, content: bytes) -> None:
    config = source(file)
    file.write_bytes(content)
    assert config.reload_if_changed().errors
    assert config.current.routes[0].name == "first"


def test_a_first_start_without_a_file_or_with_a_folder_says_what_to_do(tmp_path: Path) -> None:
    """It said to correct the line named, where none was."""
    for path, advice in ((tmp_path / "none.yaml", "config example"), (tmp_path, "may read it")):
        with pytest.raises(ConfigError) as refused:
            ConfigSource(path, pause=at_once)
        assert advice in refused.value.advice


def test_a_file_that_is_gone_is_told_once_and_one_that_is_back_is_not_a_change(file: Path) -> None:
    config = source(file)
    file.unlink()
    assert "No such file" in str(config.reload_if_changed().errors[0])
    assert config.reload_if_changed() == Reload(False)
    file.write_text(text("first"))
    config.reload_if_changed()
    assert config.current.routes[0].name == "first"


def test_a_half_written_file_is_read_again_until_it_stays_the_same(file: Path) -> None:
    writes = [text("second", peers=2)]

    def write_the_rest(_: float) -> None:
        if writes:
            file.write_text(writes.pop())

    file.write_text(text("first", peers=2))
    config = ConfigSource(file, pause=write_the_rest)
    file.write_text("listener: {peers: {}}\n")
    assert config.reload_if_changed().changed
    assert set(config.current.listener.peers) == {"PEER_1", "PEER_2"}
    assert config.current.routes[0].name == "second"


def test_further_checks_can_refuse_a_file(file: Path) -> None:
    def check(config: Config) -> tuple[Problem, ...]:
        return tuple(
            Problem(("routes", index), "unwanted", config.line(("routes", index)))
            for index, route in enumerate(config.routes)
            if route.name == "unwanted"
        )

    file.write_text(text("first"))
    config = ConfigSource(file, check=check, pause=at_once)
    file.write_text(text("unwanted"))
    assert str(config.reload_if_changed().errors[0]) == "line 3: routes[0]: unwanted"
    assert config.current.routes[0].name == "first"
    with pytest.raises(ConfigError, match="unwanted"):
        ConfigSource(file, check=check)


def test_a_changed_file_of_a_secret_is_a_change(file: Path) -> None:
    (file.parent / "token").write_text("old")
    config = source(file, "admin: {token: {file: token}}\n")
    (file.parent / "token").write_text("new")
    assert config.reload_if_changed().changed
    assert config.current.admin.token is not None
    assert config.current.admin.token.reveal() == "new"


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ("listener: {dicomweb: {tls: {certificate: c.pem, key: k.pem, authorities: a.pem}}}", "listener.dicomweb.tls"),
        ("admin: {tls: {certificate: c.pem, key: k.pem}}", "admin.tls"),
        ("admin: {proxies: [10.0.0.9]}", "admin.proxies"),
    ],
)
def test_who_asks_for_certificates_or_believes_a_proxy_is_told_that_it_takes_a_restart(
    file: Path, more: str, named: str
) -> None:
    """It was said to be in force while everybody was let in as before."""
    tls = "listener: {dicomweb: {tls: {certificate: c.pem, key: k.pem}}}"
    before = {"listener": tls, "admin": "admin: {port: 8080}"}
    config = source(file, before[more.partition(":")[0]] + "\n")
    file.write_text(more + "\n")
    assert named in config.reload_if_changed().restart


def test_settings_that_need_a_restart_are_named(file: Path) -> None:
    config = source(file, "listener: {processes: 1}\n")
    file.write_text("listener: {processes: 2, port: 2, peers: {A: any}}\nworkers: {count: 2}\n")
    assert config.reload_if_changed() == Reload(True, restart=("listener.processes", "workers.count"))


def test_what_can_t_be_done_as_a_new_file_says_refuses_that_file_and_is_told_once(file: Path) -> None:
    config = source(file, text("old"))
    asked: list[Config] = []

    def obey(wanted: Config) -> None:
        asked.append(wanted)
        assert config.current.routes[0].name == "old", "not in force yet"
        raise ConfigError("can't listen on 127.0.0.1 port 104", advice="Name a free one.")

    file.write_text(text("new"))
    refused = config.reload_if_changed(obey)
    assert [str(error) for error in refused.errors] == ["can't listen on 127.0.0.1 port 104; Name a free one."]
    assert not refused.changed
    assert config.current.routes[0].name == "old"
    assert config.refusal == refused.errors
    assert config.reload_if_changed(obey) == Reload(False)
    assert {config.routes[0].name for config in asked} == {"new"}
    file.write_text(text("newer"))
    assert config.reload_if_changed().changed
    assert config.current.routes[0].name == "newer"


def test_what_could_not_be_done_is_tried_again_soon_and_then_more_seldom_though_the_file_stays(file: Path) -> None:
    config = source(file, text("old"))
    file.write_text(text("new"))
    hindrances = ["port 104 is taken"] * 3 + ["no certificate"] * 8
    looks: list[int] = []

    def obey(_: Config) -> None:
        looks.append(look)
        if hindrances:
            raise ConfigError(hindrances.pop(0))

    told: dict[int, str] = {}
    for look in range(200):
        reload = config.reload_if_changed(obey)
        if reload.errors:
            told[look] = reload.errors[0].message
        if reload.changed:
            break
    assert looks[:6] == [0, 1, 3, 7, 15, 31]
    assert looks[-1] - looks[-2] == 16, "never more seldom than at every 16th look"
    assert told == {0: "port 104 is taken", 7: "no certificate"}, "once each"
    assert config.current.routes[0].name == "new"
    assert config.refusal == ()
    assert config.reload_if_changed(obey) == Reload(False)


def test_whatever_is_raised_by_what_a_new_file_asks_for_refuses_it_and_is_logged_once(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = source(file, text("old"))
    file.write_text(text("new"))

    def obey(_: Config) -> None:
        raise KeyError("plain")

    with caplog.at_level(logging.ERROR):
        (problem,) = config.reload_if_changed(obey).errors
        assert [config.reload_if_changed(obey) for _ in range(5)] == [Reload(False)] * 5
    assert problem.message.startswith("KeyError in ")
    assert len(caplog.records) == 1
    assert config.current.routes[0].name == "old"
    file.write_text(text("old"))
    assert config.reload_if_changed().changed, "what was in force can be obeyed again"
    assert config.refusal == ()


def test_readers_never_see_a_mixture_while_files_are_swapped_under_them(file: Path) -> None:
    contents = [text(f"n{count}", peers=count) for count in range(1, 6)]
    config = source(file, contents[0])
    mixtures: list[Config] = []
    changes: list[Reload] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen = config.current
            if seen.routes[0].name != f"n{len(seen.listener.peers)}":
                mixtures.append(seen)

    def reload() -> None:
        while not done.is_set():
            changes.append(config.reload_if_changed())

    threads = [threading.Thread(target=target) for target in (read, read, reload, reload)]
    for thread in threads:
        thread.start()
    for turn in range(60):
        new = file.with_suffix(f".{turn}")
        new.write_text(contents[turn % 5])
        new.replace(file)
    done.set()
    for thread in threads:
        thread.join(30)
    config.reload_if_changed()
    assert not mixtures
    assert not [problem for change in changes for problem in change.errors]
    assert config.current.routes[0].name == "n5"
