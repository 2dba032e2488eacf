"""Where a browser on this machine finds what listens here."""

from __future__ import annotations

import pytest

from whyray.base.local_url import local_url


@pytest.mark.parametrize(
    ("address", "tls", "url"),
    [
        ("127.0.0.1", False, "http://127.0.0.1:8080/"),
        ("0.0.0.0", False, "http://127.0.0.1:8080/"),
        ("::", True, "https://127.0.0.1:8080/"),
        ("::1", False, "http://[::1]:8080/"),
        ("whyray.hospital.example", True, "https://whyray.hospital.example:8080/"),
    ],
)
def test_a_browser_finds_what_listens_here(address: str, tls: bool, url: str) -> None:
    assert local_url(address, 8080, tls=tls) == url
