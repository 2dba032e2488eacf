"""Who WhyRay is where it has no catalog: a UID that each user of a computer keeps."""

from __future__ import annotations

import getpass
import os
import platform
import re
import tempfile
import uuid
from pathlib import Path

from whyray.base.sources import IdSource, random_uid

_UID = re.compile(r"2\.25\.[1-9]\d{0,38}")
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "device.whyray")


def user_device_uid(folder: Path | None = None, *, new_uid: IdSource = random_uid) -> str:
    """The UID of this user's WhyRay, made when it is first asked for and kept in `device-uid` of a folder.

    The folder is `whyray` in $XDG_STATE_HOME, or in `~/.local/state` where that is not set. Where nothing can be kept
    there, the UID is derived from the computer and the user: the same as long as those are.
    """
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    path = (folder or Path(state) / "whyray") / "device-uid"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = _read(path)
        return kept or _keep(path, new_uid())
    except OSError:
        return _derived()


def _read(path: Path) -> str | None:
    try:
        text = path.read_text("ascii", errors="replace").strip()
    except FileNotFoundError:
        return None
    return text if _UID.fullmatch(text) else None


def _keep(path: Path, uid: str) -> str:
    """Write a UID, whole or not at all; of several processes that do so at once, all get the first one's."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix="device-uid.", delete=False) as file:
        file.write(f"{uid}\n")
    made = Path(file.name)
    try:
        if path.exists() and _read(path) is None:
            path.unlink()  # empty or damaged
        os.link(made, path)
    except FileExistsError:
        pass
    finally:
        made.unlink()
    return _read(path) or _derived()


def _derived() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = str(os.getuid())
    return f"2.25.{uuid.uuid5(_NAMESPACE, f'{uuid.getnode()}/{platform.node()}/{user}').int}"
