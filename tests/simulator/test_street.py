"""A street: poles with lamps, the books of what was appended, injected levels, and the same in real time."""

from __future__ import annotations

import json
import os
import select
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from felinar_sim.chips import Conditions, Lamp
from felinar_sim.clock import RealClock, VirtualClock
from felinar_sim.conditions import Position, Surroundings
from felinar_sim.errors import SimulatorError
from felinar_sim.street import Street

from .conftest import NOON, PINS, SAMPLES

FITTED = [{"driver": "bh1750", "bus": "i2c0", "address": 35}, {"driver": "ics43434", "bus": "i2s0", "rate": 48000}]


class Night:
    """A world where it is always night and 60 dB loud."""

    def surroundings(self, position: Position, lamp: Lamp | None = None) -> Surroundings:
        return lambda now_us: Conditions(lamp_lux=lamp.lux(now_us) if lamp else 0.0, noise_db=60.0)

    def mean_squares(self, position: Position) -> Any:
        def levels(end_us: int, n: int, sensitivity_db: float) -> list[float]:
            # the level says which 125 ms block of its day it is
            block = end_us // 125_000
            return [float((block + k) % 691_200) for k in range(n)]

        return levels


def make_app(folder: Path, sample: str, **board: Any) -> Path:
    """An application folder as felinar_build makes one, around a sample program."""
    app = folder / "app"
    (app / "node").mkdir(parents=True)
    (app / "drivers").mkdir()
    (app / "drivers" / "__init__.py").write_text("HERE = 1\n")
    (app / "node" / "__init__.py").write_text("")
    (app / "node" / "outbox.py").write_text((SAMPLES / "outbox.py").read_text())
    (app / "main.py").write_text((SAMPLES / sample).read_text())
    (app / "board.json").write_text(json.dumps({"id": "sim", "pins": PINS, "fitted": FITTED, **board}))
    return app


def street(tmp_path: Path, sample: str, nodes: int = 1, **options: Any) -> Street:
    options.setdefault("world", Night())
    options.setdefault("clock", VirtualClock(NOON))
    return Street(nodes, app=make_app(tmp_path, sample), folder=tmp_path / "street", **options)


def test_nodes_have_their_configuration_and_lamp(tmp_path: Path) -> None:
    with street(tmp_path, "pole.py", 3, report_s=60, configs=[{}, {"name": "Second"}], spacing_m=40) as poles:
        poles.run_for(10)
        said = [pole.log.text() for pole in poles]
        assert "1 Pole 1 60 47.745" in said[0]
        assert "2 Second 60 47.745" in said[1]
        assert poles[2].config["lon"] - poles[0].config["lon"] == pytest.approx(80 / 74_900, rel=0.01)
        assert poles[0].config["lamp"]["utc_offset_min"] == 120
        # the program opens the normally closed relay after 5 s and dims to a quarter after 8 s
        assert not poles[0].lit
        assert poles[0].state()["relay"] == 1
        lamp = poles[0].lamp
        assert lamp.lit_spans(NOON * 1_000_000, (NOON + 10) * 1_000_000)[0][1] == pytest.approx(
            (NOON + 5.3) * 1e6, abs=0.2e6
        )
        poles[0].cut_power()
        poles.run_for(10)
        assert not poles[0].lit, "no mains, no light"
        poles[0].power_on()
        poles.run_for(2)
        assert poles[0].lit, "de-energised is lit"


def test_the_books_hold_every_append_that_returned(tmp_path: Path) -> None:
    with street(tmp_path, "appends.py", 2) as poles:
        poles.run_for(4.5)
        poles[0].cut_after(1, torn=1.0)  # the next append but one is on flash, but the program does not learn so
        poles.run_for(10)
        books = [(address, a.kind, a.boot, a.seq, a.body) for address, a in poles.appended()]
        assert [b for b in books if b[0] == 1] == [(1, 0, 7, k, b"body %d" % k) for k in range(6)]
        assert len([b for b in books if b[0] == 2]) == 15
        times = [a.at_us for _, a in poles.appended()]
        assert times == sorted(times)


def test_levels_are_injected_one_per_block_without_gap(tmp_path: Path) -> None:
    with street(tmp_path, "levels.py", levels=True) as poles:
        poles.run_for(30)
        lines = poles[0].log.text()
        assert "contiguous True blocks 160" in lines
        assert [e["driver"] for e in poles[0].description["fitted"]] == ["bh1750", "levels"]


def test_same_seed_same_street(tmp_path: Path) -> None:
    def run(name: str, seed: int) -> tuple[str, list[dict[str, Any]]]:
        with street(tmp_path / name, "pole.py", 2, seed=seed, world=None) as poles:
            poles.run_for(10)
            poles[1].power_cycle(1)
            poles.run_for(10)
            return poles.trace_hash(), [pole.state() for pole in poles]

    first = run("a", 1)
    assert first == run("a-longer-name", 1)
    assert first[0] != run("c", 2)[0]


def test_bad_input_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SimulatorError, match="felinar_build"):
        Street(app=tmp_path / "nothing")
    app = make_app(tmp_path, "pole.py")
    with pytest.raises(SimulatorError, match="real clock"):
        Street(app=app, lines="pty")
    (app / "board.json").write_text("{")
    with pytest.raises(SimulatorError, match="no JSON"):
        Street(app=app)
    (app / "board.json").write_text("[]")
    with pytest.raises(SimulatorError, match="no board"):
        Street(app=app)
    with pytest.raises(SimulatorError, match="at least one"):
        Street(0, app=app)


def test_a_day_of_wakes(tmp_path: Path) -> None:
    """What a day of a lamp node amounts to, and the trace says that nothing was left out."""
    with street(tmp_path, "day.py", clock=VirtualClock(datetime(2026, 1, 5, 15))) as poles:
        poles.run_for(86_400)
        assert "woken 17280" in poles[0].log.text()


def test_real_time_street_on_a_terminal(tmp_path: Path) -> None:
    clock = RealClock(start=datetime(2026, 1, 5, 15))
    with street(tmp_path, "echo.py", clock=clock, lines="pty", world=None) as poles:
        poles.start()
        name = tmp_path / "street" / "node-1.tty"
        fd = os.open(name, os.O_RDWR | os.O_NOCTTY)
        try:
            # the board is asked again and again over a power cut: the terminal stays, the board comes back
            for boots in (1, 2):
                data, end = b"", time.monotonic() + 30
                while b"got b'?'" not in data and time.monotonic() < end:
                    os.write(fd, b"?")
                    if select.select([fd], [], [], 0.1)[0]:
                        data += os.read(fd, 4096)
                assert b"got b'?'" in data
                assert len(poles[0].boots) == boots
                poles[0].power_cycle(0.1)
        finally:
            os.close(fd)
    assert not name.is_symlink()
