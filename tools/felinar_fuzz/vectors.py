"""The seeds of a search: inputs out of the golden vectors, so that it begins where messages are right."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from felinar_wire import WireError, codec

FOLDER = Path(__file__).resolve().parents[2] / "tests" / "vectors"


def calls(folder: Path = FOLDER) -> Iterator[tuple[str, list[Any], Any]]:
    """(call, args, result, None if it is refused) of every golden vector; none where the repository is not at hand."""
    for path in sorted(folder.glob("*.json")):
        for vector in json.loads(path.read_text()).get("vectors", []):
            yield vector["call"], vector["args"], vector.get("result")


def whole(kind: int, values: list[Any] | None) -> bytes:
    """The whole body of an older message's values; none where there are none."""
    try:
        return codec.encode(kind, values) if values else b""
    except WireError:
        return b""
