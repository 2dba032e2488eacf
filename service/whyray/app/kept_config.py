"""The configuration that was last in force, kept with the state: what a role starts from while the file is wrong.

A role may be started at any time: by its supervisor after a crash, by the machine after a power cut. If somebody is
just editing the file, or made a slip, it must not stay down for that. A first start has nothing kept, and refuses.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from whyray.base.errors import ConfigError
from whyray.config import Config, load_config, read_config

STATE_OF_SUPERVISOR = "WHYRAY_STATE"
"""Environment variable in which `whyray serve` tells its roles the state folder, for when the file does not."""
_STATE = re.compile(r"""^state:\s*(?P<quote>["']?)(?P<folder>[^"'#\n]+?)(?P=quote)\s*(?:#.*)?$""", re.MULTILINE)
_log = logging.getLogger("whyray.config")


@dataclass(frozen=True)
class KeptConfig:
    """What is kept of one configuration file, by its absolute path: two services may share a state's parent."""

    path: Path

    def keep(self, content: bytes, config: Config) -> None:
        """Keep what is in force now, readable by this user alone; a state that can't be written only warns."""
        place = self._place(config.state)
        try:
            if place.is_file() and place.read_bytes() == content:
                return
            place.parent.mkdir(parents=True, exist_ok=True)
            handle, written = tempfile.mkstemp(dir=place.parent, prefix=place.name)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(content)
                Path(written).replace(place)
            except OSError:
                with contextlib.suppress(OSError):
                    Path(written).unlink()
                raise
        except OSError as error:
            _log.warning("the configuration in force could not be kept in %s: %s", place.parent, error.strerror)

    def last(self, wrong: bytes | None) -> bytes | None:
        """What was kept; None if there is nothing. `wrong`: what the file says now, which may still name the state."""
        for state in self._states(wrong):
            with contextlib.suppress(OSError):
                return self._place(state).read_bytes()
        return None

    def _place(self, state: Path) -> Path:
        return state / "config" / self._name

    def _states(self, wrong: bytes | None) -> list[Path]:
        folder = self.path.absolute().parent
        named = _STATE.search((wrong or b"").decode("utf-8", "replace"))
        states = [] if named is None else [folder / Path(named["folder"].strip()).expanduser()]
        told = os.environ.get(STATE_OF_SUPERVISOR)
        states += [Path(told)] if told else []
        states.append(folder / str(Config.model_fields["state"].default))
        # a file that names no state any more: its state most often lies beside it, and the name fits no other file
        states += sorted(kept_file.parent.parent for kept_file in folder.glob(f"*/config/{self._name}"))
        return states

    @property
    def _name(self) -> str:
        return f"{hashlib.sha256(os.fsencode(self.path.absolute())).hexdigest()[:16]}.yaml"


def config_to_ask_by(path: Path) -> Config:
    """The configuration for reading the catalog: the file's, or the one kept where the file is wrong.

    Raises
    ------
    ConfigError
        If the file can't be obeyed and nothing is kept.
    """
    try:
        return load_config(path)
    except ConfigError as error:
        try:
            content = path.read_bytes()
        except OSError:
            content = None
        last = KeptConfig(path).last(content)
        kept = None if last is None else read_config(last.decode("utf-8-sig"), folder=path.absolute().parent)[0]
        if kept is None:
            raise
        _log.warning("%s; the last configuration that was in force is used", error.message)
        return kept
