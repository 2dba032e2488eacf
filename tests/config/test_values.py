"""Durations, sizes, addresses and other values mean what a person means by them."""

from __future__ import annotations

import contextlib
import ipaddress
from datetime import timedelta
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from whyray.base.errors import ConfigError
from whyray.config import (
    Config,
    PackageReference,
    Peer,
    Retry,
    config_schema,
    example_config,
    format_duration,
    format_share,
    format_size,
    parse_duration,
    parse_share,
    parse_size,
    read_config,
    result_kinds,
)

SCHEMA = jsonschema.Draft202012Validator(config_schema())


@given(st.integers(0, 5200 * 604800))
def test_a_duration_written_is_read_back(seconds: int) -> None:
    duration = timedelta(seconds=seconds)
    assert parse_duration(format_duration(duration)) == duration


@given(st.integers(0, 2**60))
def test_a_size_written_is_read_back(size: int) -> None:
    assert parse_size(format_size(size)) == size


def test_durations_and_sizes_mean_what_is_written() -> None:
    assert parse_duration("1h30m") == parse_duration("90m") == timedelta(minutes=90)
    assert parse_duration("1w 1d") == timedelta(days=8)
    assert parse_size("1.5GiB") == 3 * 2**29
    assert parse_size("500 MB") == 500_000_000


@pytest.mark.parametrize(("text", "share"), [("2%", 0.02), ("0.5 %", 0.005), ("0.02", 0.02), ("99.9%", 0.999)])
def test_a_share_is_read_in_percent_or_as_a_part_of_one(text: str, share: float) -> None:
    assert parse_share(text) == pytest.approx(share)
    assert parse_share(format_share(share)) == pytest.approx(share)


@pytest.mark.parametrize("text", ["2", "0", "0%", "100%", "1.0", "-2%", "2 per cent", "%"])
def test_what_is_no_share_is_refused_with_how_one_is_written(text: str) -> None:
    with pytest.raises(ValueError, match="a share lies between"):
        parse_share(text)


@pytest.mark.parametrize("text", ["", " ", "20", "-1s", "1.5h", "30m1h", "1 hour", "s", "٣s", "9" * 40 + "s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_duration(text)


@pytest.mark.parametrize("text", ["", "5", "-1B", "2 gib", "2Gb", "GiB", "1e3B"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_size(text)


@given(st.text(max_size=12))
def test_a_duration_is_read_or_refused_by_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert parse_duration(text) >= timedelta(0)


@given(st.ip_addresses(v=4), st.integers(0, 32))
def test_a_network_admits_exactly_its_addresses(address: ipaddress.IPv4Address, prefix: int) -> None:
    network = ipaddress.ip_network((address, prefix), strict=False)
    peer = Peer.model_validate({"address": str(network)})
    assert peer.admits(str(address))
    assert peer.admits(str(network.broadcast_address))
    if prefix:
        assert not peer.admits(str(network.network_address - 1 if int(network.network_address) else "255.255.255.255"))


def test_peers_are_admitted_by_address_mapped_address_and_resolved_name() -> None:
    peer = Peer.model_validate({"address": ["10.0.0.5", "pacs.example.org"]})
    assert peer.admits("10.0.0.5")
    assert peer.admits("::ffff:10.0.0.5")
    assert not peer.admits("10.0.0.6")
    assert peer.admits("10.0.0.6", lambda name: frozenset({"10.0.0.6"} if name == "pacs.example.org" else set()))
    assert not Peer.model_validate({"address": "10.0.0.0/8"}).admits("::1")
    assert Peer.model_validate({"address": "any"}).admits("fe80::1%eth0")


@pytest.mark.parametrize("address", ["10.0.0", "10.0.0.0/33", "10.0.0.1/24", "::g", "a b", "", "-x", "10.0.0.1:104"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValidationError):
        Peer.model_validate({"address": address})


@given(st.integers(1, 100_000))
def test_waits_grow_to_their_ceiling(attempts: int) -> None:
    retry = Retry()
    assert retry.delay <= retry.wait(attempts) <= retry.wait(attempts + 1) <= retry.ceiling


def test_a_version_prefix_is_whole_numbers() -> None:
    assert PackageReference("p", "1.2").admits("1.2.9")
    assert not PackageReference("p", "1.2").admits("1.20.0")
    assert PackageReference("p").admits("7.0.0")


def test_paths_are_relative_to_the_file_and_places_default_to_the_state_folder() -> None:
    config, problems = read_config("packages: {folders: [models, /opt/m]}", folder=Path("/etc/whyray"))
    assert problems == ()
    assert config is not None
    assert config.packages.folders == (Path("/etc/whyray/models"), Path("/opt/m"))
    assert config.storage_folder == Path("/etc/whyray/whyray-state/instances")
    assert config.catalog_url == "sqlite:////etc/whyray/whyray-state/catalog.sqlite"
    assert config.redis_url is None


def test_what_a_configuration_dumps_is_read_as_the_same_configuration() -> None:
    config, _ = read_config(example_config(), folder=Path("/etc"))
    assert config is not None
    dumped = config.model_dump(mode="json", by_alias=True)
    assert Config.model_validate(dumped).model_dump() == config.model_dump()


def test_the_schema_accepts_the_example_and_what_the_example_means() -> None:
    SCHEMA.check_schema(SCHEMA.schema)
    written = yaml.safe_load(example_config())
    assert not list(SCHEMA.iter_errors(written))
    config, _ = read_config(example_config(), folder=Path("/etc"))
    assert config is not None
    dumped = config.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert not list(SCHEMA.iter_errors(dumped))


@pytest.mark.parametrize(
    "wrong",
    [
        {"listner": {}},
        {"routes": [{"name": "a", "when": {"Modality": {"contians": "x"}}, "run": "a"}]},
        {"routes": [{"name": "a", "when": {}, "run": "a", "priority": "soon"}]},
        {"listener": {"port": 70000}},
        {"admin": {"token": "clear"}},
        {"retention": {"source": 7}},
    ],
)
def test_the_schema_refuses_what_the_reader_refuses(wrong: dict[str, object]) -> None:
    assert list(SCHEMA.iter_errors(wrong))
    assert read_config(yaml.safe_dump(wrong), folder=Path("/etc"), environ={})[0] is None


def test_kinds_of_results_are_named_once_each_and_in_their_order_and_others_are_refused() -> None:
    assert result_kinds(["sr", "pm", "sr", "sc"]) == ("sc", "pm", "sr")
    with pytest.raises(ConfigError, match="no kind of result 'pmm'"):
        result_kinds(["pmm"])
