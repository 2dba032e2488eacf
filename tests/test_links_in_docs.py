"""Every link of the docs to another page, or to a place on one, leads somewhere."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_LINK = re.compile(r"\]\((?!\w+:)([^()\s#]*)(?:#([^()\s]+))?\)")
_CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.MULTILINE | re.DOTALL)


@cache
def places(page: Path) -> frozenset[str]:
    """The anchors of a page, as GitHub makes them from its headings."""
    found: dict[str, int] = {}
    anchors = []
    for heading in re.findall(
        r"^#{1,6} +(.+?)\s*$", re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.M | re.S), re.M
    ):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        again = found.get(anchor, 0)
        found[anchor] = again + 1
        anchors.append(f"{anchor}-{again}" if again else anchor)
    return frozenset(anchors)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target, anchor in _LINK.findall(_CODE.sub("", page.read_text("utf-8"))):
        other = (page.parent / target).resolve() if target else page
        if not other.exists() or (anchor and other.suffix == ".md" and anchor not in places(other)):
            broken.append(f"{target}#{anchor}" if anchor else target)
    assert broken == []
