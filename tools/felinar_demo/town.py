"""The demo's street in real time: lamps on the air with their bridge, some on a wire, one clock for all."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from felinar.cities import City
from felinar.keys.place import open_keys
from felinar_build import app as application
from felinar_build import board as boards
from felinar_sim.air_street import AirStreet
from felinar_sim.conditions import Position
from felinar_sim.lines import PtyLine
from felinar_sim.street import Pole, Street

from felinar_demo.pace import PacedClock

WIRED_REPORT_S = 5


class Town:
    """`on_air` lamps with addresses from 1 on, then `wired` ones. Everything lies in `folder`, which is empty; `config` is the
    daemon's file, `data` its directory, with the lamps' keys. A context manager: the boards live in it, in a thread of their own.
    """

    def __init__(self, folder: Path, city: City, on_air: int, wired: int, report_s: int) -> None:
        self.config, self.data = folder / "felinar.toml", folder / "data"
        self.on_air = range(1, on_air + 1)
        self.wired = range(on_air + 1, on_air + wired + 1)
        self._stack = contextlib.ExitStack()
        # Of its own: a demo has no business in the user's.
        os.environ["FELINAR_SECRET"] = str(folder / "secret")
        keys = open_keys(self.data, create=True)
        try:
            roots = {address: keys.provision(address) for address in self.on_air}
        finally:
            keys.close()
        app = {role: folder / "app" / role for role in ("lamp", "bridge", "wired")}
        for role, board, kind in (
            ("lamp", "sim_radio", "lamp"),
            ("bridge", "sim_radio", "bridge"),
            ("wired", "sim", "lamp"),
        ):
            application.build(boards.find(application.ROOT / "boards", board), app[role], mpy=True, role=kind)
        clock = PacedClock()
        place = Position(city.lat, city.lon)
        common = {"clock": clock, "position": place, "zone": city.zone}
        (folder / "air").mkdir()
        self._air = AirStreet(
            on_air, app=app["lamp"], bridge_app=app["bridge"], keys=roots, folder=folder / "air", report_s=report_s, levels=True,
            configs=[{"name": f"{city.name} {address}"} for address in self.on_air], **common,  # type: ignore[arg-type]
        )  # fmt: skip
        self._wired = Street(
            wired, app=app["wired"], folder=folder / "street", report_s=WIRED_REPORT_S, levels=True,
            configs=[{"name": f"{city.name} {address}", "address": address} for address in self.wired], **common,  # type: ignore[arg-type]
        )  # fmt: skip
        self._clock = clock
        self.bridge = folder / "bridge.tty"
        PtyLine(clock, self._air.bridge.console, self.bridge)
        self.lines = [folder / "street" / f"node-{address}.tty" for address in self.wired]
        for pole, line in zip(self._wired, self.lines, strict=True):
            PtyLine(clock, pole.console, line)
        self.config.write_text(self._configuration())

    def __enter__(self) -> Town:
        self._stack.enter_context(self._air)
        self._stack.enter_context(self._wired)
        self._clock.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clock.stop()
        self._stack.close()

    def __iter__(self) -> Iterator[Pole]:
        yield from self._air.street
        yield from self._wired

    def __len__(self) -> int:
        return len(self.on_air) + len(self.wired)

    @property
    def addresses(self) -> range:
        """Of all lamps."""
        return range(1, len(self) + 1)

    def appended(self) -> list[tuple[int, int, int]]:
        """(address, boot, seq) of everything whose append to an outbox returned, by the simulator's own books."""
        return [
            (address, a.boot, a.seq) for street in (self._air.street, self._wired) for address, a in street.appended()
        ]

    def _configuration(self) -> str:
        lines = [
            f"data_dir = {json.dumps(str(self.data))}",
            "",
            "[[bridge]]",
            f"url = {json.dumps(str(self.bridge))}",
            "",
        ]
        for line in self.lines:
            lines += ["[[link]]", f"url = {json.dumps(str(line))}", ""]
        for pole in self:
            lines += [f"[nodes.{pole.address}]", f"name = {json.dumps(pole.config['name'], ensure_ascii=False)}", ""]
        return "\n".join(lines)
