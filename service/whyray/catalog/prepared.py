"""Statements that are made once and executed on the driver's own cursor: for what is done for each instance.

SQLAlchemy takes five to ten times as long for such a statement as SQLite does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from sqlalchemy import Dialect
from sqlalchemy.sql.expression import ClauseElement


class Cursor(Protocol):
    """What PEP 249 says of a cursor, as far as it is used here."""

    def execute(self, operation: str, parameters: Any = ..., /) -> Any:
        """Execute a statement."""

    def executemany(self, operation: str, parameters: Any, /) -> Any:
        """Execute a statement with each of many sets of parameters."""

    @property
    def rowcount(self) -> int:
        """How many rows the last statements changed, together."""

    def fetchone(self) -> Any:
        """Return the next row of the answer; None after the last."""


@dataclass(frozen=True)
class _Compiled:
    words: str
    names: tuple[str, ...]
    positional: bool
    constants: dict[str, Any]
    processors: dict[str, Callable[[Any], Any]]

    def parameters(self, values: Mapping[str, Any]) -> Any:
        """These values, as the driver takes them."""
        given = {**self.constants, **values}
        for name, process in self.processors.items():
            given[name] = process(given[name])
        return [given[name] for name in self.names] if self.positional else given


@dataclass
class Prepared:
    """One statement. Values of an answer come as the driver gives them."""

    statement: ClauseElement
    _compiled: dict[str, _Compiled] = field(default_factory=dict)

    def execute(self, cursor: Cursor, dialect: Dialect, **values: Any) -> None:
        """Execute it with values for its parameters; the cursor has the answer."""
        compiled = self._compiled.get(dialect.name) or self._compile(dialect)
        cursor.execute(compiled.words, compiled.parameters(values))

    def execute_each(self, cursor: Cursor, dialect: Dialect, rows: Iterable[Mapping[str, Any]]) -> int:
        """Execute it with each of many sets of values; says how many rows that changed."""
        compiled = self._compiled.get(dialect.name) or self._compile(dialect)
        cursor.executemany(compiled.words, [compiled.parameters(values) for values in rows])
        return cursor.rowcount

    def _compile(self, dialect: Dialect) -> _Compiled:
        compiled: Any = self.statement.compile(dialect=dialect)
        processors, constants = {}, {}
        for name, bind in compiled.binds.items():
            process = bind.type.dialect_impl(dialect).bind_processor(dialect)
            if not bind.required:
                constants[name] = bind.value if process is None else process(bind.value)
            elif process is not None:
                processors[name] = process
        names = tuple(compiled.positiontup or ())
        self._compiled[dialect.name] = made = _Compiled(
            str(compiled), names, bool(dialect.positional), constants, processors
        )
        return made
