"""A street: any number of poles with their boards, lamps and lines, in one world on one clock."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

from felinar_sim import chips
from felinar_sim.board import Appended, Board
from felinar_sim.clock import Clock, RealClock, VirtualClock
from felinar_sim.conditions import Position
from felinar_sim.errors import SimulatorError
from felinar_sim.lines import PtyLine, TcpLine
from felinar_sim.world import World

DRIVERS = Path(__file__).with_name("standin_drivers")
BOTOSANI = Position(47.745, 26.659)
_METRES_A_DEGREE = 111_320


class Pole(Board):
    """A board on its pole: with a lamp, a place in the world, a configuration and a line."""

    lamp: chips.Lamp
    position: Position
    config: dict[str, Any]
    pty: PtyLine | None = None
    tcp: TcpLine | None = None

    @property
    def address(self) -> int:
        """The node's address on the wire."""
        return int(self.config["address"])

    @property
    def lit(self) -> bool:
        """Whether the lamp gives light now. Its history: `lamp.lit_spans`, `lamp.dark_while_powered`."""
        return self.lamp.lit(self.clock.now_us)

    def pull(self) -> None:
        """Pull the cable out of the board; `plug` puts it in again."""
        if self.tcp is not None:
            self.tcp.pull()
        if self.pty is not None:
            self.pty.pull()
        self.console.pulled = True

    def plug(self) -> None:
        """Put the cable in again; a pseudo-terminal comes back under its old name."""
        self.console.pulled = False
        if self.pty is not None:
            self.pty.plug()

    def state(self) -> dict[str, Any]:
        """What the outside can see of the pole, as plain values."""
        now = self.clock.now_us
        line = self.pty or self.tcp
        return {
            "node": self.address,
            "name": self.name,
            "powered": self.powered,
            "running": self.running,
            "boots": len(self.boots),
            "reset_cause": self.reset_cause.name.lower(),
            "uptime_s": round(self.uptime_s, 3),
            "lit": self.lamp.lit(now),
            "lamp_w": round(self.lamp.power_w(now), 2),
            "relay": self.pins.level("relay"),
            "dim": round(self.pins.duty("dim")[0] / 65535, 4),
            "appended": len(self.appended),
            "flash_operations": self.fuse.operations,
            "console": {
                "sent": self.console.sent,
                "received": self.console.received,
                "overflowed": self.console.overflowed,
                "unheard": line.unheard if line is not None else 0,
                "pulled": self.console.pulled,
            },
        }


