"""OHIF's built viewer from its npm package, fetched once with the npm client and kept in the user's cache folder.

`python tests/viewers/ohif_package.py` fetches it ahead of the tests (tests/install_peers.sh does). Only the package
itself is taken: it holds the built viewer, and its dependencies are those of a build.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

VERSION = "3.12.10"
_SHA512 = "0kuF66Mq9c9dMD++bUsTjMrJpXJwaZhz9B4uS244DawAjSkTwIYFU93pxPuRUQixaRi7QAHlF3Fe1qudBlZrmA=="
_FETCHING = 300.0


class OhifMissingError(Exception):
    """The package can't be had; the message says why."""


def folder() -> Path:
    """The folder of the built viewer (index.html and what it loads), fetched if need be.

    Raises
    ------
    OhifMissingError
        If npm is not installed, does not give the package in time, or gives another one than was pinned.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "whyray-tests"
    kept = cache / f"ohif-{VERSION}"
    if not (kept / "index.html").is_file():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="ohif-", dir=cache) as here:
            _unpack(_fetch(Path(here)), Path(here))
            try:
                (Path(here) / "package" / "dist").rename(kept)
            except OSError:
                if not (kept / "index.html").is_file():  # else another test run was faster
                    raise
    return kept


def _fetch(into: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise OhifMissingError("npm is not installed: it fetches the viewer @ohif/app")
    call = [npm, "pack", "--silent", "--pack-destination", str(into), f"@ohif/app@{VERSION}"]
    try:
        subprocess.run(call, cwd=into, check=True, capture_output=True, timeout=_FETCHING)
    except subprocess.TimeoutExpired as error:
        raise OhifMissingError(f"npm did not bring @ohif/app@{VERSION} within {_FETCHING:.0f} s") from error
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().splitlines()
        raise OhifMissingError(f"npm could not bring @ohif/app@{VERSION}: {' '.join(said[-2:])}") from error
    (archive,) = into.glob("*.tgz")
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if digest != _SHA512:
        raise OhifMissingError(f"@ohif/app@{VERSION} has SHA-512 {digest}, pinned is {_SHA512}")
    return archive


def _unpack(archive: Path, into: Path) -> None:
    with tarfile.open(archive) as package:
        # dist/ort, half of the package, holds models for a tool that the tests do not use
        wanted = [
            member for member in package if member.name.startswith("package/dist/") and "/ort/" not in member.name
        ]
        if hasattr(tarfile, "data_filter"):  # Debian 12's Python has none; the archive's hash is pinned
            package.extraction_filter = tarfile.data_filter
        package.extractall(into, wanted)


if __name__ == "__main__":
    try:
        sys.stdout.write(f"OHIF {VERSION} is in {folder()}\n")
    except OhifMissingError as missing:
        sys.exit(str(missing))
