"""The files of vectors in pieces that fit a node's heap, each with the code that runs it on the board."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from felinar_board_test.bundle import ROOT
from felinar_board_test.errors import BoardTestError

FOLDER = ROOT / "tests" / "vectors"
SECURITY = "security_"
AIR = "air"
_LARGEST = 16384
"""Bytes of one vector's data, put together, that a node's heap takes twice over; larger ones are for hosts."""
_PIECE = 3000
"""Characters of JSON in a piece: about ten times as much heap while it runs."""
WIRE = ("bits", "codec", "core", "batch", "frame", "kept", "_kept_host", "scale", "schema", "serial")
"""With what only a host uses of it: the vectors are the same for both ends."""
SEALING = ("aes", "hmac", "join", "lms", "session", "tesla")
ACCESS = ("plan", "duty", "modem", "node", "host")
"""Modules of felinar_air."""


@dataclass(frozen=True)
class Piece:
    """Some vectors of a file: `content` is mounted as `name`, `code` runs it; without code they are too large for a node."""

    file: str
    name: str
    content: Any
    code: str
    count: int


def names() -> list[str]:
    """The files that there are, without their ending. Raises BoardTestError when there are none."""
    found = sorted(path.stem for path in FOLDER.glob("*.json"))
    if not found:
        raise BoardTestError(f"There are no vectors in {FOLDER}.", "The test runs from a checkout of the repository.")
    return sorted(
        found, key=lambda name: (name.startswith(SECURITY), name == AIR)
    )  # these begin with a heap of their own


def pieces(name: str) -> Iterator[Piece]:
    """One file in pieces. Raises BoardTestError for a file whose form is not known."""
    content = json.loads((FOLDER / f"{name}.json").read_text())
    if name.startswith(SECURITY):
        part = name.removeprefix(SECURITY)
        try:
            parts = list(_SECURITY[part](content))
        except KeyError as error:
            raise BoardTestError(f"Nobody knows how to run {name}.json: {error} is missing.") from error
        for i, (one, count) in enumerate(parts):
            if one is None:
                yield Piece(name, "", None, "", count)
                continue
            yield Piece(name, f"{name}-{i}.json", one, f"agent.security('{name}-{i}.json', '{part}')", count)
    else:
        module = "air_calls" if name == AIR else "calls"
        for i, some in enumerate(_some(content["vectors"])):
            yield Piece(name, f"{name}-{i}.json", some, f"agent.calls('{name}-{i}.json', '{module}')", len(some))


def _some(vectors: Sequence[Any]) -> Iterator[list[Any]]:
    some: list[Any] = []
    size = 0
    for vector in vectors:
        n = len(json.dumps(vector))
        if some and size + n > _PIECE:
            yield some
            some, size = [], 0
        some.append(vector)
        size += n
    if some:
        yield some


def _frames(content: dict[str, Any]) -> Iterator[tuple[Any, int]]:
    for kind in ("sealed", "received"):
        for some in _some(content[kind]):
            yield {"sealed": [], "received": [], kind: some}, len(some)


def _join(content: dict[str, Any]) -> Iterator[tuple[Any, int]]:
    for some in _some(content["joins"]):
        yield {"joins": some}, len(some)


def _tesla(content: dict[str, Any]) -> Iterator[tuple[Any, int]]:
    whole = {key: content[key] for key in ("keys", "start", "zone_key", "heard")}
    yield {**whole, "lessons": []}, len(content["heard"])
    last = max(content["keys"], key=int)
    for lesson in content["lessons"]:
        alone = {**whole, "keys": {last: content["keys"][last]}, "heard": [], "lessons": [lesson]}
        yield alone, len(lesson["steps"])


def _lms(content: dict[str, Any]) -> Iterator[tuple[Any, int]]:
    good = {key: content[key] for key in ("public", "message", "signature")}
    for i, spoilt in enumerate(content["spoilt"]):
        yield {**good, "spoilt": [spoilt]}, 1 + (i == 0)


def _standards(content: dict[str, Any]) -> Iterator[tuple[Any, int]]:
    kinds = ("cmac", "ccm", "hmac_sha256", "hss")
    for kind in kinds:
        large = [v for v in content[kind] if len(v.get("aad", "")) // 2 * v.get("aad_repeat", 1) > _LARGEST]
        if large:
            yield None, len(large)
        for some in _some([v for v in content[kind] if v not in large]):
            yield {**{key: [] for key in kinds}, kind: some}, len(some)


_SECURITY = {"frames": _frames, "join": _join, "tesla": _tesla, "lms": _lms, "standards": _standards}
