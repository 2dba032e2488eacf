"""The part of a page that is made from the code stands between two marks of its own."""

from __future__ import annotations


def with_part(page: str, begin: str, end: str, part: str) -> str:
    """The page with what stands between the two marks replaced; the marks stay.

    Raises
    ------
    ValueError
        If the page lacks a mark.
    """
    before, has_begin, rest = page.partition(begin)
    _, has_end, after = rest.partition(end)
    if not has_begin or not has_end:
        raise ValueError(f"the page needs the marks {begin} and {end}")
    return f"{before}{begin}\n{part.rstrip()}\n{end}{after}"
