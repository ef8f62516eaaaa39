"""A street on the air: lamp nodes with radios and their bridges, under one ether, on one virtual clock."""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from felinar_wire import schema

from felinar_sim import chips
from felinar_sim.board import Board
from felinar_sim.chips import Emission, LoraRadio, Tuning
from felinar_sim.clock import Timer, VirtualClock
from felinar_sim.errors import SimulatorError
from felinar_sim.ether import LOCK, Ether, Receptions, Transmission
from felinar_sim.flash import Nvs
from felinar_sim.street import Pole, Street

BRIDGE_GAIN_DB = 2.0
_BLOB = 2  # of Nvs


class Antenna:
    """Connects a chip's model to the ether, in both directions."""

    def __init__(self, street: AirStreet, radio: LoraRadio, x: float, y: float, gain_db: float = 0.0) -> None:
        self.radio = radio
        self.station = street.ether.station(x, y, gain_db)
        self.tuned = (0, 0)
        self._street = street
        self._sent: tuple[Transmission, Timer] | None = None
        radio.on_transmit = self._transmit
        radio.on_abort = self._abort
        radio.on_tune = self._tune
        radio.channel_busy = self._busy

    def _tune(self, tuning: Tuning | None, since_us: int) -> None:
        self.tuned = khz, sf = (round(tuning.hz / 1000), tuning.sf) if tuning is not None else (0, 0)
        self._street.ether.tune(self.station, khz, sf, since_us)

    def _busy(self, tuning: Tuning, start_us: int, end_us: int) -> bool:
        return self._street.ether.active(self.station, round(tuning.hz / 1000), tuning.sf, end_us)

    def _transmit(self, emission: Emission) -> None:
        street, data, tuning = self._street, emission.data, emission.tuning
        loss = street.beacon_loss if data[:1] and data[0] & 63 == schema.BEACON else street.loss
        sent = street.ether.begin(
            self.station, emission.start_us, round(tuning.hz / 1000), tuning.sf, emission.dbm, data, len(data), loss
        )
        street.clock.at(sent.symbols(LOCK), functools.partial(street.notice, self, sent))
        self._sent = sent, street.clock.at(sent.end, functools.partial(self._end, sent))

    def _end(self, sent: Transmission) -> None:
        self._sent = None
        assert isinstance(sent.data, bytes)
        heard = self._street.ether.end(sent)
        for listener in self._street.on_frame:
            listener(self.station, sent, heard)
        for station, rssi, snr in zip(heard.stations, heard.rssi_dbm, heard.snr_db, strict=True):
            self._street.antennas[int(station)].radio.deliver(sent.data, float(rssi), float(snr), sent.end)

    def _abort(self, emission: Emission, now_us: int) -> None:
        """Nobody receives a frame whose end is missing."""
        if self._sent is not None:
            sent, timer = self._sent
            timer.cancel()
            self._street.ether.end(sent)
            self._sent = None

    @property
    def sends(self) -> Transmission | None:
        """What is on the air."""
        return self._sent[0] if self._sent else None


