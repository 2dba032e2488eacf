"""Every fault in a file is told with its line, its place and what would be right; and no secret is."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whyray.base.errors import ConfigError
from whyray.config import Config, Problem, load_config, read_config

GOOD = """\
listener: {ae_title: WHYRAY, peers: {PACS_MAIN: {address: 10.0.0.5}}}
destinations:
  pacs: {ae_title: PACS_MAIN, host: 10.0.0.5, port: 104}
routes:
  - name: chest
    when:
      Modality: {in: [CR, DX]}
      BodyPartExamined: {contains: chest}
    complete: {quiet_for: 20s, at_most: 90m}
    run: cxr-findings@1
    explain: [grad-cam]
    send: {to: [pacs], as: [sc, sr]}
    priority: urgent
otherwise: keep 24h
"""
HERE = Path("/nowhere")


def problems(text: str, **environ: str) -> tuple[Problem, ...]:
    config, reported = read_config(text, folder=HERE, environ=environ)
    assert (config is None) == bool(reported)
    return reported


def only(text: str) -> Problem:
    (problem,) = problems(text)
    return problem


def test_a_good_file_has_no_problems() -> None:
    assert problems(GOOD) == ()


@pytest.mark.parametrize(
    ("right", "wrong", "line", "words"),
    [
        ("Modality:", "Modalty:", 7, ["routes[0].when.Modalty", "did you mean 'Modality'?"]),
        ("contains:", "contians:", 8, ["'contians' is not an operator", "did you mean 'contains'?"]),
        ("priority:", "priorty:", 13, ["no such key 'priorty'", "did you mean 'priority'?"]),
        ("urgent", "urgnt", 13, ["not one of stat, urgent, routine", "'urgnt'", "did you mean 'urgent'?"]),
        ("to: [pacs]", "to: [pcs]", 12, ["no destination has the name 'pcs'", "did you mean 'pacs'?"]),
        ("port: 104", "port: 70000", 3, ["destinations.pacs.port", "65535", "70000"]),
        ("port: 104", "port: '104'", 3, ["destinations.pacs.port"]),
        (
            "{ae_title: PACS_MAIN, host: 10.0.0.5, port: 104}",
            "{url: 'http://x', announce_to: {ae_title: RIS, host: ris}}",
            3,
            ["destinations.pacs", "announce_to needs retrieve_ae_title", "retrieve_ae_title: ARCHIVE"],
        ),
        ("20s", "20", 9, ["complete.quiet_for", "needs a unit", "'20'"]),
        ("20s", "2h", 9, ["quiet_for (2h) is longer than at_most (1h30m)"]),
        ("WHYRAY", "WHYRAY_OF_THE_NORTH", 1, ["1 to 16 characters, this one has 19"]),
        ("10.0.0.5}}", "10.0.0.500}}", 1, ["listener.peers.PACS_MAIN.address", "10.0.0.500"]),
        ("[CR, DX]", "[CR, dx]", 7, ["upper case", "write 'DX'"]),
        ("{in: [CR, DX]}", "[CR, DX]", 7, ["a list needs an operator", "{in: [CR, DX]}"]),
        ("{in: [CR, DX]}", "present", 7, ["'present' is an operator", "{present: true}"]),
        ("keep 24h", "hold 24h", 14, ["keep DURATION"]),
        ("run: cxr-findings@1", "run: Cxr@1", 10, ["NAME@VERSION"]),
        ("[grad-cam]", "[grad-cam, grad-cam]", 5, ["'grad-cam' is named twice in explain"]),
        ("    run: cxr-findings@1\n", "", 5, ["the key 'run' is missing"]),
        ("  - name: chest\n", "  - name: chest\n    name: x\n", 6, ["written twice; the first is in line 5"]),
        ("Modality: {in: [CR, DX]}", "Rows: {range: {min: 3, max: 2}}", 7, ["min (3) is above max (2)"]),
        ("Modality: {in: [CR, DX]}", "Rows: many", 7, ["holds numbers"]),
        ("Modality: {in: [CR, DX]}", "PatientAge: {range: {min: 18}}", 7, ["an age", "18Y"]),
        ("Modality: {in: [CR, DX]}", "StudyDate: {range: {min: today}}", 7, ["20260131"]),
        ("Modality: {in: [CR, DX]}", "PixelData: abc", 7, ["can't be compared"]),
        ("Modality: {in: [CR, DX]}", "Modality.StudyID: abc", 7, ["Modality is not a sequence"]),
        ("{contains: chest}", "{matches: '(a'}", 8, ["not a regular expression"]),
        ("{contains: chest}", "{matches: '(?=a)'}", 8, ["look-around"]),
        ("{contains: chest}", "{}", 8, ["no operator is written"]),
        ("{contains: chest}", "", 8, ["BodyPartExamined"]),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_line_and_advice(right: str, wrong: str, line: int, words: list[str]) -> None:
    assert right in GOOD
    problem = only(GOOD.replace(right, wrong, 1))
    assert problem.line == line
    for word in words:
        assert word in str(problem)


def test_all_faults_are_told_at_once_in_the_order_of_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "whyray.yaml"
    text = GOOD.replace("Modality", "Modalty").replace("urgent", "urgnt").replace("to: [pacs]", "to: [pcs]")
    file.write_text(text + "listner: {}\n")
    with pytest.raises(ConfigError) as error:
        load_config(file)
    lines = error.value.message.splitlines()
    assert "has 4 problems" in lines[0]
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["line 7", "line 12", "line 13", "line 15"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the file is empty"),
        ("- 3", "a mapping"),
        ("routes: [", "not YAML"),
        ("admin: {\t}", "spaces, not with tabs"),
        ("a: 1\n---\nb: 2", "not YAML"),
        ("a: &a {b: *a}", "nested"),
        ("[" * 999 + "]" * 999, "nested"),
        ("? [1, 2]\n: x", "a key is a word"),
        ("state: !!python/name:os.system x", "tag"),
    ],
)
def test_what_is_no_configuration_at_all_is_told_as_such(text: str, words: str) -> None:
    assert words in " ".join(map(str, problems(text)))


def test_a_missing_file_and_one_that_is_not_utf8_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_config(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes("state: Zürich".encode("latin-1"))
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(tmp_path / "latin.yaml")


@pytest.mark.parametrize(
    "section",
    [
        "admin: {token: hunter2}",
        "admin: {tokn: hunter2}",
        "admin: {logins: [{user: a, password: hunter2}]}",
        "admin: {logins: hunter2}",
        "queue: {url: 'redis://:hunter2@host/0'}",
        "catalog: {url: 'postgresql://u:hunter2@host/x'}",
        "destinations: {web: {url: 'https://u:hunter2@host/x'}}",
        "destinations: {web: {url: 'https://host/x', token: hunter2}}",
        "destinations: {web: {url: 'https://host/x', login: 'u:hunter2'}}",
    ],
)
def test_a_secret_written_in_clear_is_refused_and_not_repeated(section: str) -> None:
    reported = problems(section)
    assert reported
    assert "hunter2" not in " ".join(map(str, reported))


def test_a_secret_comes_from_the_environment_or_a_file_and_is_never_printed(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("s3cret-file\n")
    text = """\
