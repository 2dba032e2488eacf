"""Numbers on pages and in texts of reports are written as each language writes them, and in one place of the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError
from pydicom import Dataset

import whyray
from results.answers import answer_about
from results.sources import image_named
from results.test_pages import words_on
from results.test_typed_explanations import METHODS, typed_answer
from whyray.packages import TargetSpec
from whyray.results import Finding, Prevalence, Templates, build_results
from whyray.results.numbers import Numbers
from whyray.results.page.said import number_of
from whyray.results.page.text import wrapped
from whyray.results.portray import Look, portray

RESULTS = Path(whyray.__file__).parent / "results"
COMMA = ("de", "fr", "es")
LANGUAGES = ("en", "ja", *COMMA)
FOR_MACHINES = {"pdf.py", "content_items.py", "softcopy.py"}
"""What they format is read by machines: operators of PDF, decimal strings of DICOM."""
CLDR = {
    "en": ("0.87", "16%", "12,345.6"),
    "ja": ("0.87", "16%", "12,345.6"),
    "de": ("0,87", "16\N{NO-BREAK SPACE}%", "12\N{NO-BREAK SPACE}345,6"),
    "fr": ("0,87", "16\N{NO-BREAK SPACE}%", "12\N{NO-BREAK SPACE}345,6"),
    "es": ("0,87", "16\N{NO-BREAK SPACE}%", "12\N{NO-BREAK SPACE}345,6"),
}
"""Decimal marks and percentages as CLDR 48 has them, told by babel 2.19. Of thousands, its points (de, es) are read as
decimal marks by others, and its narrow space (fr) is not in Latin-1: a space, as ISO 80000-1 wants it."""


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_language_has_its_own_marks(language: str, templates: Templates) -> None:
    numbers = templates.wording(language).numbers
    written = (numbers.fixed(0.87, 2), numbers.whole_percent(0.16), numbers.significant(12345.6, 6))
    assert written == CLDR[language]


@pytest.mark.parametrize(
    ("share", "english", "german"),
    [
        (0.0, "0%", "0 %"),
        (0.004, "below 1%", "unter 1 %"),
        (0.01, "1.0%", "1,0 %"),
        (0.0874, "8.7%", "8,7 %"),
        (0.0996, "10%", "10 %"),
        (0.125, "13%", "13 %"),
        (0.87, "87%", "87 %"),
        (1.0, "100%", "100 %"),
    ],
)
def test_a_probability_is_told_in_whole_percents_with_a_decimal_below_ten(
    share: float, english: str, german: str, templates: Templates
) -> None:
    assert templates.wording("en").numbers.probability(share) == english
    assert templates.wording("de").numbers.probability(share).replace("\N{NO-BREAK SPACE}", " ") == german


@pytest.mark.parametrize(
    ("language", "text"), [("en", "30,120 mm²"), ("de", "30 120 mm²"), ("fr", "30 120 mm²"), ("ja", "30,120 mm²")]
)
def test_an_area_of_many_square_millimetres_has_no_power_of_ten(language: str, text: str, templates: Templates) -> None:
    answer = answer_about(image_named("DX, Japanese"))
    lit = answer.findings[0].maps[0].region
    area = Finding(TargetSpec(name="heart"), present=True, probability=None, value=30120.4, mask=lit)
    told = number_of(answer, area, templates.wording(language))
    assert told.replace("\N{NO-BREAK SPACE}", " ") == text


def test_a_pattern_of_percentages_without_its_number_is_refused() -> None:
    with pytest.raises(ValidationError, match="must hold"):
        Numbers(percent="%")
    with pytest.raises(ValidationError):
        Numbers(decimal_mark="")


@pytest.mark.parametrize("language", COMMA)
@pytest.mark.parametrize("method", [method for method in METHODS if method != "narrative"])
def test_no_explanation_is_told_with_a_decimal_point_where_the_language_has_a_comma(
    method: str, language: str, templates: Templates, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = typed_answer(method)
    finding, wording = answer.findings[0], templates.wording(language)
    said = portray(finding.typed[0], Look(answer, finding, templates, templates.layout, wording))
    drawn = words_on(monkeypatch, lambda: (said.figures, said.plain, said.cine))
    captions = [figure.caption for figure in (*said.figures, *said.cine)]
    texts = [said.headline, *said.lines, *captions, *drawn.split("\n")]
    assert [text for text in texts if re.search(r"\d\.\d", text)] == []
    assert [text for text in texts if re.search(r"\d ?%", text)] == [], "no no-break space before the sign"


@pytest.mark.parametrize("language", COMMA)
def test_the_comments_and_labels_of_objects_have_the_language_s_marks_and_their_numbers_a_point(
    language: str, templates: Templates
) -> None:
    answer = answer_about(image_named("DX, Japanese"))
    finding = replace(answer.findings[0], probability=0.0874, prevalence=Prevalence(0.025, 0.12))
    answer = replace(answer, findings=(finding,))
    made = {
        result.kind: result.dataset
        for result in build_results(answer, ["sr", "ko", "gsps"], templates, language=language)
    }
    told = _texts(made["sr"])
    assert any("2,5\N{NO-BREAK SPACE}%" in text for text in told)
    assert any("8,7\N{NO-BREAK SPACE}%" in text for text in _texts(made["ko"]))
    labels = [element.value for element in made["gsps"].iterall() if element.keyword == "UnformattedTextValue"]
    assert any("8,7\N{NO-BREAK SPACE}%" in text for text in labels)
    numbers = [element.value for element in made["sr"].iterall() if element.keyword == "NumericValue"]
    assert any(str(value) == "8.74" for value in numbers)


def _texts(report: Dataset) -> list[str]:
    return [str(element.value) for element in report.iterall() if element.keyword == "TextValue"]


def test_no_line_begins_with_a_sign_that_belongs_to_the_word_before(templates: Templates) -> None:
    layout = templates.layout
    for room in range(60, 400, 7):
        for text in (
            "Méthode : carte ; 16 % des pixels",
            "Unité : 12\N{NO-BREAK SPACE}345\N{NO-BREAK SPACE}mm² ! Vraiment ?",
        ):
            lines = wrapped(text, room, 20, layout)
            assert not any(line[:1] in tuple(":;!?%") for line in lines if room > 150), lines
            assert not any(line.endswith("12") for line in lines if room > 200), lines


def test_numbers_become_words_in_one_place() -> None:
    """No module of these rooms formats a number by itself, as `f"{x:.2f}"`, `"%.2f" % x`, `format(x, ".2f")` or by
    rounding into a text; what it writes would have one language's decimal mark."""
    own = {
        f"{path.relative_to(RESULTS)}:{line}: {code}"
        for path in sorted(RESULTS.rglob("*.py"))
        if path.name not in FOR_MACHINES
        for line, code in formats_of(ast.parse(path.read_text(encoding="utf-8")))
    }
    told_in_english = {
        place for place in own if place.startswith(("segmentation.py", "report_groups.py", "portray/language.py"))
    }
    assert own - told_in_english == set()
    assert len(told_in_english) == 3, "a description of a segment, a measurement's rule, a claim's source: English"


