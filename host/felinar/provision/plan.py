"""Reads the plan: a table (CSV) of the poles that get a board, as people and their spreadsheets write it."""

from __future__ import annotations

import csv
import difflib
import io
import re
from collections.abc import Collection
from pathlib import Path

import msgspec

from felinar.config import NODE_MAX, NODE_MIN
from felinar.flash.image import LINES
from felinar.provision.errors import ProvisionError

COLUMNS = ("pole", "name", "place", "latitude", "longitude", "group", "address", "lamp_w", "board", "line")
_NEEDED = ("pole", "name", "latitude", "longitude")
_ALSO = {"lat": "latitude", "lon": "longitude", "lng": "longitude", "long": "longitude", "lamp w": "lamp_w"}
_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?")
_TOLD = 20  # faults that one error lists

EXAMPLE = """\
pole,name,place,latitude,longitude,group,address,lamp_w,board,line
B-0041,Strada Unirii 1,Botoșani,47.74012,26.66591,centru,,60,lilygo_t3_s3,radio
B-0042,Strada Unirii 3,Botoșani,47.74031,26.66634,centru,,60,lilygo_t3_s3,radio
B-0117,"Piața Revoluției, colț",Botoșani,47.74388,26.66907,piata,117,90,,
"""


class PlanEntry(msgspec.Struct, frozen=True):
    """One pole. `latitude`, `longitude` in degrees north and east (WGS 84); `address` is given by the ledger where the
    plan leaves it open; `lamp_w` the lamp's power at full level, W; `board` an id of `boards/`, or empty: as on the
    command line; `line` "wired" or "radio", or empty: as on the command line, else as its board file says. `extra` has the columns that Felinar does not know, as they are."""

    pole: str
    name: str
    latitude: float
    longitude: float
    place: str = ""
    group: str = ""
    address: int | None = None
    lamp_w: float | None = None
    board: str = ""
    line: str = ""
    extra: dict[str, str] = {}


def load(path: Path, *, encoding: str | None = None, boards: Collection[str] | None = None) -> list[PlanEntry]:
    """The entries of a file, in its order. Raises ProvisionError that lists every fault with line and column."""
    try:
        data = path.read_bytes()
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise ProvisionError(
            f"The plan {path} can't be read: {why}.",
            "Name a CSV file; `felinar flash --example` prints one.",
            code="plan",
            asked_wrongly=True,
        ) from None
    return parse(data, str(path), encoding=encoding, boards=boards)


def parse(
    data: bytes, where: str, *, encoding: str | None = None, boards: Collection[str] | None = None
) -> list[PlanEntry]:
    """The entries in a file's bytes; `where` names it in errors, `boards` are the ids that there are (None: any).

    UTF-8 with or without a mark, UTF-16 with one, or `encoding`; separators are commas, semicolons or tabs; numbers
    have a decimal point or comma. Empty lines count for nothing.
    """
    text = _text(data, where, encoding)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_separator(text), strict=True)
    names: list[str] = []
    entries: list[PlanEntry] = []
    faults: list[str] = []
    first: dict[tuple[str, object], int] = {}
    line = 1
    try:
        for cells in reader:
            at, line = line, reader.line_num + 1
            cells = [cell.strip() for cell in cells]
            if not any(cells) or (not names and cells[0].lower().startswith("sep=")):
                continue
            if not names:
                names = _header(cells, at, where)
                continue
            entry = _entry(names, cells, at, faults, boards)
            if entry is not None:
                _unique(entry, at, first, faults)
                entries.append(entry)
    except csv.Error as error:
        faults.append(f'line {line}: {error}. Look for a quotation mark (") that is not closed.')
    if faults:
        more = f"\n  and {len(faults) - _TOLD} more" if len(faults) > _TOLD else ""
        count = f"{len(faults)} faults" if len(faults) > 1 else "a fault"
        raise ProvisionError(
            f"The plan {where} has {count}:" + "".join(f"\n  {fault}" for fault in faults[:_TOLD]) + more,
            "Correct the file and start again; nothing was taken over from it.",
            code="plan",
            asked_wrongly=True,
        )
    if not entries:
        raise ProvisionError(
            f"The plan {where} has no poles.",
            "It needs a line of column names and a line for each pole; `felinar flash --example` prints one.",
            code="plan",
            asked_wrongly=True,
        )
    return entries


def _text(data: bytes, where: str, encoding: str | None) -> str:
    marked = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    name = encoding or ("utf-16" if marked else "utf-8-sig")
    try:
        text = data.decode(name)
    except LookupError:
        raise ProvisionError(
            f"There is no encoding '{name}'.", "Usual ones: utf-8, cp1250, cp1252.", code="plan", asked_wrongly=True
        ) from None
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ProvisionError(
            f"The plan {where}, line {line}: a letter is not {name.removesuffix('-sig').upper()} text.",
            "Save it as 'CSV UTF-8', or say its encoding: --encoding cp1250 (central Europe) or cp1252 (western).",
            code="plan",
            asked_wrongly=True,
        ) from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise ProvisionError(
            f"The plan {where}, line {line}: a character of no text (a zero).",
            "A spreadsheet's own file is no CSV: save it as 'CSV UTF-8'.",
            code="plan",
            asked_wrongly=True,
        )
    return text


