"""Command line of the demo: `python -m felinar_demo --seconds 60`."""

from __future__ import annotations

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
from felinar_sim.clock import RealClock
from felinar_sim.conditions import Position
from felinar_sim.errors import SimulatorError
from felinar_sim.street import Street
from rich.console import Console

from felinar_demo.account import Account, Identity, settle
from felinar_demo.daemon import Daemon, DemoError, wait_until

DRAIN_S = 60.0
"""How long the outboxes may take to drain; a node repeats within that time at the latest."""

cli = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
_out = Console()
_err = Console(stderr=True)


def _configuration(folder: Path, street: Street) -> tuple[Path, Path]:
    data = folder / "data"
    lines = [f"data_dir = {json.dumps(str(data))}", ""]
    for pole in street:
        lines += ["[[link]]", f"url = {json.dumps(str(street.folder / (pole.name + '.tty')))}", ""]
    for pole in street:
        lines += [f"[nodes.{pole.address}]", f"name = {json.dumps(pole.config['name'], ensure_ascii=False)}", ""]
    path = folder / "felinar.toml"
    path.write_text("\n".join(lines))
    return path, data


def _command_lamp(client: Client, done: list[api.Command], node: int) -> None:
    """Dim a lamp and wait until its measured power says that it happened."""
    command = client.lamp(node, api.LampOrder(mode="dim", level=60, for_s=600, reason="demo"))
    wait_until(lambda: not client.command(command.id).open, 45)
    done.append(client.command(command.id))


def _stored(client: Client, nodes: int) -> list[Identity]:
    """Identities of everything that the store holds."""
    found = [(r.node, r.boot, r.seq) for r in client.readings()]
    for node in range(1, nodes + 1):
        found += [(e.node, e.boot, e.seq) for e in client.events(node=node, limit=1000)]
    return found


def _pending(client: Client, nodes: int) -> int:
    """What waits in the outboxes, asked now."""
    return sum(client.health(node).values["pending"] or 0 for node in range(1, nodes + 1))


def _drain(client: Client, street: Street, nodes: int) -> Account:
    """Stop sampling, let the outboxes drain, and compare the books."""
    for node in range(1, nodes + 1):
        stop = client.config(node, api.ConfigOrder(report_s=0))
        wait_until(lambda id=stop.id: not client.command(id).open, 20)  # type: ignore[misc]
    left = nodes

    def empty() -> bool:
        nonlocal left
        try:
            left = _pending(client, nodes)
        except FelinarError:
            return False
        return left == 0

    wait_until(empty, DRAIN_S, 1.0)
    sent = [(address, entry.boot, entry.seq) for address, entry in street.appended()]
    # Times that the nodes told themselves; one that the host inferred may fall on a neighbour's second.
    times = [(r.node, r.time) for r in client.readings() if r.time_source == "node"]
    same = len(times) - len(set(times))
    return settle(nodes, sent, _stored(client, nodes), left, same, client.commands(limit=100))


def run(folder: Path, nodes: int, seconds: float, report_s: int, place: str, svg: Path | None) -> Account:
    """The whole demo; returns its account."""
    preset = city(place)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    board = boards.find(application.ROOT / "boards", "sim")
    application.build(board, folder / "app", mpy=True)
    names = [{"name": f"{preset.name} {i + 1}"} for i in range(nodes)]
    with Street(
        nodes,
        app=folder / "app",
        clock=RealClock(),
        folder=folder / "street",
        position=Position(preset.lat, preset.lon),
        zone=preset.zone,
        report_s=report_s,
        configs=names,
        lines="pty",
    ) as street:
        street.start()
        config, data = _configuration(folder, street)
        _err.print(
            f"{nodes} simulated lamps in {preset.name}, a report every {report_s} s; from another terminal: "
            f"felinar nodes --config {config}",
            highlight=False,
            soft_wrap=True,
        )
        with Daemon(config, data, folder / "daemon.log") as daemon, daemon.client() as client:
            if not wait_until(lambda: len(client.nodes()) == nodes, 30):
                raise DemoError(f"only {len(client.nodes())} of {nodes} nodes were heard; {folder} has the logs")
            done: list[api.Command] = []
            order = threading.Thread(target=_command_lamp, args=(daemon.client(), done, 1))
            order.start()
            try:
                with daemon.client() as watching:
                    last = live.watch(watching, _out, seconds=seconds or None)
                if svg:
                    show.save_svg(svg, last, time.time())
            except KeyboardInterrupt:
                pass
            _err.print("stopping the samplers; the outboxes drain", highlight=False)
            order.join()
            return _drain(client, street, nodes)


@cli.command()
def demo(
    seconds: Annotated[float, typer.Option(help="End after so many seconds; 0 runs until Ctrl-C.")] = 0,
    nodes: Annotated[int, typer.Option(min=1, max=20, help="Lamps in the street.")] = 3,
    report: Annotated[int, typer.Option(min=1, max=300, help="Seconds between reports.")] = 5,
    place: Annotated[str, typer.Option("--city", help="One of the eight cities.")] = "botosani",
    folder: Annotated[Path, typer.Option(help="Where the street and the daemon keep their files; made anew.")] = Path(
        "run/demo"
    ),
    svg: Annotated[Path | None, typer.Option(help="Save the live view as a picture at the end.")] = None,
) -> None:
    """Run a simulated street and the daemon together, and say at the end what became of every message.

    Example: python -m felinar_demo --seconds 60
    """
    account = run(folder.resolve(), nodes, seconds, report, place, svg)
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