@pytest.mark.parametrize(
    "code",
    [
        "f'{x:.2f}'", "f'{x:+.3g}'", "f'{x:.0%}'", "f'{x:,}'", "f'{x:.{n}f}'", "'{:.2f}'.format(x)", "'%.2f' % x",
        "format(x, '.2f')", "str(round(x, 2))", "f'{round(x, 1)}'",
    ],
)  # fmt: skip
def test_formats_are_found(code: str) -> None:
    assert list(formats_of(ast.parse(code)))


@pytest.mark.parametrize("code", ["f'{x}'", "f'{x!r:>8}'", "'{name} %'.format(name=x)", "round(x)", "f'{x:02d}'"])
def test_other_texts_are_let_be(code: str) -> None:
    assert not list(formats_of(ast.parse(code)))


_FLOAT = re.compile(r"^[^a-z]*[,.][^a-z]*[fegn%]?$|^[^a-z]*[fegn%]$", re.IGNORECASE)


def formats_of(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, code) of each place that writes a number with decimals, a percent sign or groups of digits."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FormattedValue):
            spec = "" if node.format_spec is None else "".join(_pieces(node.format_spec))
            if _FLOAT.match(spec) or _rounds(node.value):
                yield node.lineno, ast.unparse(node)
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            constant = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
            if called == "format" and any(isinstance(value, str) and _FLOAT.match(value) for value in constant):
                yield node.lineno, ast.unparse(node)
            if called == "str" and node.args and _rounds(node.args[0]):
                yield node.lineno, ast.unparse(node)
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and (re.search(r"\{\w*:[^{}a-z]*[.,][^{}]*\}|%[-+ 0-9]*\.\d+[fge]", node.value))
        ):
            yield node.lineno, ast.unparse(node)


