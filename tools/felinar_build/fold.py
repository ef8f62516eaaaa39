"""Makes sources small for a node: names of constants become numbers, names of private data short.

As a C preprocessor would, `schema.EVENT_BOOT` becomes 1 in every source before it is compiled, and the vocabulary goes
from schema.py: a node carries the message table alone. Attributes and variables that begin with an underscore get short
names, the same in all modules; functions and classes keep theirs, so that a traceback can be read.
"""

from __future__ import annotations

import ast
import io
import itertools
import re
import string
import tokenize
from collections import Counter
from functools import cache
from pathlib import Path

from felinar_wire import schema

from felinar_build.modules import FOLDERS

SCHEMA = "felinar_wire/schema.py"


@cache
def constants() -> dict[str, int]:
    """The names in capitals of the schema that stand for whole numbers."""
    return {name: value for name, value in vars(schema).items() if name.isupper() and isinstance(value, int)}


def fold(source: str, place: str) -> str:
    """A source as it is compiled for a node; `place` is where the module lies on the node. Lines stay where they are."""
    prefix = "" if place == SCHEMA else "schema."
    if place == SCHEMA:
        source = _without_vocabulary(source)
    numbers = {f"{prefix}{k}": str(v) if v >= 0 else f"({v})" for k, v in constants().items()}
    return _replace(_replace(source, numbers), _short(_changed()), attributes=True)


def fold_file(path: Path, place: str) -> str:
    """The text of a file, folded; as it is where it is no program, for the compiler to say so."""
    source = path.read_text()
    try:
        return fold(source, place)
    except (SyntaxError, tokenize.TokenError):
        return source


def _without_vocabulary(source: str) -> str:
    """The schema's source without the lines that name kinds and words."""
    lines = source.splitlines(keepends=True)
    for node in ast.parse(source).body:
        defines = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in constants()
        vocabulary = isinstance(node, ast.For) and "globals()" in ast.unparse(node)
        if defines or vocabulary:
            for i in range(node.lineno - 1, node.end_lineno or node.lineno):
                lines[i] = "\n"
    return "".join(lines)


def _sources() -> list[Path]:
    return sorted(path for folder in FOLDERS for path in folder.rglob("*.py"))


def _changed() -> int:
    """Another number when any source is another."""
    return hash(tuple((path, path.stat().st_mtime_ns) for path in _sources()))


@cache
def _short(_changed: int) -> dict[str, str]:
    """Short names for the private data of all sources, the most frequent ones first."""
    used: Counter[str] = Counter()
    kept = set()
    for path in _sources():
        kept.add(path.stem)
        source = path.read_text()
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.alias):
                kept.add(node.name)
            elif isinstance(node, ast.Assign) and ast.unparse(node.value).startswith("const("):
                kept |= {ast.unparse(target) for target in node.targets}  # these are gone once compiled
        used.update(token.string for token in _tokens(source) if token.type == tokenize.NAME)
    pairs = ("_" + "".join(letters) for n in (1, 2) for letters in itertools.product(string.ascii_letters, repeat=n))
    free = (name for name in pairs if name not in used)
    names = sorted(name for name in used if re.fullmatch(r"_[a-zA-Z]\w\w+", name) and name not in kept)
    names.sort(key=lambda name: -used[name])
    return dict(zip(names, free, strict=False))


def _tokens(source: str) -> list[tokenize.TokenInfo]:
    return list(tokenize.generate_tokens(io.StringIO(source).readline))


def _replace(source: str, others: dict[str, str], attributes: bool = False) -> str:
    """Put another text in the place of each name, dotted or not; of attributes only if told so."""
    lines = source.splitlines(keepends=True)
    tokens = _tokens(source)
    for i in range(len(tokens) - 1, -1, -1):
        token = tokens[i]
        if token.type != tokenize.NAME or (i and tokens[i - 1].string == "." and not attributes):
            continue
        last = token
        name = token.string
        if name not in others and i + 2 < len(tokens) and tokens[i + 1].string == ".":
            last = tokens[i + 2]
            name += "." + last.string
        if name in others and last.end[0] == token.start[0]:
            row = token.start[0] - 1
            lines[row] = lines[row][: token.start[1]] + others[name] + lines[row][last.end[1] :]
    return "".join(lines)
