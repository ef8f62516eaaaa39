"""What `felinar selftest` does: the test that flashing runs, on a node that runs already."""

from __future__ import annotations

import sys

import msgspec
from rich.console import Console
from rich.table import Table

from felinar.care.line import CareLine
from felinar.care.node import Node, Who
from felinar.flash.prove import BAUD, TEST_S, Part


def run(
    port: str, *, relay: bool = True, lamp: bool = False, wait_s: float = TEST_S, json: bool = False, baud: int = BAUD
) -> bool:
    """Test the parts of the node at a port and tell of it; whether all passed. Raises CareError."""
    with CareLine(port, baud) as line, Console(stderr=True, highlight=False).status("asks who is there") as status:
        node = Node(line)
        who = node.meet()
        status.update("reads the sensors")
        parts = node.self_test(lambda text: status.update(f"reads the sensors: {text}"), wait_s=wait_s)
        if not parts:
            parts = [Part("console", False, "the node does not answer to selftest")]
        elif relay:
            status.update("clicks the relay: the lamp goes off and on")
            meter = any("power" in values for values in node.values().values())
            parts += node.relay(lamp=lamp, meter=meter)
    passed = all(part.passed for part in parts)
    if json:
        told = {"node": who.address, "uid": who.uid, "firmware": who.firmware, "passed": passed, "parts": parts}
        sys.stdout.write(msgspec.json.encode(told).decode() + "\n")
    else:
        _show(who, parts)
    return passed


def _show(who: Who, parts: list[Part]) -> None:
    console = Console(highlight=False)
    console.print(f"Node {who.address}, board {who.uid}, firmware {who.firmware}, boot {who.boot}", soft_wrap=True)
    table = Table(box=None, show_header=False, pad_edge=False)
    for part in parts:
        table.add_row("ok" if part.passed else "FAILED", part.name, part.detail)
    console.print(table)
    failed = [part.name for part in parts if not part.passed]
    console.print(
        "All parts work." if not failed else f"{', '.join(failed)} failed: check how it is wired.", soft_wrap=True
    )
