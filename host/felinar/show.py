"""Readings and nodes for people and programs: tables, CSV, plain lines, and a picture of the live table."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from felinar import api
from felinar.durations import ago
from felinar.readings import DOUBT, FIELDS

_QUIET_S = 120.0
_HEAD = ("time", "node", "name", "boot", "seq", "time_source")
# heading, field, decimals, unit
_COLUMNS = (
    ("light lx", "lux", 1, "lx"),
    ("PM2.5 µg/m³", "pm25", 1, "µg/m³"),
    ("temp °C", "temp", 1, "°C"),
    ("RH %", "rh", 0, "%"),
    ("LAeq dB", "leq", 1, "dB(A)"),
)


def unix(text: str) -> float:
    """Unix seconds of an ISO time of the interface."""
    return datetime.fromisoformat(text).timestamp()


def cell(values: dict[str, api.Value] | None, field: str, decimals: int) -> str:
    """One value: a dash for missing, < and > for what was beyond the range, ? behind one that its node doubts."""
    value = values.get(field) if values else None
    if value is None:
        return "-"
    if value == "under":
        return "<"
    if value == "over":
        return ">"
    assert not isinstance(value, str)
    doubt = values.get("doubt") if values else None
    mark = "?" if isinstance(doubt, int) and doubt & DOUBT.get(field, 0) else ""
    return f"{value:.{decimals}f}{mark}"


def lamp(values: dict[str, api.Value] | None) -> str:
    """The lamp's level: off, or the dimmer's percentage."""
    relay = values.get("relay") if values else None
    if relay is None:
        return "-"
    return "off" if relay == 0 else f"{cell(values, 'dim', 0)} %"


def live_table(nodes: Sequence[api.Node], now: float, *, title: str | None = None) -> Table:
    """The street at this moment, one line a node."""
    table = Table(title=title, title_style="bold", header_style="bold", expand=False)
    table.add_column("node", no_wrap=True)
    for heading, *_ in _COLUMNS:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("lamp", justify="right", no_wrap=True)
    table.add_column("power W", justify="right", no_wrap=True)
    table.add_column("spoke", justify="right", no_wrap=True)
    for node in nodes:
        values = node.latest.values if node.latest else None
        silent = now - unix(node.last_heard)
        spoke = Text(ago(silent) + " ago", style="green" if node.online and silent < _QUIET_S else "red")
        level = lamp(values)
        lit = level not in ("off", "-")
        table.add_row(
            f"{node.node} {node.name}" if node.name else str(node.node),
            *(cell(values, field, decimals) for _, field, decimals, _ in _COLUMNS),
            Text(level, style="yellow" if lit else "dim"),
            cell(values, "power", 1),
            spoke,
        )
    if not nodes:
        table.caption = "no node has spoken yet"
    return table


def to_svg(nodes: Sequence[api.Node], now: float, *, title: str = "felinar live", width: int = 110) -> str:
    """The live table as an SVG picture."""
    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(live_table(nodes, now))
    return console.export_svg(title=title)


def save_svg(file: Path, nodes: Sequence[api.Node], now: float) -> None:
    """Write the live table as an SVG picture."""
    file.write_text(to_svg(nodes, now), encoding="utf-8")


def plain_line(reading: api.Reading) -> str:
    """A reading as one line of text."""
    values = reading.values
    parts = [f"{field} {cell(values, field, decimals)} {unit}" for _, field, decimals, unit in _COLUMNS]
    name = f"{reading.node} {reading.name}" if reading.name else str(reading.node)
    return f"{reading.time} node {name}: {', '.join(parts)}, lamp {lamp(values)}, {cell(values, 'power', 1)} W"


def node_table(nodes: Sequence[api.Node], now: float) -> Table:
    """Nodes and the account of their messages."""
    table = Table(header_style="bold")
    for heading in ("node", "name", "line", "firmware", "boot"):
        table.add_column(heading)
    for heading in ("stored", "refused repeats", "gaps", "pending", "lamp", "spoke"):
        table.add_column(heading, justify="right")
    radio = any(node.radio for node in nodes)
    if radio:
        table.add_column("radio", justify="right", no_wrap=True)
    for node in nodes:
        table.add_row(
            str(node.node), node.name or "", node.link or Text("not connected", style="red"), node.firmware or "-",
            str(node.boot if node.boot is not None else "-"), str(node.stored), str(node.duplicates), str(node.gaps),
            str(node.pending if node.pending is not None else "-"),
            lamp(node.latest.values if node.latest else None), ago(now - unix(node.last_heard)) + " ago",
            *([radio_words(node.radio)] if radio else []),
        )  # fmt: skip
    if words := [node.mismatch for node in nodes if node.mismatch]:
        table.caption = Text("\n".join(words), style="red")
        table.caption_justify = "left"
    return table


def radio_words(radio: api.Radio | None) -> str:
    """How a node is heard, in short."""
    if radio is None:
        return "-"
    slot = "no slot" if radio.slot is None else f"slot {radio.slot}"
    return f"{radio.rssi} dBm, {radio.snr:+.1f} dB, {slot}"


def bridge_table(bridges: Sequence[api.Bridge]) -> Table:
    """Bridges: how they are, whom they have, and what of their duty cycle is used."""
    table = Table(header_style="bold")
    for heading in ("bridge", "state", "number", "channel"):
        table.add_column(heading)
    for heading in ("nodes", "heard", "sent", "not sent", "waiting", "duty cycle used"):
        table.add_column(heading, justify="right")
    for bridge in bridges:
        live = bridge.state == "live"
        wanted = f" (SF{bridge.sf_wanted} would do)" if bridge.nodes and bridge.sf_wanted != bridge.sf else ""
        table.add_row(
            bridge.url, Text(bridge.state if live else f"{bridge.state}: {bridge.reason}", style="green" if live else "red"),
            str(bridge.number), f"{bridge.frequency:.1f} MHz, SF{bridge.sf}{wanted}", f"{bridge.nodes} of {bridge.slots}",
            str(bridge.heard), str(bridge.sent), str(sum(bridge.counts.values())), str(bridge.waiting),
            f"{bridge.duty * 100:.1f} %",
        )  # fmt: skip
    return table


def reading_table(readings: Iterable[api.Reading]) -> Table:
    """Readings as a table of the common values; missing is a dash, beyond the range < or >, doubtful ?."""
    table = Table(header_style="bold")
    table.add_column("time (UTC)", no_wrap=True)
    table.add_column("node")
    for heading in (*(column[0] for column in _COLUMNS), "lamp", "power W"):
        table.add_column(heading, justify="right")
    for reading in readings:
        mark = {"node": "", "inferred": " ~", "arrival": " ?"}[reading.time_source]
        table.add_row(
            reading.time.rstrip("Z").replace("T", " ") + mark,
            f"{reading.node} {reading.name or ''}".strip(),
            *(cell(reading.values, field, decimals) for _, field, decimals, _ in _COLUMNS),
            lamp(reading.values),
            cell(reading.values, "power", 1),
        )
    return table


def write_csv(readings: Iterable[api.Reading], out: Any) -> None:
    """Every field of every reading; missing is empty, beyond the range the word under or over."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow((*_HEAD, *FIELDS))
    for reading in readings:
        values = reading.values or {}
        writer.writerow(
            (
                reading.time, reading.node, reading.name or "", reading.boot, reading.seq, reading.time_source,
                *("" if values.get(field) is None else values[field] for field in FIELDS),
            )
        )  # fmt: skip