class AirStreet:
    """`nodes` poles and their bridges, to whose consoles the host's ends of the lines connect.

    ```
    with AirStreet(3, app=node_app, bridge_app=bridge_app, keys={1: key, ...}, clock=VirtualClock(...)) as street:
        street.run_for(3600)
    ```

    `keys` are the root keys of addresses, as flashing puts them into NVS, `zones` those of groups, as REKEY does. Boards lie within `radius_m`
    of the first bridge, at places and with crystals that follow from the seed (`drift_ppm` is their standard deviation); `bridges` are the places of
    bridges, in metres. `on_frame` is called with (station, frame, who heard it) at the end of each. `loss` and `beacon_loss` are what the
    ether loses at each receiver for no reason that it models. Everything else goes to `Street`.
    """

    def __init__(
        self,
        nodes: int,
        *,
        app: Path,
        bridge_app: Path,
        keys: Mapping[int, bytes],
        clock: VirtualClock,
        seed: int | str = 0,
        loss: float = 0.0,
        beacon_loss: float = 0.0,
        radius_m: float = 150.0,
        drift_ppm: float = 8.0,
        places: Sequence[tuple[float, float]] = (),
        bridges: Sequence[tuple[float, float]] = ((0.0, 0.0),),
        zones: Mapping[int, bytes] | None = None,
        **street: Any,
    ) -> None:
        self.clock = clock
        self.loss, self.beacon_loss = loss, beacon_loss
        rng = random.Random(f"{seed}/air")
        self.ether = Ether(rng.getrandbits(32))
        self.antennas: list[Antenna] = []
        self.on_frame: list[Callable[[int, Transmission, Receptions], None]] = []
        self.bridges: list[Board] = []
        self.street = Street(nodes, app=app, clock=clock, seed=seed, **street)
        try:
            for x, y in bridges:
                self.bridges.append(self._bridge(bridge_app, seed))
                self._fit(self.bridges[-1], x, y, BRIDGE_GAIN_DB, seed)
            for i, pole in enumerate(self.street):
                x, y = places[i] if i < len(places) else (rng.uniform(-1, 1) * radius_m, rng.uniform(-1, 1) * radius_m)
                pole.drift_ppm = rng.gauss(0, drift_ppm)
                self._fit(pole, x, y, 0.0, seed)
                key = keys.get(pole.address)
                if key is not None:
                    provision(pole.nvs, key, zones)
            for bridge in self.bridges:
                bridge.drift_ppm = rng.gauss(0, drift_ppm)
        except BaseException:
            self.street.close()
            raise

    def _bridge(self, app: Path, seed: int | str) -> Board:
        number = len(self.bridges)
        name = f"bridge-{number + 1}" if number else "bridge"
        folder = self.street.folder / name
        folder.mkdir(exist_ok=True)
        description = json.loads((app / "board.json").read_text())
        (folder / "board.json").write_text(json.dumps(description))
        uid = b"\x02\xff\0\0\0" + bytes((number + 1,))
        return Board(name, folder, self.clock, app=app, description=description, seed=seed, uid=uid)

    def _fit(self, board: Board, x: float, y: float, gain_db: float, seed: int | str) -> None:
        entry = board.description.get("radio")
        if entry is None:
            raise SimulatorError(f"{board.name} has no radio: build the application for a board that has one")
        radio = chips.radio(entry, board.description["pins"], seed=f"{seed}/{board.name}")
        part = {"driver": entry["chip"], "bus": "radio"}
        board.parts.append((part, radio))
        board.fit(part, radio)
        self.antennas.append(Antenna(self, radio, x, y, gain_db))

    def __enter__(self) -> AirStreet:
        for bridge in self.bridges:
            bridge.power_on()
        self.street.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        for bridge in self.bridges:
            bridge.close()
        self.street.close()

    @property
    def bridge(self) -> Board:
        """The first bridge."""
        return self.bridges[0]

    def __getitem__(self, index: int) -> Pole:
        return self.street[index]

    def __len__(self) -> int:
        return len(self.street)

    def run_for(self, seconds: float) -> None:
        """Let the street live for so long."""
        self.clock.run_for(seconds)

    def radio(self, index: int) -> LoraRadio:
        """The radio of a pole; -1 is the first bridge's, -2 the second's."""
        return self.antennas[index + len(self.bridges) if index >= 0 else -1 - index].radio

    def notice(self, source: Antenna, sent: Transmission) -> None:
        """The ether's time for it has come: whoever can receive this frame notices its preamble."""
        if source.sends is not sent:
            return
        channel = sent.khz, sent.sf
        for antenna in self.antennas:
            if antenna.tuned == channel and self.ether.receiving(antenna.station, self.clock.now_us):
                antenna.radio.preamble(sent.end)

    def trace_hash(self) -> str:
        """One hash over all that boards and ether did: equal for equal runs."""
        bridges = ":".join(bridge.trace.digest() for bridge in self.bridges)
        return f"{self.street.trace_hash()}:{bridges}:{self.ether.digest}"


def provision(nvs: Nvs, key: bytes, zones: Mapping[int, bytes] | None = None) -> None:
    """Put a root key where flashing a board puts it, and the keys of groups where REKEY does."""
    nvs.set("felinar", "key", _BLOB, key)
    if zones:
        nvs.set("felinar", "zones", _BLOB, b"".join(zone.to_bytes(2, "big") + key for zone, key in zones.items()))
