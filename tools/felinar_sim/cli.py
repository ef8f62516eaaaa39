"""The command `felinar-sim`: runs a simulated street, or a virtual board, for people, for the daemon, and for tests."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from felinar_sim.board import Appended
from felinar_sim.clock import RealClock, VirtualClock
from felinar_sim.conditions import Position
from felinar_sim.errors import SimulatorError
from felinar_sim.street import BOTOSANI, Pole, Street
from felinar_sim.vboard import cli as vboard

cli = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="The simulated street: real firmware on simulated boards in a simulated world.",
)
_err = Console(stderr=True)

_COMMANDS = """Commands, one a line on standard input; NODE is a number from 1 on:

- `state` print the state of all nodes; `ledger` what was durably appended so far
- `cut NODE`, `on NODE`, `cycle NODE SECONDS` take the mains away, bring it back, both
- `cutafter NODE OPERATIONS [TORN]` lose power in a later flash operation
- `reset NODE`, `brownout NODE`
- `pull NODE`, `plug NODE` the cable
- `garbage NODE BYTES_PER_SECOND`, `corrupt NODE SHARE` (0 ends it)
- `fault NODE DRIVER ATTRIBUTE VALUE` set a chip's fault, for example `fault 1 sps30 nack true`
- `quit`
"""


@cli.command(epilog=_COMMANDS)
def street(
    app: Annotated[Path, typer.Option(help="Application folder, made by `python -m felinar_build app`.")],
    nodes: Annotated[int, typer.Option(min=1, max=1000, help="How many poles.")] = 1,
    folder: Annotated[
        Path | None, typer.Option("--dir", help="Where nodes keep flash and log, and their terminals appear.")
    ] = None,
    lat: Annotated[
        float, typer.Option(min=-90, max=90, help="Latitude of the first pole, degrees north.")
    ] = BOTOSANI.lat,
    lon: Annotated[float, typer.Option(min=-180, max=180, help="Longitude, degrees east.")] = BOTOSANI.lon,
    zone: Annotated[str, typer.Option(help="IANA time zone of the street.")] = "Europe/Bucharest",
    report_period: Annotated[int, typer.Option(min=1, help="Seconds between reports.")] = 300,
    seed: Annotated[str, typer.Option(help="Seed of everything random.")] = "0",
    start: Annotated[
        datetime | None,
        typer.Option(help="The world's time at the start, UTC; default: now (real), 2026-01-01 (virtual)."),
    ] = None,
    seconds: Annotated[float | None, typer.Option("--for", min=0, help="End by itself after so many seconds.")] = None,
    virtual: Annotated[
        bool, typer.Option("--virtual", help="Virtual time: as fast as it goes, without terminals.")
    ] = False,
    tcp: Annotated[
        bool, typer.Option("--tcp", help="TCP ports (socket://127.0.0.1:PORT) instead of terminals.")
    ] = False,
    first_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of node 1 with --tcp; 0: any free ones.")] = 0,
    levels: Annotated[
        bool, typer.Option("--levels", help="Level statistics instead of sound samples (much faster).")
    ] = False,
    heap: Annotated[str, typer.Option(help="Heap of a node's interpreter.")] = "224K",
    status: Annotated[float, typer.Option(min=0, help="Seconds between states on the screen; 0: none.")] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines on standard output.")] = False,
) -> None:
    """Run a street until Ctrl-C, SIGTERM, `quit` or the end of --for; then print the books.

    **Examples**

    `felinar-sim street --app build/app --nodes 3 --dir run --report-period 5`

    `felinar-sim street --app build/app --virtual --for 86400 --levels`

    With --json every line is an object with an `event`: `ready` (nodes with their terminals or ports), `state`, `boot`,
    `answer` (to a command), `ledger` (at the end). Every append to an outbox that returned is also a line of `DIR/ledger.jsonl`.
    """
    moment = start.replace(tzinfo=UTC) if start is not None else None
    clock = VirtualClock(moment or 1_767_225_600) if virtual else RealClock(moment)
    if virtual and seconds is None:
        raise SimulatorError("virtual time would run for ever: add --for SECONDS")
    with Street(
        nodes, app=app, clock=clock, folder=folder, seed=seed, position=Position(lat, lon), zone=zone, report_s=report_period,
        levels=levels, heap=heap, lines=None if virtual else "tcp" if tcp else "pty", first_port=first_port,
    ) as running:  # fmt: skip
        _Session(running, as_json=as_json, status_s=status).run(seconds)


cli.command(epilog=vboard.COMMANDS)(vboard.board)
cli.command()(vboard.firmware)


class _Session:
    """One run of the command: output, commands, and the end."""

    def __init__(self, street: Street, *, as_json: bool, status_s: float) -> None:
        self.street = street
        self.out = Console()
        self._json = as_json
        self._status_us = round(status_s * 1_000_000)
        self._started = time.monotonic()
        self._input = b""
        self._ledger = None if street.temporary else open(street.folder / "ledger.jsonl", "w", buffering=1)  # noqa: SIM115
        for pole in street:
            pole.on_boot.append(self._on_boot(pole))
            if self._ledger is not None:
                pole.on_append.append(self._on_append(pole))

    def run(self, seconds: float | None) -> None:
        """Live, then print the books."""
        clock = self.street.clock
        self._ready()
        if isinstance(clock, RealClock):
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda *_: clock.stop())
            self._listen()
        if self._status_us:
            clock.at(clock.now_us + self._status_us, self._status)
        self.street.run_for(seconds if seconds is not None else 10 * 366 * 86_400)
        self._books("ledger")
        if self._ledger is not None:
            self._ledger.close()

    # Output

    def _print(self, event: str, **content: Any) -> None:
        sys.stdout.write(json.dumps({"event": event, "at": self.street.clock.now_us / 1e6, **content}) + "\n")
        sys.stdout.flush()

    def _ready(self) -> None:
        nodes = [
            {
                "node": pole.address,
                "tty": str(pole.pty.name) if pole.pty else None,
                "port": pole.tcp.port if pole.tcp else None,
                "dir": str(pole.folder),
            }
            for pole in self.street
        ]
        if self._json:
            self._print("ready", nodes=nodes, pid=os.getpid())
            return
        table = Table("Node", "Line", "Folder")
        for node in nodes:
            port = f"socket://127.0.0.1:{node['port']}" if node["port"] else "-"
            table.add_row(str(node["node"]), str(node["tty"] or port), str(node["dir"]))
        self.out.print(table)

    def _on_boot(self, pole: Pole) -> Callable[[], None]:
        def told() -> None:
            if self._json:
                self._print("boot", node=pole.address, boots=len(pole.boots), cause=pole.reset_cause.name.lower())
            elif len(pole.boots) > 1:
                self.out.print(f"node {pole.address}: boot {len(pole.boots)}, {pole.reset_cause.name.lower()}")

        return told

    def _on_append(self, pole: Pole) -> Callable[[Appended], None]:
        def told(a: Appended) -> None:
            assert self._ledger is not None
            entry = {
                "node": pole.address,
                "kind": a.kind,
                "boot": a.boot,
                "seq": a.seq,
                "at": a.at_us / 1e6,
                "body": a.body.hex(),
            }
            self._ledger.write(json.dumps(entry) + "\n")

        return told

    def _status(self) -> None:
        clock = self.street.clock
        self._state()
        clock.at(clock.now_us + self._status_us, self._status)

    def _state(self) -> None:
        states = [pole.state() for pole in self.street]
        if self._json:
            self._print("state", nodes=states)
            return
        table = Table("Node", "Power", "Boots", "Lit", "Lamp W", "Dim", "Appended", "Line out/in")
        for s in states:
            line = f"{s['console']['sent']}/{s['console']['received']}"
            table.add_row(
                str(s["node"]), "on" if s["powered"] else "off", f"{s['boots']} ({s['reset_cause']})", "yes" if s["lit"] else "no",
                f"{s['lamp_w']:.1f}", f"{s['dim']:.0%}", str(s["appended"]), line,
            )  # fmt: skip
        self.out.print(table)

    def _books(self, event: str) -> None:
        nodes = []
        for pole in self.street:
            causes = Counter(cause.name.lower() for _, cause in pole.boots)
            nodes.append(
                {
                    "node": pole.address,
                    "appended": len(pole.appended),
                    "boots": dict(causes),
                    "console": pole.state()["console"],
                    "flash_operations": pole.fuse.operations,
                }
            )
        total = sum(len(pole.appended) for pole in self.street)
        took = time.monotonic() - self._started
        if self._json:
            self._print(event, appended=total, nodes=nodes, wall_s=round(took, 3))
            return
        table = Table("Node", "Appended", "Boots", "Flash operations", title=f"{total} appended, {took:.1f} s")
        for node in nodes:
            boots = ", ".join(f"{n} {cause}" for cause, n in node["boots"].items())
            table.add_row(str(node["node"]), str(node["appended"]), boots, str(node["flash_operations"]))
        self.out.print(table)

    # Commands

    def _listen(self) -> None:
        try:
            self.street.clock.watch(sys.stdin.fileno(), self._readable)
        except (OSError, ValueError):
            return  # a file or nothing: no commands
        os.set_blocking(sys.stdin.fileno(), False)

    def _readable(self) -> None:
        try:
            data = os.read(sys.stdin.fileno(), 4096)
        except BlockingIOError:
            return
        if not data:
            self.street.clock.unwatch(sys.stdin.fileno())
            return
        *lines, self._input = (self._input + data).split(b"\n")
        for line in lines:
            words = line.decode(errors="replace").split()
            if words:
                self._answer(words)

    def _answer(self, words: list[str]) -> None:
        try:
            self._command(words[0], words[1:])
        except (SimulatorError, ValueError, IndexError, KeyError, AttributeError) as error:
            reason = str(error.args[0]) if error.args else type(error).__name__
            if self._json:
                self._print("answer", command=" ".join(words), ok=False, error=reason)
            else:
                _err.print(f"{' '.join(words)}: {reason}", style="red", highlight=False)
            return
        if self._json:
            self._print("answer", command=" ".join(words), ok=True)

    def _command(self, verb: str, rest: list[str]) -> None:
        if verb == "quit":
            self.street.stop()
        elif verb == "state":
            self._state()
        elif verb == "ledger":
            self._books("books")
        else:
            self._pole_command(verb, rest)

    def _pole_command(self, verb: str, rest: list[str]) -> None:
        if not rest or not rest[0].isdecimal() or not 1 <= int(rest[0]) <= len(self.street):
            raise SimulatorError(f"{verb} needs a node from 1 to {len(self.street)}")
        pole, values = self.street[int(rest[0]) - 1], rest[1:]
        actions: dict[str, Callable[[], None]] = {
            "cut": pole.cut_power,
            "on": pole.power_on,
            "reset": pole.reset,
            "brownout": pole.brown_out,
            "pull": pole.pull,
            "plug": pole.plug,
            "cycle": lambda: pole.power_cycle(float(values[0])),
            "cutafter": lambda: pole.cut_after(int(values[0]), *map(float, values[1:2])),
            "garbage": lambda: pole.console.garbage(float(values[0])),
            "corrupt": lambda: pole.console.corrupt(float(values[0])),
            "fault": lambda: _set_fault(pole.chip(values[0]), values[1], values[2]),
        }
        if verb not in actions:
            raise SimulatorError(f"no command {verb!r}; there are state, ledger, quit, {', '.join(actions)}")
        actions[verb]()


def _set_fault(chip: object, attribute: str, value: str) -> None:
    if attribute.startswith("_") or not hasattr(chip, attribute):
        raise SimulatorError(f"{type(chip).__name__} has no fault {attribute!r}")
    setattr(chip, attribute, json.loads(value))


def main() -> None:
    """Run the command line; failures end in one sentence and status 1."""
    try:
        cli()
    except (SimulatorError, OSError) as error:
        _err.print(f"error: {error}", style="red", highlight=False, soft_wrap=True)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
