"""TLS contexts out of files that can't be used: a key behind a passphrase is told, and nobody is asked for it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from certificates import Authority
from whyray.base.errors import ConfigError
from whyray.base.tls import client_context, server_context

PROGRAM = """
import sys
from pathlib import Path
from whyray.base.errors import ConfigError
from whyray.base.tls import client_context, server_context

certificate, key = map(Path, sys.argv[1:])
for make in (client_context, server_context):
    try:
        make(certificate=certificate, key=key)
    except ConfigError as error:
        print(error.message, error.advice)
"""


@pytest.fixture
def encrypted(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate and its key, which is behind a passphrase."""
    certificate, key = Authority(tmp_path / "hospital", "hospital").signs("whyray")
    plain = serialization.load_pem_private_key(key.read_bytes(), None)
    key.write_bytes(
        plain.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    return certificate, key


def test_nobody_is_asked_for_the_passphrase_of_a_key(encrypted: tuple[Path, Path]) -> None:
    """OpenSSL asks at the terminal, and the thread that was to send waited for good."""
    ours, theirs = pty.openpty()
    try:
        ended = subprocess.run(
            [sys.executable, "-c", PROGRAM, *encrypted],
            stdin=theirs,
            capture_output=True,
            text=True,
            timeout=60,
            start_new_session=True,
            check=True,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert "pass phrase" not in ended.stderr
    assert ended.stdout.count("whyray.key can't be used for TLS: it is encrypted with a passphrase") == 2
    assert "openssl pkey" in ended.stdout


def test_a_key_in_the_certificate_s_file_is_no_exception(encrypted: tuple[Path, Path], tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(b"".join(file.read_bytes() for file in encrypted))
    for make in (lambda: client_context(certificate=both), lambda: server_context(both, both)):
        with pytest.raises(ConfigError, match=r"both\.pem can't be used for TLS: it is encrypted"):
            make()
