"""Names for the type checker only: never imported when the program runs, never on a chip."""

from typing import TypeAlias

Value: TypeAlias = int | str | None
"""A field's value: steps, None for missing, or schema.UNDER / schema.OVER."""
Values: TypeAlias = list[Value]
Rule: TypeAlias = tuple[int, int, int, int, int, int, int]
Field: TypeAlias = tuple[str, str, int, int, int, int, Rule | None]
Table: TypeAlias = tuple[Field, ...]
