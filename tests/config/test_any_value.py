"""Whatever value stands at whatever key, what is wrong is told: a service that reads its file again must outlive it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from whyray.base.errors import NotFound
from whyray.config import PackageFacts, check_config, example_config, read_config
from whyray.config.lines import read_yaml
from whyray.explain import methods

MORE = """
listener:
  tls: {port: 2762, certificate: a.pem, key: a.key, authorities: b.pem, revoked: c.pem, only: false}
  processes: 2
  dicomweb:
    address: 127.0.0.1
    port: 8081
    api_tokens: true
    tokens: {ARCHIVE: {env: TOKEN}}
    worklist: {images: archive, take: [{code: chest-ai, scheme: 99SITE, route: chest radiographs}]}
    tls: {certificate: a.pem, key: a.key}
  peers: {CT_1: {address: [10.0.20.7, ct], port: 4006, tls: true}, CT_2: any}
destinations:
  archive:
    url: https://archive.example.org/dicom-web
    token: {env: TOKEN}
    announce_to: {ae_title: RIS, host: 10.0.20.9, port: 104, retrieve_ae_title: ARCHIVE}
  second:
    {ae_title: SECOND, host: localhost, port: 11113, tls: {authorities: b.pem}, timeouts: {connect: 10s},
     transfer_syntaxes: [JPEGLSLossless], announce_to: {ae_title: RIS, host: 10.0.20.9}}
worklists:
  workflow:
    url: https://ris.example.org/dicom-web
    login: {user: whyray, password: {env: TOKEN}}
    poll: 15s
    images: archive
    take: [{code: chest-ai, scheme: 99SITE, route: chest radiographs}]
storage: {folder: data, encryption: {key: {env: TOKEN}}}
catalog: {url: {env: TOKEN}}
queue: {url: redis://redis:6379/0}
packages: {folders: [packages]}
templates: {folder: templates}
audit: {syslog: {host: arr.hospital.example, tls: {authorities: ca.pem}}}
tracing: {endpoint: "http://127.0.0.1:4318/v1/traces"}
uid_root: 1.2.826.0.1.3680043.9.9999
"""


def merged(below: object, above: object) -> object:
    if isinstance(below, dict) and isinstance(above, dict):
        return {key: merged(below.get(key), above.get(key)) for key in below | above}
    return above if below is None else below


WRITTEN = merged(*(read_yaml(text)[0].data for text in (example_config(), MORE)))


def places_of(value: object, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield place
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, below in pairs:
        yield from places_of(below, (*place, step))


PLACES = list(places_of(WRITTEN))
WORDS = st.sampled_from(
    [
        "",
        "any",
        "11112",
        "127.0.0.1",
        "localhost",
        "::1%x",
        "http://[",
        "http://h:99999/x",
        "https://h:x/",
        "10s",
        "pacs",
    ]
)
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.text(st.characters(codec="utf-8"), max_size=8)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.sampled_from(["port", "url"]), inner, max_size=3)
    ),
    max_leaves=5,
)


def with_value(place: tuple[str | int, ...], value: object) -> object:
    if not place:
        return value
    data = copy.deepcopy(WRITTEN)
    at = data
    for step in place[:-1]:
        at = at[step]
    at[place[-1]] = value
    return data


def problems_of(data: object) -> list[str]:
    config, problems = read_config(yaml.safe_dump(data), folder=Path("/nowhere"), environ={"TOKEN": "x" * 40})
    assert (config is None) == bool(problems)
    reported = () if config is None else check_config(config, resolve_package=no_package, methods=methods())
    return [str(problem) for problem in (*problems, *reported)]


def no_package(reference: str) -> PackageFacts:
    raise NotFound(f"no package {reference}")


def test_the_configuration_that_is_changed_can_be_obeyed() -> None:
    problems = problems_of(WRITTEN)
    assert len(problems) == 2
    assert all("no package" in problem for problem in problems)


@settings(max_examples=300)
@given(st.sampled_from(PLACES), VALUES)
def test_any_value_at_any_key_is_obeyed_or_told_of(place: tuple[str | int, ...], value: object) -> None:
    assert all(problems_of(with_value(place, value)))


@pytest.mark.parametrize("value", [[11112], {"a": 1}, "x"], ids=repr)
def test_a_value_of_another_type_at_each_key_is_obeyed_or_told_of(value: object) -> None:
    for place in PLACES:
        assert all(problems_of(with_value(place, value))), place