admin: {token: {env: TOKEN}, logins: [{user: a, password: {file: password}}]}
queue: {url: {env: REDIS}}
"""
    environ = {"TOKEN": "s3cret-env", "REDIS": "redis://:s3cret-url@h/0"}
    config, reported = read_config(text, folder=tmp_path, environ=environ)
    assert reported == ()
    assert config is not None
    assert config.admin.token is not None
    assert config.admin.token.reveal() == "s3cret-env"
    assert config.admin.logins[0].password.reveal() == "s3cret-file"
    assert config.redis_url == "redis://:s3cret-url@h/0"
    for printed in (repr(config), str(config), config.model_dump_json(), str(config.model_dump()), str(config.queue)):
        assert "s3cret" not in printed


def test_a_secret_that_is_not_there_is_told_by_its_name() -> None:
    problem = only("admin:\n  token: {env: NOT_SET}\n")
    assert problem.line == 2
    assert "NOT_SET is not set" in problem.message


def test_secrets_need_not_be_there_to_check_a_file_elsewhere() -> None:
    config, reported = read_config("admin: {token: {env: NOT_SET}}", folder=HERE, environ={}, read_secrets=False)
    assert reported == ()
    assert config is not None


def test_an_admin_page_open_to_the_network_is_refused() -> None:
    assert "open to everybody" in only("admin: {address: 0.0.0.0, local_access: true}").message
    (problem,) = problems("admin: {local_access: true, token: {env: T}}", T="x")
    assert "nobody on this machine needs to log in" in problem.message
    assert problems("admin: {address: 0.0.0.0}") == ()  # without an account nobody is let in
    assert problems("admin: {address: 0.0.0.0, token: {env: T}}", T="x") == ()


def test_unknown_peers_are_let_in_only_with_an_explicit_address() -> None:
    assert "accept_unknown_peers" in only("listener: {accept_unknown_peers: true}").message
    assert problems("listener: {accept_unknown_peers: true, address: 127.0.0.1}") == ()


def test_words_that_yaml_1_1_would_change_stay_what_was_written() -> None:
    text = GOOD.replace("{contains: chest}", "NO").replace("{in: [CR, DX]}", "0010")
    config, reported = read_config(text.replace("Modality", "PatientID"), folder=HERE, environ={})
    assert reported == ()
    assert config is not None
    assert str(config.routes[0].when) == "PatientID = 0010 and BodyPartExamined = NO"


def test_a_part_shared_by_anchor_keeps_the_line_of_its_fault() -> None:
    text = GOOD.replace("    complete:", "    complete: &c").replace("20s", "20")
    text += "x: &unused {}\n"
    reported = problems(text)
    assert [problem.line for problem in reported] == [9, 15]
    merged = GOOD.replace("{quiet_for: 20s, at_most: 90m}", "&c {quiet_for: 20s}")
    merged = merged.replace("otherwise", "  - {name: b, when: {}, run: b, complete: {<<: *c, at_most: 10s}}\notherwise")
    assert "quiet_for (20s) is longer than at_most (10s)" in only(merged).message


def test_a_section_whose_lines_are_commented_out_counts_as_left_out() -> None:
    assert problems("admin:\n  # port: 1\nlistener: {}\n") == ()


@given(blank=st.integers(0, 30), padding=st.integers(0, 12), key=st.text("abcxyz", min_size=3, max_size=10))
def test_the_line_of_a_fault_moves_with_it(blank: int, padding: int, key: str) -> None:
    text = "\n" * blank + GOOD.replace("    priority: urgent", "\n" * padding + f"    {key}: urgent")
    problem = only(text)
    assert problem.line == blank + padding + 13
    assert problem.place == ("routes", 0, key)


@given(st.text(max_size=80))
def test_no_text_makes_the_reader_fall_over(text: str) -> None:
    problems(text)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
                    lambda inner: st.lists(inner, max_size=3)
                    | st.dictionaries(st.sampled_from([*Config.model_fields, "name", "when", "run", "Modality", "in",
                                                       "not", "any", "send", "to", "complete", "expect", "from"]),
                                      inner, max_size=4), max_leaves=12))  # fmt: skip
def test_no_shape_of_values_makes_the_reader_fall_over(value: object) -> None:
    import yaml

    problems(yaml.safe_dump(value))
    problems(yaml.safe_dump({"routes": [value], "destinations": value}))
