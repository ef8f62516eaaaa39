"""Numbers for the names of constants: a node carries the message table, but none of the vocabulary around it.

As a C preprocessor would, `schema.EVENT_BOOT` becomes 1 in every source before it is compiled, and the names go from
schema.py. Lines stay where they are, so that a traceback names the line of the source.
"""

from __future__ import annotations

import ast
import io
import tokenize
from functools import cache
from pathlib import Path

from felinar_wire import schema

SCHEMA = "felinar_wire/schema.py"


@cache
def constants() -> dict[str, int]:
    """The names in capitals of the schema that stand for whole numbers."""
    return {name: value for name, value in vars(schema).items() if name.isupper() and isinstance(value, int)}


def fold(source: str, place: str) -> str:
    """A source as it is compiled for a node; `place` is where the module lies on the node."""
    return (
        _fold_schema(source)
        if place == SCHEMA
        else _replace(source, {f"schema.{k}": v for k, v in constants().items()})
    )


def fold_file(path: Path, place: str) -> str:
    """The text of a file, folded; as it is where it is no program, for the compiler to say so."""
    source = path.read_text()
    try:
        return fold(source, place)
    except (SyntaxError, tokenize.TokenError):
        return source


def _fold_schema(source: str) -> str:
    """The table without the names of kinds and of the vocabulary."""
    lines = source.splitlines(keepends=True)
    for node in ast.parse(source).body:
        defines = (
            isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in constants()
        )
        vocabulary = isinstance(node, ast.For) and "globals()" in ast.unparse(node)
        if defines or vocabulary:
            for i in range(node.lineno - 1, node.end_lineno or node.lineno):
                lines[i] = "\n"
    return _replace("".join(lines), dict(constants()))


def _replace(source: str, numbers: dict[str, int]) -> str:
    """Put the number in the place of each name, dotted or not, wherever it is used as a name."""
    lines = source.splitlines(keepends=True)
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    for i in range(len(tokens) - 1, -1, -1):
        token = tokens[i]
        if token.type != tokenize.NAME or (i and tokens[i - 1].string == "."):
            continue
        last = token
        name = token.string
        if name not in numbers and i + 2 < len(tokens) and tokens[i + 1].string == ".":
            last = tokens[i + 2]
            name += "." + last.string
        if name not in numbers or last.end[0] != token.start[0]:
            continue
        line = lines[token.start[0] - 1]
        number = numbers[name]
        lines[token.start[0] - 1] = (
            f"{line[: token.start[1]]}{number if number >= 0 else f'({number})'}{line[last.end[1] :]}"
        )
    return "".join(lines)
