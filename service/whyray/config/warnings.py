"""What a configuration may well say, and is seldom meant: told by `whyray config check`, which does not refuse it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from whyray.config.own_ports import SharedPort, shared_between_roles
from whyray.config.problems import Problem

if TYPE_CHECKING:
    from whyray.config.model import Config


def warnings_of(config: Config) -> Iterator[Problem]:
    """With the line of the file where it has one."""
    listener = config.listener
    if not listener.peers and not listener.accept_unknown_peers and listener.dicomweb is None and not config.worklists:
        yield Problem(
            ("listener", "peers"),
            "nobody is let in, so that no study ever arrives: every association is rejected",
            config.line(("listener", "peers")) or config.line(("listener",)),
            "name who may send, e.g. peers: {PACS_MAIN: 10.0.0.5}",
        )
    for shared in _shared_between_roles(config):
        words = f"{shared.message}, so that `whyray serve`, which runs both on one machine, refuses it"
        yield Problem(shared.place, words, config.line(shared.place), shared.suggestion)


def problems_on_one_machine(config: Config) -> tuple[Problem, ...]:
    """What can't be obeyed where all roles are on one machine, and can where intake and admin have one each."""
    return tuple(
        Problem(
            shared.place,
            f"{shared.message}, on this machine",
            config.line(shared.place),
            f"{shared.suggestion}, or run intake and admin on machines of their own",
        )
        for shared in _shared_between_roles(config)
    )


def _shared_between_roles(config: Config) -> Iterator[SharedPort]:
    return shared_between_roles(config.model_dump(include={"listener", "admin"}, by_alias=True))
