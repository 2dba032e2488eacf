"""A real OpenID provider beside the tests: oidc-provider from npm, fetched once into the user's cache folder.

`python tests/admin/oidc_provider.py` fetches it ahead of the tests (tests/install_peers.sh does). What is fetched is
held to the digests of tests/admin/oidc/package-lock.json.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent / "oidc"
CLIENT_SECRET = "a-secret-of-the-tests-0123456789"
_FETCHING = 300.0


class ProviderMissingError(Exception):
    """The provider can't be had; the message says why."""


def folder() -> Path:
    """The folder in which the provider is installed, fetched if need be.

    Raises
    ------
    ProviderMissingError
        If node or npm is not installed, or npm does not bring the packages in time.
    """
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise ProviderMissingError("node and npm are not installed: they run the OpenID provider oidc-provider")
    lock = (HERE / "package-lock.json").read_bytes()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "whyray-tests"
    kept = cache / f"oidc-provider-{hashlib.sha256(lock).hexdigest()[:12]}"
    if not (kept / "whole").is_file():
        kept.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copyfile(HERE / name, kept / name)
        call = ["npm", "ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund"]
        try:
            subprocess.run(call, cwd=kept, check=True, capture_output=True, timeout=_FETCHING)
        except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
            raise ProviderMissingError(f"npm did not bring oidc-provider: {type(error).__name__}") from error
        (kept / "whole").touch()
    return kept


@contextmanager
def running(port: int, back: str, after: str) -> Iterator[str]:
    """Run the provider with these redirect URIs; gives its issuer. Raises ProviderMissingError."""
    installed = folder()
    shutil.copyfile(HERE / "provider.mjs", installed / "provider.mjs")
    call = ["node", "provider.mjs", str(port), back, after]
    process = subprocess.Popen(call, cwd=installed, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            raise ProviderMissingError("oidc-provider did not start")
        yield f"http://localhost:{port}"
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    try:
        folder()
    except ProviderMissingError as missing:
        sys.exit(str(missing))
