"""Which modules a role loads: its imports followed from main.py, functions included, and what is loaded by name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path


def _root() -> Path:
    checkout = Path(__file__).resolve().parents[2]
    return checkout if (checkout / "boards" / "partitions.toml").is_file() else Path(__file__).with_name("data")


ROOT = _root()
"""Where boards/, firmware/ and protocol/ lie: the checkout, or the data of an installed wheel."""
FOLDERS = (ROOT / "firmware", ROOT / "protocol")
"""Where a module is looked for, as on a node's path."""

HOST_ONLY = re.compile(r"felinar_wire\._\w+_host")
"""Halves of a module that only a host has. A module that can do without one imports it where ImportError is caught."""

LAMP_WIRE_EXTRA = ("session", "aes", "join", "tesla", "clock", "lms")
"""Modules of felinar_wire that the lamp node's sealing, radio and updates load beside what its wired line loads."""


FOR_A_MOMENT = frozenset(
    (
        "node.config",
        "node.console",
        "node.joining",
        "node.past",
        "node.prove",
        "node.ram",
        "node.schedule",
        "node.settings",
        "felinar_wire.join",
        "felinar_wire.lms",
    )
)
"""Modules that a node loads for what it does seldom (a start, a change of its configuration, a session, an update) and then
lets go of, so that they take no heap; and `node.ram`, for boards without an outbox partition alone."""


RADIO_ONLY = frozenset(("node.radio",))
"""What a node imports where its line is a radio."""
WIRE_ONLY = frozenset(("node.console", "node.line", "node.prove", "node.uplink", "felinar_wire.serial"))
"""What a node imports for its wired line, which a node with a radio has not."""


class ImportFault(Exception):
    """A module imports what a node will not have; the message is one sentence for the user."""


@dataclass(frozen=True)
class Import:
    """One name that a module imports."""

    module: str
    optional: bool
    """ImportError is caught around it."""


def path_of(module: str) -> Path | None:
    """The source of a module of ours by its dotted name; None for what MicroPython brings."""
    for folder in FOLDERS:
        for path in (folder / f"{module.replace('.', '/')}.py", folder / module.replace(".", "/") / "__init__.py"):
            if path.is_file():
                return path
    return None


def place(path: Path) -> str:
    """Where a source lies on the node, e.g. node/app.py."""
    return next(str(path.relative_to(folder)) for folder in FOLDERS if path.is_relative_to(folder))


def name(place: str) -> str:
    """The dotted name of a module by its place on the node."""
    return place.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def closure(roots: Iterable[str], leave: frozenset[str] = frozenset()) -> list[str]:
    """`roots` and every module of ours that they import, by name, ascending; those to `leave` out are not followed.

    Raises ImportFault for a root that does not exist and for a host-only module that is not optional.
    """
    found: set[str] = set()
    wanted = list(roots)
    for root in wanted:
        if path_of(root) is None:
            raise ImportFault(f"there is no module called {root} in {' or '.join(f.name for f in FOLDERS)}")
    while wanted:
        name = wanted.pop()
        path = path_of(name)
        if path is None or name in found or name in leave:
            continue
        found.add(name)
        package = name.rpartition(".")[0]
        if package:
            wanted.append(package)
        for imported in imports(path):
            if not HOST_ONLY.fullmatch(imported.module):
                wanted.append(imported.module)
            elif not imported.optional:
                raise ImportFault(f"{place(path)} imports {imported.module}, which is for hosts alone")
    return sorted(found)


@cache
def _parse(path: Path, _changed: int) -> tuple[Import, ...]:
    return tuple(_walk(ast.parse(path.read_text(), str(path)), place(path), False))


def imports(path: Path) -> tuple[Import, ...]:
    """What a source imports, `__import__("name")` included; what is loaded by a name made at run time is not."""
    return _parse(path, path.stat().st_mtime_ns)


def _walk(tree: ast.AST, where: str, optional: bool) -> Iterator[Import]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, optional) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = _absolute(node, where)
            yield Import(module, optional)
            # What is imported from a package may be a module of it.
            yield from (Import(f"{module}.{alias.name}", optional) for alias in node.names)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "__import__" and node.args:
            name = node.args[0]
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                yield Import(name.value, optional)
        caught = isinstance(node, ast.Try) and any("ImportError" in _names(handler) for handler in node.handlers)
        yield from _walk(node, where, optional or caught)


def _absolute(node: ast.ImportFrom, where: str) -> str:
    if not node.level:
        return node.module or ""
    package = Path(where).parts[: -node.level]
    return ".".join([*package, *([node.module] if node.module else [])])


def _names(handler: ast.ExceptHandler) -> set[str]:
    if handler.type is None:
        return {"ImportError"}
    return {node.id for node in ast.walk(handler.type) if isinstance(node, ast.Name)}
