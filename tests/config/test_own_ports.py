"""Two of WhyRay's own services on one port are refused, and a listener that lets nobody in is remarked on."""

from __future__ import annotations

from pathlib import Path

import pytest

from whyray.config import Problem, read_config, remarks

TLS = "tls: {certificate: a.pem, key: a.key"


def problems(text: str) -> tuple[Problem, ...]:
    return read_config(text, folder=Path("/nowhere"), environ={})[1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("listener: {port: 8080}\n", "listener.port: port '8080' of the DICOM listener is that of the admin page too"),
        ("admin: {port: 11112}\n", "admin.port: port '11112' of the admin page is that of the DICOM listener too"),
        ("listener: {port: 104}\nadmin: {port: 104}\n", "admin.port: port '104'"),
        ("listener: {dicomweb: {port: 8080}}\n", "listener.dicomweb.port: port '8080' of STOW-RS"),
        ("listener: {port: 8081, dicomweb: {}}\n", "that of STOW-RS too"),
        (f"listener: {{{TLS}, port: 11112}}}}\n", "listener.tls.port: port '11112'"),
        (f"listener: {{port: 2762, {TLS}}}}}\n", "the DICOM listener's TLS too"),
    ],
)
def test_a_port_that_two_services_have_is_refused_where_the_file_says_it(text: str, words: str) -> None:
    (problem,) = problems(text)
    assert words in str(problem)
    assert problem.line == text.count("\n")
    assert problem.suggestion is not None
    assert "another port, e.g." in problem.suggestion


@pytest.mark.parametrize(
    "text",
    [
        "listener: {address: 10.0.0.7, port: 8080}\n",
        "listener: {port: 8081}\n",
        f"listener: {{port: 8080, {TLS}, only: true}}}}\n",
        "listener: {port: 104}\nadmin: {port: 105}\n",
    ],
)
def test_ports_of_other_addresses_and_of_services_that_are_off_are_free(text: str) -> None:
    assert problems(text) == ()


@pytest.mark.parametrize(
    ("text", "nobody"),
    [
        ("listener: {}\n", True),
        ("listener:\n  port: 104\n", True),
        ("admin: {port: 8080}\n", True),
        ("listener: {peers: {PACS: 10.0.0.5}}\n", False),
        ("listener: {address: 127.0.0.1, accept_unknown_peers: true}\n", False),
        ("listener: {dicomweb: {}}\n", False),
    ],
)
def test_a_listener_that_lets_nobody_in_is_remarked_on(text: str, nobody: bool) -> None:
    config, reported = read_config(text, folder=Path("/nowhere"), environ={})
    assert not reported
    assert config is not None
    said = [str(remark) for remark in remarks(config)]
    assert nobody == any("nobody is let in" in words and "name who may send" in words for words in said)
