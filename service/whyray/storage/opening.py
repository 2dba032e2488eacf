"""Opening a folder with the keys that fit what lies there: one that can't be read is refused before anything is done.

`ROOT/encryption.json` names the keys with which something in the folder may be sealed, by their ids. It is written
before the first object is.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from pathlib import Path

from whyray.base.errors import ConfigError, StorageUnavailable
from whyray.base.sealing import SealingKeys
from whyray.storage.folder import INCOMING, SHARD, FolderStorage

_MARKER = "encryption.json"
_FORMAT = "WHYRAYE1"


def is_made(root: Path) -> bool:
    """Whether there is a storage in this folder already; restored from a backup, it may lack what was unfinished.

    Raises
    ------
    StorageUnavailable
        If nobody can know.
    """
    try:
        return any(path.name == INCOMING or SHARD.fullmatch(path.name) for path in root.iterdir())
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StorageUnavailable(f"storage at {root} can't be read ({error.strerror})") from error


def open_folder(root: Path, keys: SealingKeys | None = None) -> FolderStorage:
    """The storage in a folder, sealed with `keys` where given.

    Raises
    ------
    ConfigError
        If something there is sealed with a key that is not given, or no key is given, or keys can't be used here.
    StorageUnavailable
        If the folder can't be written.
    """
    marker = root / _MARKER
    used = _used(marker)
    if keys is None:
        if used:
            raise ConfigError(
                f"what lies in {root} is encrypted, and the configuration names no key",
                advice="Name the key under storage.encryption.key, as it was when WhyRay last ran here.",
            )
        return _prepared(FolderStorage(root))
    if not hasattr(os, "memfd_create"):
        raise ConfigError(
            "encryption at rest needs Linux", advice="Take storage.encryption out, or run WhyRay on Linux."
        )
    missing = sorted(used - keys.ids)
    if missing:
        raise ConfigError(
            f"what lies in {root} is encrypted with key {', '.join(missing)}; the configuration names "
            f"{', '.join(sorted(keys.ids))}",
            advice="It is the wrong key, or a former one is missing: name it under storage.encryption.former until "
            "`whyray storage encrypt` has sealed everything with the new one.",
        )
    storage = FolderStorage(root, keys=keys)
    if keys.current_id not in used:
        _mark(marker, used | {keys.current_id})
    return _prepared(storage)


def _prepared(storage: FolderStorage) -> FolderStorage:
    storage.make_shards()
    return storage


def reseal_all(storage: FolderStorage, progress: Callable[[int], None] = lambda _: None) -> int:
    """Seal everything with the current key, and need no former one any more; says how many objects were sealed anew."""
    keys = storage.keys
    if keys is None:
        raise ConfigError("the configuration names no key", advice="Name one under storage.encryption.key.")
    sealed = 0
    # a role that still runs with a former key may write meanwhile: look again until nothing is found
    while True:
        count = 0
        for key in storage.stale(datetime.max.replace(tzinfo=UTC)):
            if storage.reseal(key):
                count += 1
                progress(sealed + count)
        sealed += count
        if not count:
            break
    _mark(storage.root / _MARKER, {keys.current_id})
    return sealed


def _used(marker: Path) -> set[str]:
    try:
        written = json.loads(marker.read_text("utf-8"))
        if written["format"] != _FORMAT:
            raise ValueError
        return {str(key) for key in written["keys"]}
    except FileNotFoundError:
        return set()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{marker} can't be read, so that it is not known with which keys this storage is encrypted",
            advice="Put it back from a backup: it names the format and the ids of the keys.",
        ) from error


def _mark(marker: Path, keys: Collection[str]) -> None:
    content = json.dumps({"format": _FORMAT, "keys": sorted(keys)}) + "\n"
    written = marker.with_name(f".{_MARKER}-{secrets.token_hex(4)}")
    try:
        with written.open("x", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        written.replace(marker)
        handle = os.open(marker.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise StorageUnavailable(f"{marker} can't be written ({error.strerror})") from error
