"""What was compiled, kept on disk under the digest of everything that it was compiled from."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

_LOG = logging.getLogger(__name__)
_DIGEST = 32


def cache_folder() -> Path:
    """Where compiled graphs lie unless a site says otherwise: XDG_CACHE_HOME (default ~/.cache), then whyray."""
    root = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(root) if Path(root).is_absolute() else Path.home() / ".cache") / "whyray"


class CompiledCache:
    """Bytes by what they were made of; safe against other writers, torn files and disks that are full.

    A file is the SHA-256 of its content, then the content. It appears whole or not at all (written beside, synced,
    renamed), two who make the same thing write the same name, and what does not match its digest is made again. A cache
    that can't be read or written costs time, never an answer. A folder of None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def fetch(self, kind: str, made_of: Mapping[str, str], make: Callable[[], bytes]) -> bytes:
        """The bytes that `make` gives, from disk where they were made before from the same things.

        `made_of` names all that decides the result: digest of the graph, options, versions of the compilers.
        """
        if self.folder is None:
            return make()
        path = self.path(kind, made_of)
        compiled = self._read(path)
        if compiled is None:
            compiled = make()
            self._write(path, compiled)
        return compiled

    def path(self, kind: str, made_of: Mapping[str, str]) -> Path:
        """The file that holds it, there or not."""
        assert self.folder is not None, "a cache that keeps nothing has no files"
        key = hashlib.sha256(json.dumps([kind, dict(made_of)], sort_keys=True).encode()).hexdigest()
        return self.folder / f"{kind}-{key[:40]}"

    def _read(self, path: Path) -> bytes | None:
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            _LOG.warning("%s can't be read and is made again: %s", path, error)
            return None
        content = raw[_DIGEST:]
        if hashlib.sha256(content).digest() != raw[:_DIGEST]:
            _LOG.warning("%s is damaged and is made again", path)
            return None
        return content

    def _write(self, path: Path, content: bytes) -> None:
        part = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
            part = Path(name)
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(content).digest() + content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except OSError as error:
            _LOG.warning("%s can't be kept; it will be made again next time: %s", path, error)
            if part is not None:
                part.unlink(missing_ok=True)