class Street:
    """Boards 1…N of one kind along a street.

    ```
    with Street(3, app=Path("build/app"), clock=VirtualClock(start=datetime(2026, 1, 5, 15))) as street:
        street.run_for(3600)
        street[0].cut_power()
    ```

    Entering powers all boards on, leaving ends their processes. Every folder `node-<i>` in `folder` keeps a board's flash, NVS,
    configuration and log; without a folder they live in a temporary one. Two runs with the same seed, clock and
    application are alike to the byte in virtual time.
    """

    def __init__(
        self,
        nodes: int = 1,
        *,
        app: Path | str,
        clock: Clock | None = None,
        folder: Path | str | None = None,
        world: World | None = None,
        seed: int | str = 0,
        position: Position = BOTOSANI,
        spacing_m: float = 35.0,
        zone: str = "Europe/Bucharest",
        report_s: int = 300,
        config: Mapping[str, Any] | None = None,
        configs: Sequence[Mapping[str, Any]] = (),
        fitted: Sequence[Mapping[str, Any]] | None = None,
        levels: bool = False,
        lines: Literal["pty", "tcp", None] = None,
        first_port: int = 0,
        probe: bool = True,
        **board: Any,
    ) -> None:
        """`app` is what `python -m felinar_build app` writes. `config` changes every node's configuration, `configs[i]` that of node
        i + 1. `fitted` replaces the board file's list; `levels` replaces the microphone by the injection of level statistics. `lines`
        opens pseudo-terminals `<folder>/node-<i>.tty` or TCP ports (real clock). Everything else goes to each `Board`.
        """
        if nodes < 1:
            raise SimulatorError("a street needs at least one node")
        self.clock: Clock = clock or VirtualClock()
        self.app = Path(app)
        self.world = world or World(seed, zone=zone)
        self.seed = seed
        self.temporary = folder is None
        self.folder = Path(tempfile.mkdtemp(prefix="felinar-street-")) if folder is None else Path(folder)
        description = self._description(fitted, levels)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.poles: list[Pole] = []
        if lines is not None and self.clock.virtual:
            raise SimulatorError("pseudo-terminals and ports need the real clock; use board.console in virtual time")
        used = self._with_own_drivers() if any(e.get("driver") == "levels" for e in description["fitted"]) else self.app
        try:
            for i in range(nodes):
                settings = self._config(i, position, spacing_m, zone, report_s)
                settings.update(config or {})
                settings.update(configs[i] if i < len(configs) else {})
                self.poles.append(self._pole(i, settings, description, used, probe, board))
                self._line(self.poles[-1], lines, first_port)
        except BaseException:
            self.close()
            raise

    # Use

    def __enter__(self) -> Street:
        for pole in self.poles:
            pole.power_on()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self.poles)

    def __getitem__(self, index: int) -> Pole:
        return self.poles[index]

    def __iter__(self) -> Iterator[Pole]:
        return iter(self.poles)

    def run_for(self, seconds: float) -> None:
        """Let the street live for so long."""
        self.clock.run_for(seconds)

    def run_until(self, moment: datetime | float) -> None:
        """Let the street live until a moment: a datetime, or seconds of Unix time."""
        from felinar_sim.clock import unix_us

        self.clock.run_until(unix_us(moment))

    def start(self) -> None:
        """Real clock: let the street live in a thread of its own."""
        if not isinstance(self.clock, RealClock):
            raise SimulatorError("only a street on the real clock lives by itself")
        self.clock.start()

    def stop(self) -> None:
        """Real clock: end what `start` began, or a `run_for` in another thread."""
        if isinstance(self.clock, RealClock):
            self.clock.stop()

    def close(self) -> None:
        """End all processes and let go of lines and files; a temporary folder goes too."""
        if isinstance(self.clock, RealClock):
            self.clock.join()
        for pole in self.poles:
            pole.close()
        if self.temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def appended(self) -> list[tuple[int, Appended]]:
        """The books: (address, append) of everything whose append to an outbox returned, in order of time."""
        entries = [(pole.address, a) for pole in self.poles for a in pole.appended]
        return sorted(entries, key=lambda entry: entry[1].at_us)

    def trace_hash(self) -> str:
        """One hash over everything that all boards did: equal for equal runs in virtual time."""
        return ":".join(pole.trace.digest() for pole in self.poles)

    # Building

    def _description(self, fitted: Sequence[Mapping[str, Any]] | None, levels: bool) -> dict[str, Any]:
        path = self.app / "board.json"
        try:
            description: dict[str, Any] = json.loads(path.read_text())
        except OSError as error:
            raise SimulatorError(
                f"{path} cannot be read ({error.strerror}): build the application with "
                "`python -m felinar_build app --board sim --out DIR` and name DIR"
            ) from error
        except ValueError as error:
            raise SimulatorError(f"{path} is no JSON: {error}") from error
        if not isinstance(description, dict):
            raise SimulatorError(f"{path} holds no board")
        if fitted is not None:
            description["fitted"] = [dict(entry) for entry in fitted]
        description.setdefault("fitted", [])
        if levels:
            kept = [e for e in description["fitted"] if not str(e.get("bus", "")).startswith("i2s")]
            description["fitted"] = [*kept, {"driver": "levels"}]
        return description

    def _with_own_drivers(self) -> Path:
        """The application with the simulator's drivers among its own: a folder of links."""
        merged = self.folder / ".app"
        shutil.rmtree(merged, ignore_errors=True)
        (merged / "drivers").mkdir(parents=True)
        for item in self.app.resolve().iterdir():
            if item.name != "drivers":
                (merged / item.name).symlink_to(item)
        drivers = self.app.resolve() / "drivers"
        for item in [*(drivers.iterdir() if drivers.is_dir() else ()), *DRIVERS.glob("*.py")]:
            (merged / "drivers" / item.name).symlink_to(item)
        return merged

    def _config(self, i: int, position: Position, spacing_m: float, zone: str, report_s: int) -> dict[str, Any]:
        east = spacing_m * i / (_METRES_A_DEGREE * math.cos(math.radians(position.lat)))
        offset = datetime.fromtimestamp(self.clock.now_us / 1e6, UTC).astimezone(ZoneInfo(zone)).utcoffset()
        return {
            "address": i + 1,
            "name": f"Pole {i + 1}",
            "lat": round(position.lat, 6),
            "lon": round(position.lon + east, 6),
            "report_s": report_s,
            "lamp": {
                "on_below_deg": -0.833,
                "dim": [["23:00", 60], ["05:00", 100]],
                "utc_offset_min": int(offset.total_seconds() // 60) if offset is not None else 0,
            },
        }

    def _pole(
        self, i: int, config: dict[str, Any], description: dict[str, Any], app: Path, probe: bool, board: dict[str, Any]
    ) -> Pole:
        name = f"node-{i + 1}"
        seed = f"{self.seed}/{name}"
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps(config, ensure_ascii=False))
        (folder / "board.json").write_text(json.dumps(description))
        here = Position(float(config["lat"]), float(config["lon"]))
        now = self.clock.now_us
        lamp = chips.Lamp(normally_closed=bool(description.get("relay_normally_closed", True)), seed=seed, start_us=now)
        around = self.world.surroundings(here, lamp)
        parts: list[tuple[Mapping[str, Any], Any]] = [({"driver": "lamp"}, lamp)]
        for entry in description["fitted"]:
            if entry.get("driver") != "levels":
                parts.append((entry, chips.build(entry, around, lamp=lamp, seed=seed)))
        uid = b"\x02" + (i + 1).to_bytes(5, "big")
        pole = Pole(
            name, folder, self.clock, app=app, description=description, parts=parts, seed=self.seed, uid=uid, probe=probe, **board
        )  # fmt: skip
        pole.lamp, pole.position, pole.config = lamp, here, config
        pole.levels = self.world.mean_squares(here)
        pole.on_power.append(lamp.mains)
        return pole

    def _line(self, pole: Pole, lines: str | None, first_port: int) -> None:
        if lines == "pty":
            pole.pty = PtyLine(self.clock, pole.console, self.folder / f"{pole.name}.tty")
        elif lines == "tcp":
            port = first_port + len(self.poles) - 1 if first_port else 0
            pole.tcp = TcpLine(self.clock, pole.console, port)
