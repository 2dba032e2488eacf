"""What a configuration may well say, and is seldom meant: told by `whyray config check`, and refused by nobody."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from whyray.config.problems import Problem

if TYPE_CHECKING:
    from whyray.config.model import Config


def remarks(config: Config) -> Iterator[Problem]:
    """With the line of the file where it has one."""
    listener = config.listener
    if not listener.peers and not listener.accept_unknown_peers and listener.dicomweb is None and not config.worklists:
        yield Problem(
            ("listener", "peers"),
            "nobody is let in, so that no study ever arrives: every association is rejected",
            config.line(("listener", "peers")) or config.line(("listener",)),
            "name who may send, e.g. peers: {PACS_MAIN: 10.0.0.5}",
        )
