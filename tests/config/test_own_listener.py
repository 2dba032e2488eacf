"""A destination that is WhyRay's own listener is refused, by whatever name, and no other is.

Results would come back to WhyRay, which keeps its own, and count as sent: no PACS would ever have them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from whyray.config import Problem, read_config

THIS_MACHINE = (
    "127.0.0.1",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "pacs.localhost",
    "127.0.1.1",
    "127.255.0.3",
    "::1",
    "0:0:0:0:0:0:0:1",
    "::ffff:127.0.0.1",
    "0.0.0.0",
    "::",
)


def problems(listener: str, destination: str) -> tuple[Problem, ...]:
    text = f"listener: {{{listener}}}\ndestinations:\n  pacs: {{{destination}}}\n"
    return read_config(text, folder=Path("/nowhere"), environ={})[1]


def is_own(listener: str, destination: str) -> bool:
    reported = problems(listener, destination)
    assert all("WhyRay's own" in problem.message and problem.line == 3 for problem in reported)
    return bool(reported)


@pytest.mark.parametrize("host", THIS_MACHINE)
@pytest.mark.parametrize("listener", ["", 'address: "::"', "address: 0.0.0.0, port: 11112"])
def test_a_listener_on_all_addresses_is_found_by_each_name_of_this_machine(listener: str, host: str) -> None:
    assert is_own(listener, f"ae_title: WHYRAY, host: '{host}', port: 11112")
    assert not is_own(listener, f"ae_title: ORTHANC, host: '{host}', port: 11112")
    assert not is_own(listener, f"ae_title: WHYRAY, host: '{host}', port: 11113")


@pytest.mark.parametrize(
    ("address", "host", "own"),
    [
        ("10.0.0.7", "10.0.0.7", True),
        ("10.0.0.7", "::ffff:10.0.0.7", True),
        ("10.0.0.7", "10.0.0.8", False),
        ("10.0.0.7", "127.0.0.1", False),
        ("10.0.0.7", "localhost", False),
        ("127.0.0.1", "localhost", True),
        ("127.0.0.1", "127.0.1.1", False),
        ("127.0.0.1", "0.0.0.0", True),
        ("localhost", "127.0.0.1", True),
        ("localhost", "::1", True),
        ("Whyray.hospital.example", "whyray.hospital.EXAMPLE.", True),
        ("whyray.hospital.example", "pacs.hospital.example", False),
        ("whyray.hospital.example", "127.0.0.1", False),
        ("fd00::7", "fd00:0::7", True),
    ],
)
def test_a_listener_on_one_address_is_found_at_that_address_alone(address: str, host: str, own: bool) -> None:
    assert is_own(f"address: '{address}'", f"ae_title: WHYRAY, host: '{host}', port: 11112") is own


@pytest.mark.parametrize(
    ("tls", "ports"), [("", {11112, 2762}), (", port: 2763", {11112, 2763}), (", only: true", {2762})]
)
def test_each_port_that_is_served_is_the_listener(tls: str, ports: set[int]) -> None:
    listener = f"tls: {{certificate: a.pem, key: a.key{tls}}}"
    destination = "ae_title: WHYRAY, host: localhost, port: "
    assert {port for port in (11112, 2762, 2763) if is_own(listener, f"{destination}{port}")} == ports
    assert is_own("", destination + "11112")
    assert not is_own("", destination + "2762"), "TLS is off"


def test_the_port_that_a_destination_has_by_default_may_be_the_listeners() -> None:
    assert is_own("port: 104", "ae_title: WHYRAY, host: localhost")
    assert not is_own("", "ae_title: WHYRAY, host: localhost")


@pytest.mark.parametrize(
    ("web", "url", "own"),
    [
        ("{}", "http://localhost:8081/dicom-web", True),
        ("{}", "http://127.0.0.1:8081/dicom-web/", True),
        ("{}", "http://[::1]:8081/dicom-web", False),
        ("{address: '::', tokens: {A: {env: A}}}", "http://[::1]:8081/dicom-web", True),
        ("{port: 80}", "http://LOCALHOST/dicom-web", True),
        ("{port: 443, tls: {certificate: a.pem, key: a.key}}", "https://localhost/dicom-web", True),
        ("{}", "http://localhost:8042/dicom-web", False),
        ("{}", "http://archive:8081/dicom-web", False),
    ],
)
def test_a_url_that_is_the_own_stow_rs_is_refused(web: str, url: str, own: bool) -> None:
    text = f"listener: {{dicomweb: {web}}}\ndestinations:\n  pacs: {{url: '{url}'}}\n"
    reported = read_config(text, folder=Path("/nowhere"), environ={}, read_secrets=False)[1]
    assert ["WhyRay's own STOW-RS" in str(problem) and problem.line == 3 for problem in reported] == [True] * own


def test_a_password_in_such_a_url_is_not_told() -> None:
    reported = problems("dicomweb: {}", "url: 'http://me:swordfish@localhost:8081/dicom-web'")
    assert any("WhyRay's own STOW-RS" in str(problem) for problem in reported)
    assert "swordfish" not in " ".join(map(str, reported))


def test_a_url_is_not_the_own_stow_rs_where_that_is_off() -> None:
    assert not is_own("", "url: 'http://localhost:8081/dicom-web'")


@pytest.mark.parametrize("destination", ["ae_title: PACS, host: pacs", "url: 'https://archive.example.org/dicom-web'"])
def test_who_is_told_of_results_is_somebody_else(destination: str) -> None:
    told = "announce_to: {ae_title: WHYRAY, host: LOCALHOST, port: 11112, retrieve_ae_title: PACS}"
    (problem,) = problems("", f"{destination}, {told}")
    assert (problem.place, problem.line) == (("destinations", "pacs", "announce_to", "port"), 3)
    assert "nobody else would be told" in str(problem)
    assert problems("", f"{destination}, {told.replace('11112', '11113')}") == ()


def test_the_defaults_by_which_it_is_known_are_those_of_the_sections() -> None:
    from whyray.config import own_listener
    from whyray.config.destinations import DicomPeer
    from whyray.config.network import DicomWebListener, Listener, ListenerTls

    listener, web = Listener(), DicomWebListener()
    known = own_listener._AE_TITLE, own_listener._PORT, own_listener._ALL_ADDRESSES
    assert known == (listener.ae_title, listener.port, listener.address)
    assert (web.address, web.port) == (own_listener._WEB_ADDRESS, own_listener._WEB_PORT)
    assert ListenerTls.model_fields["port"].default == own_listener._TLS_PORT
    assert DicomPeer.model_fields["port"].default == own_listener._PEER_PORT
