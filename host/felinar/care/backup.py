"""The file that a node's configuration is kept in: readable JSON with who it was of, versions and a checksum. No I/O."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import msgspec

from felinar.care.errors import CareError

FORMAT = 1
LAMP_NODE = "lamp node"
MOST = 64 * 1024
"""No backup is that long (a configuration has at most 4076 bytes), so a file that is was chosen by mistake."""
_ANEW = "Make it anew with felinar backup, or take another file."


class Kept(msgspec.Struct, frozen=True):
    """A backup. `fitted` are the drivers of the node's sensors, `made` is ISO time, `config` the JSON of its configuration."""

    role: str
    address: int
    uid: str
    firmware: str
    schema: int
    felinar: str
    made: str
    fitted: list[str]
    config: dict[str, Any]

    @property
    def name(self) -> str:
        """What the node is called, for people."""
        name = self.config.get("name")
        return f"node {self.address} ({name})" if name else f"node {self.address}"


def write(kept: Kept) -> str:
    """The file's text."""
    body = _body(kept)
    return json.dumps({**body, "sha256": _checksum(body)}, indent=1, ensure_ascii=False) + "\n"


def read(data: bytes, where: str) -> Kept:
    """A backup from a file's bytes; `where` names it. Raises CareError: none at all, damaged, of a newer Felinar."""
    try:
        found = json.loads(data)
    except ValueError:
        cut = data.lstrip()[:1] == b"{"
        raise CareError(
            f"{where} is {'damaged: it is no whole JSON' if cut else 'no backup of a node'}.", _ANEW
        ) from None
    version = found.get("felinar_backup") if isinstance(found, dict) else None
    if not isinstance(version, int):
        raise CareError(f"{where} is no backup of a node.", "Name a file that felinar backup has written.")
    if version > FORMAT:
        raise CareError(
            f"{where} was written by a newer Felinar (format {version}; this one knows {FORMAT}).",
            "Update Felinar: pip install --upgrade felinar",
        )
    checksum = found.pop("sha256", None)
    if checksum != _checksum(found):
        raise CareError(
            f"{where} is not as it was written: its checksum is another one.",
            "Take another copy. Who has changed it on purpose writes the node with felinar restore --changed.",
        )
    return _kept(found, where)


def read_changed(data: bytes, where: str) -> Kept:
    """As `read`, of a file that somebody has edited: its checksum does not count."""
    try:
        found = json.loads(data)
    except ValueError as error:
        raise CareError(f"{where} is no JSON: {error}.", "Correct it there.") from None
    if isinstance(found, dict):
        found["sha256"] = _checksum({name: value for name, value in found.items() if name != "sha256"})
    return read(json.dumps(found).encode(), where)


def _kept(found: dict[str, Any], where: str) -> Kept:
    node = found.get("node")
    flat = {
        **(node if isinstance(node, dict) else {}),
        **{name: found.get(name) for name in ("made", "felinar", "config")},
    }
    try:
        return msgspec.convert(flat, Kept)
    except msgspec.ValidationError as error:
        raise CareError(f"{where} lacks something: {str(error).split(' - ')[0].lower()}.", _ANEW) from None


def _body(kept: Kept) -> dict[str, Any]:
    node = {name: getattr(kept, name) for name in ("role", "address", "uid", "firmware", "schema", "fitted")}
    return {"felinar_backup": FORMAT, "made": kept.made, "felinar": kept.felinar, "node": node, "config": kept.config}


def _checksum(body: dict[str, Any]) -> str:
    text = json.dumps(body, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def changes(old: dict[str, Any], new: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(key, value now, value then) of all that differs, "-" for none; keys of objects with dots."""
    before, after = _flat(old), _flat(new)
    keys = [*before, *(key for key in after if key not in before)]
    return [
        (key, before.get(key, "-"), after.get(key, "-")) for key in keys if before.get(key, "-") != after.get(key, "-")
    ]


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, item in value.items():
        if isinstance(item, dict) and item:
            found |= _flat(item, f"{prefix}{key}.")
        else:
            found[prefix + key] = json.dumps(item, ensure_ascii=False)
    return found
