"""Command line of the demo: `python -m felinar_demo --seconds 90`."""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
import time
from pathlib import Path
from typing import Annotated

import typer
from felinar import api, live, show
from felinar.cities import city
from felinar.client import Client
from felinar.errors import FelinarError
from felinar_build import app as application
from felinar_build import board as boards
from felinar_sim.errors import SimulatorError
from rich.console import Console

from felinar_demo.account import Account, Identity, settle
from felinar_demo.daemon import Daemon, DemoError, wait_until
from felinar_demo.town import WIRED_REPORT_S, Town

START_S = 30.0
"""How long lines may take until they are live."""
REPORT_S = 150.0
"""How long the last lamp may take until its first report is stored; on the air it joins first and waits for its slot."""
DRAIN_S = 90.0
"""How long the books may take to agree: a wired lamp repeats, and a beacon acknowledges, within that time."""

cli = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
_out = Console()
_err = Console(stderr=True)


def _command_lamp(client: Client, node: int, states: tuple[str, ...], patience_s: float) -> None:
    """Dim a lamp as soon as it is there, and wait until the command has come to one of these states, or to its end."""

    def there() -> bool:
        return any(one.node == node and one.online for one in client.nodes())

    if wait_until(there, patience_s):
        command = client.lamp(node, api.LampOrder(mode="dim", level=60, for_s=600, reason="demo"))
        wait_until(lambda: (now := client.command(command.id)).state in states or not now.open, 45)


def _stored(client: Client, town: Town) -> list[Identity]:
    """Identities of everything that the store holds."""
    found = [(r.node, r.boot, r.seq) for r in client.readings()]
    for node in town.addresses:
        found += [(e.node, e.boot, e.seq) for e in client.events(node=node, limit=1000)]
    return found


def _ask(client: Client, nodes: range, waiting: dict[int, int]) -> None:
    """Enter what waits in each outbox, asked now; a lamp that does not answer in time keeps what it said before."""
    for node in nodes:
        with contextlib.suppress(FelinarError):
            waiting[node] = client.health(node).values["pending"] or 0


def _reported(client: Client) -> set[int]:
    """The lamps of which a report is stored."""
    return {node.node for node in client.nodes() if node.latest is not None}


def _settle(client: Client, town: Town) -> Account:
    """Stop sampling, and compare the books until they agree: what is not stored waits in an outbox."""
    orders = [client.config(node, api.ConfigOrder(report_s=0)) for node in town.addresses]
    for order in orders:
        wait_until(lambda id=order.id: not client.command(id).open, 30)  # type: ignore[misc]
    waiting: dict[int, int] = {}

    def agree() -> bool:
        """What is not stored waits on the air, in the outboxes of all."""
        _ask(client, town.wired, waiting)
        if any(waiting.get(node, 1) for node in town.wired):
            return False
        missing = set(town.appended()) - set(_stored(client, town))
        wrong = [node for node in town.on_air if waiting.get(node) != sum(one[0] == node for one in missing)]
        for node in wrong:
            _ask(client, range(node, node + 1), waiting)
        return not wrong

    if not wait_until(agree, DRAIN_S, 1.0):
        _err.print("the books do not agree", style="red", highlight=False)
    overdue = sum(waiting.get(node, 0) for node in town.wired)
    # Times that the nodes told themselves; one that the host inferred may fall on a neighbour's second.
    times = [(r.node, r.time) for r in client.readings() if r.time_source == "node"]
    return settle(
        len(town), town.appended(), _stored(client, town), sum(waiting.values()), overdue, len(times) - len(set(times)),
        len(_reported(client)), client.commands(limit=100),
    )  # fmt: skip


def run(folder: Path, on_air: int, wired: int, seconds: float, report_s: int, place: str, svg: Path | None) -> Account:
    """The whole demo; returns its account."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    preset = city(place)
    with Town(folder, preset, on_air, wired, report_s) as town:
        _err.print(
            f"{on_air} simulated lamps on the air with their bridge and {wired} on a wire in {preset.name}; from another terminal: "
            f"felinar nodes --config {town.config}\nReports come every {WIRED_REPORT_S} s by wire; on the air, each {report_s} s, they "
            "wait for the lamp's slot: the first about a minute after it has joined, then every five.",
            highlight=False,
            soft_wrap=True,
        )
        with Daemon(town.config, town.data, folder / "daemon.log") as daemon, daemon.client() as client:

            def lively() -> bool:
                status = client.status()
                return {line.state for line in status.bridges} | {line.state for line in status.links} == {"live"}

            if not wait_until(lively, START_S):
                raise DemoError(f"a line is not live after {START_S:.0f} s; {folder} has the logs")
            commands = [
                threading.Thread(target=_command_lamp, args=(daemon.client(), node, states, REPORT_S))
                for node, states in ((town.wired[0], ("measured",)), (town.on_air[0], ("acknowledged", "measured")))
            ]
            for command in commands:
                command.start()
            try:
                with daemon.client() as watching:
                    last = live.watch(watching, _out, seconds=seconds or None)
                if svg:
                    show.save_svg(svg, last, time.time())
            except KeyboardInterrupt:
                pass
            if not wait_until(lambda: len(_reported(client)) == len(town), REPORT_S, 1.0):
                _err.print(
                    f"no report of {sorted(set(town.addresses) - _reported(client))}", style="red", highlight=False
                )
            _err.print("stopping the samplers; the books are compared", highlight=False)
            for command in commands:
                command.join()
            return _settle(client, town)


@cli.command()
def demo(
    seconds: Annotated[float, typer.Option(help="End after so many seconds; 0 runs until Ctrl-C.")] = 0,
    nodes: Annotated[int, typer.Option(min=1, max=60, help="Lamps on the air.")] = 8,
    wired: Annotated[int, typer.Option(min=1, max=20, help="Lamps on a wire.")] = 3,
    report: Annotated[int, typer.Option(min=1, max=300, help="Seconds between reports on the air.")] = 30,
    place: Annotated[str, typer.Option("--city", help="One of the eight cities.")] = "botosani",
    folder: Annotated[Path, typer.Option(help="Where the street and the daemon keep their files; made anew.")] = Path(
        "run/demo"
    ),
    svg: Annotated[Path | None, typer.Option(help="Save the live view as a picture at the end.")] = None,
) -> None:
    """Run a simulated street, its bridge and the daemon together, and say at the end what became of every message.

    Example: python -m felinar_demo --seconds 90
    """
    account = run(folder.resolve(), nodes, wired, seconds, report, place, svg)
    _out.print(json.dumps(account.as_dict()), soft_wrap=True, highlight=False, markup=False)
    raise typer.Exit(0 if account.good else 1)


def main() -> None:
    """Run the command line; failures end in one sentence and status 1."""
    try:
        cli()
    except (DemoError, FelinarError, SimulatorError, application.BuildError, boards.BoardError) as error:
        _err.print(f"error: {error}", style="red", highlight=False, soft_wrap=True)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