def _separator(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    if lines and lines[0].lower().startswith("sep=") and len(lines[0].rstrip()) == 5:
        return lines[0].rstrip()[4]
    head = lines[0] if lines else ""
    return max(",;\t", key=head.count)


def _header(cells: list[str], line: int, where: str) -> list[str]:
    names = [_ALSO.get(cell.lower(), cell.lower()) for cell in cells]
    while names and not names[-1]:
        names.pop()
    for i, name in enumerate(names):
        if not name or names.count(name) > 1:
            what = f"the name '{name}' stands there twice" if name else f"column {i + 1} has no name"
            raise ProvisionError(
                f"The plan {where}, line {line}: {what}.",
                "Give each column a name of its own.",
                code="plan",
                asked_wrongly=True,
            )
    missing = [name for name in _NEEDED if name not in names]
    if missing:
        near = [(m, difflib.get_close_matches(m, names, 1)) for m in missing]
        hints = [f"'{found[0]}' is perhaps meant to be '{m}'" for m, found in near if found]
        raise ProvisionError(
            f"The plan {where}, line {line}: the column {' and the column '.join(missing)} is missing.",
            ("; ".join(hints) + ". " if hints else "") + f"The first line names the columns: {', '.join(COLUMNS)}.",
            code="plan",
            asked_wrongly=True,
        )
    return names


def _entry(
    names: list[str], cells: list[str], line: int, faults: list[str], boards: Collection[str] | None
) -> PlanEntry | None:
    while len(cells) > len(names) and not cells[-1]:
        cells.pop()
    if len(cells) > len(names):
        faults.append(
            f"line {line}: {len(cells)} cells, but {len(names)} columns. Where commas part the cells, put numbers with a"
            ' decimal comma and texts with a comma in quotation marks ("38,19").'
        )
        return None
    row = dict(zip(names, cells + [""] * (len(names) - len(cells)), strict=True))
    before = len(faults)

    def fault(column: str, what: str) -> None:
        faults.append(f"line {line}, {column}: {what}")

    def text(column: str, longest: int) -> str:
        value = row.get(column, "")
        if not value and column in _NEEDED:
            fault(column, "is empty. Each pole needs one.")
        elif len(value) > longest:
            fault(column, f"has {len(value)} characters. At most {longest} are allowed.")
        elif any(not c.isprintable() for c in value):
            fault(column, "has a line break or another character that can't be printed. Take it out.")
        return value

    def number(column: str, low: float, high: float, unit: str) -> float | None:
        value = row.get(column, "").replace("\N{MINUS SIGN}", "-")
        if not value:
            if column in _NEEDED:
                fault(column, "is empty. Each pole needs one.")
            return None
        if not _NUMBER.fullmatch(value):
            fault(column, f"'{value}' is no number. Write it like {'47.74012' if unit == 'degrees' else '60'}.")
            return None
        found = float(value.replace(",", "."))
        if not low <= found <= high:
            fault(column, f"{value} is out of range. It goes from {low:g} to {high:g} {unit}.")
            return None
        return found

    def whole(column: str, low: int, high: int) -> int | None:
        value = row.get(column, "")
        if not value:
            return None
        if not (value.isascii() and value.isdigit()) or not low <= int(value) <= high:
            fault(column, f"'{value}' is no address. Write a whole number from {low} to {high}, or leave it empty.")
            return None
        return int(value)

    latitude, longitude = number("latitude", -90, 90, "degrees"), number("longitude", -180, 180, "degrees")
    pole, name = text("pole", 32), text("name", 80)
    place, group = text("place", 80), text("group", 40)
    address, lamp_w = whole("address", NODE_MIN, NODE_MAX), number("lamp_w", 0.1, 2000, "W")
    board = row.get("board", "").lower()
    if board and boards is not None and board not in boards:
        near = difflib.get_close_matches(board, boards, 1)
        hint = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(sorted(boards))}."
        fault("board", f"there is no board '{board}'. {hint}")
    line_ = row.get("line", "").lower()
    if line_ and line_ not in LINES:
        fault("line", f"'{line_}' is no line. Write wired or radio, or leave it empty.")
    if len(faults) > before or latitude is None or longitude is None:
        return None
    extra = {column: value for column, value in row.items() if column not in COLUMNS and value}
    return PlanEntry(pole, name, latitude, longitude, place, group, address, lamp_w, board, line_, extra)


def _unique(entry: PlanEntry, line: int, first: dict[tuple[str, object], int], faults: list[str]) -> None:
    for column, value, shown in (
        ("pole", entry.pole.casefold(), entry.pole),
        ("address", entry.address, str(entry.address)),
    ):
        if value is None:
            continue
        known = first.setdefault((column, value), line)
        if known != line:
            faults.append(f"line {line}, {column}: '{shown}' stands in line {known} already. Each pole has its own.")
