"""The tables of roles and operations in docs/security.md, made from the code.

`python -m whyray_docs.operations docs/security.md` writes them into the page.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from whyray.admin.operations import declared
from whyray.base.roles import RIGHTS_OF_ROLE, RIGHTS_OF_SCOPE, ROLES, SCOPES, WORDS, Right
from whyray_docs.marks import with_part

WHO: Mapping[str, frozenset[Right] | None] = {
    "nobody": None,
    **{role: RIGHTS_OF_ROLE[role] for role in ROLES},
    **{f"token {scope}": RIGHTS_OF_SCOPE[scope] for scope in SCOPES},
}
"""Who may ask: the rights of each; None for who is not logged in."""


def answer(right: Right, rights: frozenset[Right] | None) -> str:
    """What somebody is answered: 'yes', or the status of the refusal."""
    if right is Right.OPEN:
        return "yes"
    return "401" if rights is None else "yes" if right in rights else "403"


def roles_table() -> str:
    """What each role and scope is for."""
    lines = ["| role, or scope of a token | what it is for |", "| --- | --- |"]
    lines += [f"| {role} | {WORDS[role]} |" for role in ROLES]
    lines += [f"| token `{scope}` | {WORDS[scope]} |" for scope in SCOPES]
    return "\n".join(lines)


def operations_table() -> str:
    """Every operation, and what each is answered who asks for it."""
    lines = [f"| operation | {' | '.join(WHO)} |", f"| --- |{' --- |' * len(WHO)}"]
    for method, path, right in declared():
        cells = " | ".join(answer(right, rights) for rights in WHO.values())
        lines.append(f"| `{method} {path}` | {cells} |")
    return "\n".join(lines)


TABLES: Mapping[str, Callable[[], str]] = {"roles": roles_table, "operations": operations_table}


def with_tables(page: str) -> str:
    """The page with its tables as the code has them, each between its two marks."""
    for name, table in TABLES.items():
        begin, end = f"<!-- {name}: made by whyray_docs.operations -->", f"<!-- end of {name} -->"
        page = with_part(page, begin, end, table())
    return page


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.write_text(with_tables(target.read_text("utf-8")), "utf-8")