def _pieces(spec: ast.expr) -> Iterator[str]:
    assert isinstance(spec, ast.JoinedStr)
    for part in spec.values:
        yield str(part.value) if isinstance(part, ast.Constant) else "1"


def _rounds(node: ast.expr) -> bool:
    """Whether it is `round(x, digits)`, which leaves decimals."""
    return isinstance(node, ast.Call) and ast.unparse(node.func).endswith("round") and len(node.args) > 1


@pytest.mark.parametrize("language", [language for language in LANGUAGES if language != "en"])
@pytest.mark.parametrize(
    "method", ["latent-shift", "region-counterfactual", "similar-cases", "prototypes", "region-shares"]
)
def test_a_report_answers_yes_and_no_and_says_what_is_made_in_its_own_language(
    method: str, language: str, templates: Templates
) -> None:
    made = build_results(typed_answer(method), ["sr"], templates, language=language)
    report = next(result.dataset for result in made if result.kind == "sr")
    english = {"yes", "no", "not sure", "present", "absent", "SYNTHETIC"} - {templates.wording(language).yes_no.no}
    assert english.isdisjoint(_texts(report))
    assert not any("SYNTHETIC:" in text for text in _texts(report))


def test_what_a_package_calls_its_targets_has_a_name_in_every_language(templates: Templates) -> None:
    """Of the bundled packages: findings, segments and concepts, and the packages themselves."""
    for manifest in sorted(bundled_manifests()):
        package = yaml.safe_load(manifest.read_text(encoding="utf-8"))
        targets = [target["name"] for target in package.get("targets", []) if not target.get("background")]
        if package["name"] in ("cxr-scope", "cxr-captioner", "cxr-autoencoder"):
            continue  # companions: no page is about them
        for language in LANGUAGES[1:]:
            wording = templates.wording(language)
            assert set(targets) <= set(wording.target_names), (package["name"], language)
            assert package["name"] in wording.package_titles, (package["name"], language)


def bundled_manifests() -> list[Path]:
    return list((Path(whyray.__file__).parent / "bundled").glob("*/*/model.yaml"))


@pytest.mark.parametrize("language", [language for language in LANGUAGES if language != "en"])
def test_a_report_names_structures_rules_and_the_package_in_its_own_language(
    language: str, templates: Templates
) -> None:
    answer = typed_answer("region-shares")
    answer = replace(answer, package=replace(answer.package, name="cxr-findings"))
    wording = templates.wording(language)
    made = build_results(answer, ["sr"], templates, language=language)
    texts = _texts(next(result.dataset for result in made if result.kind == "sr"))
    structures = {structure.name for structure in answer.findings[0].typed[0].structures} & set(wording.regions.names)
    assert structures
    for name in structures:
        assert f"region-shares: {wording.regions.names[name]}" in texts
    assert any(wording.package_titles["cxr-findings"] in text for text in texts)
