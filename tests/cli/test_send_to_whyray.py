"""`whyray send` to a WhyRay that lets this side in or not, as docs/route-from-a-pacs.md has it tried."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cli.conftest import Cli
from intake.conftest import Running, catalog, listen, storage
from synthetic import radiograph, write
from whyray.config import example_config, read_config

__all__ = ["catalog", "listen", "storage"]


def film(folder: Path) -> Path:
    (path,) = write([radiograph(np.full((32, 24), 300, np.uint16))], folder)
    return path


def test_a_peer_that_closes_the_connection_at_once_may_not_allow_this_address(
    cli: Cli, listen: Callable[..., Running], tmp_path: Path
) -> None:
    """It was said that the peer may not run and host, port and firewall may be wrong: none of the three was so."""
    running = listen(peers={"PACS_MAIN": {"address": "10.0.0.5"}})
    said = cli("send", film(tmp_path / "film"), f"WHYRAY@127.0.0.1:{running.port}")
    assert said.code == 1
    assert "Something answers there, and closed the connection" in said.everything
    assert "`listener.peers`" in said.everything
    assert "its Events" in said.everything
    assert "firewall" not in said.everything


def test_the_example_lets_whyray_send_in_from_its_own_machine_when_that_peer_is_switched_on(
    cli: Cli, listen: Callable[..., Running], tmp_path: Path
) -> None:
    text = re.sub(r"# (WHYRAY_SEND:)", r"\1", example_config())
    config, problems = read_config(text, folder=tmp_path, environ={})
    assert problems == ()
    assert config is not None
    running = listen(peers=config.listener.peers)
    said = cli("send", film(tmp_path / "film"), f"WHYRAY@127.0.0.1:{running.port}")
    assert said.code == 0, said.everything
