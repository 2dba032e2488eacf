"""`whyray config` and `whyray template`: the files that a site writes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import yaml

from cli.conftest import Cli, Said


def test_check_says_what_a_good_file_asks_for(cli: Cli, site: Path) -> None:
    said = cli("config", "check", site)
    assert said.code == 0, said.everything
    assert "is in order: 1 route, 1 destination" in said.everything


def test_check_takes_whyray_yaml_of_this_folder_where_no_file_is_named(cli: Cli, site: Path) -> None:
    assert cli("config", "check").code == 0


def test_check_names_every_fault_with_its_line_and_the_nearest_that_there_is(cli: Cli, site: Path) -> None:
    broken = site.read_text().replace("planted@1", "plantd@1").replace("- pacs", "- pax").replace("when:", "whn:")
    site.write_text(broken)
    said = cli("config", "check", site)
    assert said.code == 2
    for words in ("line ", "whn", "when", "pax", "pacs"):
        assert words in said.err
    assert "Traceback" not in said.everything
    site.write_text(broken.replace("whn:", "when:").replace("- pax", "- pacs"))
    said = cli("config", "check", site)
    assert (said.code, "plantd" in said.err, "planted" in said.err) == (2, True, True)


def test_a_method_that_is_named_instead_of_one_that_a_package_lacks_works(cli: Cli, site: Path) -> None:
    """'grad-cam' had been answered with 'grad-cam-plus-plus' works, and that with 'grad-cam' works."""
    content = yaml.safe_load(site.read_text())
    content["routes"][0]["run"] = "cxr-findings@2"

    def said_of(method: str) -> Said:
        content["routes"][0]["explain"] = {method: {}}
        site.write_text(yaml.safe_dump(content))
        return cli("config", "check", site)

    refused = said_of("grad-cam")
    assert refused.code == 2
    instead = re.search(r"pass 'features' by; '([a-z-]+)' works", refused.everything)
    assert instead is not None, refused.everything
    assert said_of(instead.group(1)).code == 0


def test_check_refuses_what_is_no_file_and_no_yaml(cli: Cli, tmp_path: Path) -> None:
    cli("config", "check", "nowhere.yaml").refused("ConfigError", "nowhere.yaml")
    (tmp_path / "torn.yaml").write_text("routes: [")
    assert cli("config", "check", "torn.yaml").code == 2
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00\x01")
    assert cli("config", "check", "bytes.yaml").code == 2


def test_the_schema_accepts_the_example_that_is_printed(cli: Cli) -> None:
    schema = json.loads(cli("config", "schema").out)
    example = yaml.safe_load(cli("config", "example").out)
    jsonschema.Draft202012Validator(schema).validate(example)


def test_templates_are_checked_with_the_file_that_is_wrong(cli: Cli, tmp_path: Path) -> None:
    assert cli("template", "check").code == 0
    own = tmp_path / "templates"
    own.mkdir()
    assert cli("template", "check", own).code == 0
    (own / "series.yaml").write_text("nonsense: [")
    said = cli("template", "check", own)
    assert said.code == 2
    assert "series.yaml" in said.err
    assert "Traceback" not in said.everything
    cli("template", "check", "nowhere").refused("ConfigError", "nowhere")


def test_templates_are_drawn_and_described_for_the_site_that_edits_them(cli: Cli, tmp_path: Path) -> None:
    said = cli("template", "preview", tmp_path / "pages")
    assert said.code == 0, said.everything
    drawn = sorted((tmp_path / "pages").rglob("*.png"))
    assert f"{len(drawn)} pages" in said.out
    assert {path.parent.name for path in drawn} == {"de", "en", "es", "fr", "ja"}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)
    every = json.loads(cli("template", "schema").out)
    assert every["layout.yaml"] == json.loads(cli("template", "schema", "layout.yaml").out)
    cli("template", "schema", "lay.yaml").refused("ConfigError", "lay.yaml")


def test_check_warns_of_a_listener_that_lets_nobody_in(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "whyray.yaml").write_text("listener: {ae_title: WHYRAY}\n")
    said = cli("config", "check")
    assert said.code == 0
    assert "warning: line 1: listener.peers: nobody is let in" in said.everything
