"""Makes sources small for a node: names of constants become numbers, names of private data short.

As a C preprocessor would, `schema.EVENT_BOOT` becomes 1 in every source before it is compiled, and the vocabulary goes
from schema.py: a node carries the message table alone, without units, with the names of a report's fields only, and with the
CRC of each kind worked out. Attributes and variables that begin with an underscore get short names; functions and classes
keep theirs, so that a traceback can be read. A name that one module alone uses, or it and those whose classes it inherits from
or passes on, may stand for something else in another: MicroPython keeps each name that it has ever met, and 1260 take 7 KB of a
chip's heap less than 1261 (its pools of names double).
"""

from __future__ import annotations

import ast
import io
import itertools
import re
import string
import tokenize
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from felinar_wire import schema

from felinar_build.modules import FOLDERS, path_of, place

SCHEMA = "felinar_wire/schema.py"


@cache
def constants() -> dict[str, int]:
    """The names in capitals of the schema that stand for whole numbers."""
    return {name: value for name, value in vars(schema).items() if name.isupper() and isinstance(value, int)}


def fold(source: str, at: str) -> str:
    """A source as it is compiled for a node; `at` is where the module lies on the node. Lines stay where they are."""
    prefix = "" if at == SCHEMA else "schema."
    if at == SCHEMA:
        source = _table_alone(source)
    numbers = {f"{prefix}{k}": str(v) if v >= 0 else f"({v})" for k, v in constants().items()}
    return _replace(_replace(source, numbers), _short(_changed()).for_place(at), attributes=True)


def fold_file(path: Path, at: str) -> str:
    """The text of a file, folded; as it is where it is no program, for the compiler to say so."""
    source = path.read_text()
    try:
        return fold(source, at)
    except (SyntaxError, tokenize.TokenError):
        return source


def _table_alone(source: str) -> str:
    """The schema's source without the lines that name kinds and words, its table and its checksums as they come out."""
    lines = source.splitlines(keepends=True)
    for node in ast.parse(source).body:
        target = ast.unparse(node.targets[0]) if isinstance(node, ast.Assign) else ""
        name = node.name if isinstance(node, ast.FunctionDef) else ""
        new = ""
        if target == "TABLE":
            new = _table()
        elif isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "_crcs":
            new = f"_crcs = {dict(_checksums())!r}"
        elif name == "crc":
            new = "def crc(kind): return _crcs[kind]"
        elif not (
            target in constants()
            or target in _HELPERS
            or name in _HELPERS
            or (isinstance(node, ast.For) and "globals()" in ast.unparse(node))
            or (isinstance(node, ast.ImportFrom) and node.module == "binascii")
        ):
            continue
        for i in range(node.lineno - 1, node.end_lineno or node.lineno):
            lines[i] = "\n"
        lines[node.lineno - 1] = new + "\n"
    return "".join(lines)


_HELPERS = ("_n", "_f", "_TIME", "_BOOT", "_ID", "_NONCE", "_LEVEL", "_MG", "_DB", "checksum")
"""What only makes the table."""


def _table() -> str:
    """Statements that make the table of a node: equal fields are one object, and only a report's have names."""
    plain: dict[tuple[object, ...], int] = {}
    rows = []
    for kind, table in schema.TABLE.items():
        if kind != schema.REPORT:
            rows.append((kind, bytes(plain.setdefault((None, None, *field[2:]), len(plain)) for field in table)))
    report = tuple((field[0], None, *field[2:]) for field in schema.TABLE[schema.REPORT])
    return (
        f"TABLE = {{{schema.REPORT}: {report!r}}}; _all = {tuple(plain)!r}; "
        f"[TABLE.update({{_kind: tuple([_all[_i] for _i in _row])}}) for _kind, _row in {tuple(rows)!r}]"
    )


def _checksums() -> Iterator[tuple[int, int]]:
    for kind in (*schema.TABLE, schema.BATCH, schema.CONFIG_PART, schema.REKEY):
        yield kind, schema.crc(kind)


def _sources() -> list[Path]:
    return sorted(path for folder in FOLDERS for path in folder.rglob("*.py"))


def _changed() -> int:
    """Another number when any source is another."""
    return hash(tuple((path, path.stat().st_mtime_ns) for path in _sources()))


@dataclass(frozen=True)
class Short:
    """Short names: those that are the same everywhere, and those of one family of modules, by a member's place."""

    everywhere: dict[str, str]
    families: dict[str, dict[str, str]]

    def for_place(self, place: str) -> dict[str, str]:
        return {**self.everywhere, **self.families.get(place, {})}


@cache
def _short(_changed: int) -> Short:
    """Short names for the private data of all sources, the most frequent ones first."""
    used: dict[str, Counter[str]] = {}
    kept = set()
    trees = {}
    for path in _sources():
        kept.add(path.stem)
        source = path.read_text()
        trees[place(path)] = tree = ast.parse(source)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.alias):
                kept.add(node.name)
            elif isinstance(node, ast.Assign) and ast.unparse(node.value).startswith("const("):
                kept |= {ast.unparse(target) for target in node.targets}  # these are gone once compiled
        used[place(path)] = Counter(token.string for token in _tokens(source) if token.type == tokenize.NAME)
    total = sum(used.values(), Counter())
    names = sorted(name for name in total if re.fullmatch(r"_[a-zA-Z]\w\w+", name) and name not in kept)
    names.sort(key=lambda name: -total[name])
    family = _families(trees)
    where = {name: {family[at] for at, count in used.items() if name in count} for name in names}
    pairs = ("_" + "".join(letters) for n in (1, 2) for letters in itertools.product(string.ascii_letters, repeat=n))
    free = [name for name in pairs if name not in total]
    common = [name for name in names if len(where[name]) > 1]
    rest = free[len(common) :]
    own = {
        head: dict(zip((name for name in names if where[name] == {head}), rest, strict=False))
        for head in set(family.values())
    }
    return Short(dict(zip(common, free, strict=False)), {at: own[head] for at, head in family.items()})


def _families(trees: dict[str, ast.Module]) -> dict[str, str]:
    """For each place one that stands for its family: modules whose classes inherit from another's, so that their attributes meet."""
    head = {at: at for at in trees}
    for at, tree in trees.items():
        bases = {
            ast.unparse(base).split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ClassDef) for base in n.bases
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.ImportFrom | ast.Import) or not bases & {
                a.asname or a.name for a in node.names
            }:
                continue
            module = node.module if isinstance(node, ast.ImportFrom) else ""
            for name in [module, *(f"{module}.{a.name}".strip(".") for a in node.names)]:
                path = path_of(name) if name else None
                if path is not None:
                    old, new = head[place(path)], head[at]
                    head = {k: new if v == old else v for k, v in head.items()}
    return head


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
