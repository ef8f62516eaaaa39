"""Runs a node module in CPython as the chip computes: floats of 32 bits, and integers that must stay in 31."""

from __future__ import annotations

import ast
import math
import operator
import struct
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

_PACK = struct.Struct("<f")


def rounded(value: float) -> float:
    return _PACK.unpack(_PACK.pack(value))[0]  # type: ignore[no-any-return]


def wrap(value: Any) -> Any:
    if isinstance(value, bool) or value is NotImplemented:
        return value
    if isinstance(value, int):
        assert -(1 << 30) <= value < 1 << 30, f"{value} is not a small integer"
        return I31(value)
    if isinstance(value, float):
        return F32(rounded(value))
    return value


def plain(value: Any) -> Any:
    if isinstance(value, F32):
        return float(value)
    return rounded(int(value)) if isinstance(value, I31) else value


def _binary(function: Callable[[Any, Any], Any], *, reflected: bool) -> Callable[[Any, Any], Any]:
    def apply(self: Any, other: Any) -> Any:
        assert isinstance(other, F32 | I31), f"{other!r} escaped the emulation"
        if isinstance(self, I31) and isinstance(other, I31):
            a, b = int(self), int(other)
        else:
            a, b = plain(self), plain(other)
        return wrap(function(b, a) if reflected else function(a, b))

    return apply


class F32(float):
    """A float of 32 bits: every result is rounded."""

    def __neg__(self) -> F32:
        return F32(-float(self))

    def __abs__(self) -> F32:
        return F32(abs(float(self)))


class I31(int):
    """A small integer: a result that is none fails."""

    def __neg__(self) -> Any:
        return wrap(-int(self))


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod"):
    for _kind in (F32, I31):
        setattr(_kind, f"__{_name}__", _binary(getattr(operator, _name), reflected=False))
        setattr(_kind, f"__r{_name}__", _binary(getattr(operator, _name), reflected=True))


class _Literals(ast.NodeTransformer):
    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        if isinstance(node.value, int | float) and not isinstance(node.value, bool):
            return ast.copy_location(ast.Call(ast.Name("__wrap__", ast.Load()), [node], []), node)
        return node


def load(path: Path) -> types.ModuleType:
    """The module with every number in it, and every function of `math`, in the chip's arithmetic."""
    emulated = types.ModuleType("math")
    for name in ("sin", "cos", "tan", "asin", "acos", "atan", "sqrt", "degrees", "radians", "log10", "floor"):
        function = getattr(math, name)
        setattr(emulated, name, lambda x, f=function: wrap(f(plain(x))))
    emulated.pi = wrap(math.pi)  # type: ignore[attr-defined]
    tree = ast.fix_missing_locations(_Literals().visit(ast.parse(path.read_text())))
    module = types.ModuleType(path.stem)

    def find(name: str, *arguments: Any) -> Any:
        if name == "math":
            return emulated
        return (
            types.SimpleNamespace(const=lambda value: value) if name == "micropython" else __import__(name, *arguments)
        )

    module.__dict__["__wrap__"] = wrap
    module.__dict__["__builtins__"] = {**vars(__import__("builtins")), "__import__": find}
    exec(compile(tree, str(path), "exec"), module.__dict__)
    return module
