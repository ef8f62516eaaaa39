"""The types of `schema` for the checker, so that the table itself needs none on a chip."""

from typing import TypeAlias

Value: TypeAlias = int | str | None
"""A field's value: steps, None for missing, or UNDER / OVER."""
Values: TypeAlias = list[Value]
Numbers: TypeAlias = list[int | None]
"""Values with None in place of all that is not a number."""
Rule: TypeAlias = tuple[int, int, int, int, int, int, int]
Field: TypeAlias = (
    tuple[str, str, int, int, int, int, Rule | None] | tuple[str, str, int, int, int, int, Rule | None, int]
)
Table: TypeAlias = tuple[Field, ...]
Tables: TypeAlias = dict[int, Table]

UNDER: str
OVER: str
TABLE: Tables

def fields(kind: int) -> Table: ...
def index(kind: int, name: str) -> int: ...
def base(table: Table) -> int: ...
def checksum(kind: int, tables: Tables) -> int: ...
def crc(kind: int) -> int: ...
def __getattr__(name: str) -> int: ...  # VERSION, EPOCH_UNIX, the kinds and the vocabulary
