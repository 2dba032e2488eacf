"""Two of WhyRay's own services on one port of one machine are refused; what is seldom meant is remarked on."""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from whyray.base.errors import ConfigError
from whyray.base.http_server import listen
from whyray.config import Problem, problems_on_one_machine, read_config, warnings_of
from whyray.config.own_listener import overlap

WEB_AND_ADMIN = """listener: {dicomweb: {address: 0.0.0.0, port: 8443, api_tokens: true}}
admin: {address: 0.0.0.0, port: 8443}
"""
TLS = "tls: {certificate: a.pem, key: a.key"


def problems(text: str) -> tuple[Problem, ...]:
    return read_config(text, folder=Path("/nowhere"), environ={})[1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("listener: {dicomweb: {port: 11112}}\n", "listener.dicomweb.port: port '11112' of STOW-RS"),
        ("listener: {port: 8081, dicomweb: {port: 8081, api_tokens: true}}\n", "that of STOW-RS too"),
        (f"listener: {{{TLS}, port: 11112}}}}\n", "listener.tls.port: port '11112'"),
        (f"listener: {{port: 2762, {TLS}}}}}\n", "the DICOM listener's TLS too"),
        (
            "listener: {address: '::', port: 104, dicomweb: {address: 10.0.0.7, port: 104, api_tokens: true}}\n",
            "that of the DICOM",
        ),
    ],
)
def test_a_port_that_two_services_of_a_role_have_is_refused_where_the_file_says_it(text: str, words: str) -> None:
    (problem,) = problems(text)
    assert words in str(problem)
    assert problem.line == text.count("\n")
    assert problem.suggestion is not None
    assert "another port, e.g." in problem.suggestion


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("listener: {port: 8080}\n", "listener.port: port '8080' of the DICOM listener is that of the admin page too"),
        ("admin: {port: 11112}\n", "admin.port: port '11112' of the admin page is that of the DICOM listener too"),
        ("listener: {port: 104}\nadmin: {port: 104}\n", "admin.port: port '104'"),
        ("listener: {dicomweb: {port: 8080}}\n", "listener.dicomweb.port: port '8080' of STOW-RS"),
        (WEB_AND_ADMIN, "admin.port: port '8443' of the admin page is that of STOW-RS too"),
    ],
)
def test_a_port_of_intake_and_admin_is_refused_where_both_are_on_one_machine_alone(text: str, words: str) -> None:
    config, reported = read_config(text, folder=Path("/nowhere"), environ={})
    assert reported == ()
    assert config is not None
    (remark,) = [remark for remark in warnings_of(config) if "port" in remark.place]
    (problem,) = problems_on_one_machine(config)
    for told in (remark, problem):
        assert words in str(told)
        assert told.line == text.count("\n")
        assert "another port, e.g." in str(told)
    assert "`whyray serve`, which runs both on one machine, refuses it" in remark.message


@pytest.mark.parametrize(
    "text",
    [
        "listener: {address: 10.0.0.7, port: 8080}\n",
        "listener: {port: 8081}\n",
        f"listener: {{port: 8080, {TLS}, only: true}}}}\n",
        "listener: {port: 104}\nadmin: {port: 105}\n",
        "listener: {port: 104, dicomweb: {address: '::1', port: 104}}\n",
        "listener: {port: 104}\nadmin: {address: '::1', port: 104}\n",
        "listener: {address: 10.0.0.7, port: 104}\nadmin: {address: 10.0.0.8, port: 104}\n",
    ],
)
def test_ports_of_other_addresses_and_of_services_that_are_off_are_free(text: str) -> None:
    config, reported = read_config(text, folder=Path("/nowhere"), environ={})
    assert reported == ()
    assert config is not None
    assert problems_on_one_machine(config) == ()


def test_an_address_that_is_none_is_told_as_that() -> None:
    (problem,) = problems(f"listener: {{address: null, {TLS}}}}}\n")
    assert problem.place == ("listener", "address")


@pytest.mark.parametrize(
    ("one", "other"),
    [("0.0.0.0", "127.0.0.1"), ("0.0.0.0", "::1"), ("::", "127.0.0.1"), ("::", "0.0.0.0"), ("::1", "127.0.0.1")],
)
def test_addresses_overlap_as_sockets_of_this_machine_do(one: str, other: str) -> None:
    with closing(listen(one, 0, what="first")) as first:
        port = int(first.getsockname()[1])
        with ExitStack() as stack:
            try:
                stack.enter_context(closing(listen(other, port, what="second")))
                both = True
            except ConfigError:
                both = False
    assert overlap(one, other) == overlap(other, one) == (not both)


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
    said = [str(remark) for remark in warnings_of(config)]
    assert nobody == any("nobody is let in" in words and "name who may send" in words for words in said)
