"""The drivers on a simulated board: the node's own services, the chips' models behind the stand-ins of `machine`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from felinar_sim import chips
from felinar_sim.board import Board
from felinar_sim.chips import Conditions, Lamp
from felinar_sim.clock import VirtualClock
from felinar_sim.sound import Tone

from tests.support.micropython import FIRMWARE, PROTOCOL

PINS = {
    "i2c0_sda": 21, "i2c0_scl": 22, "i2s0_sck": 14, "i2s0_ws": 15, "i2s0_sd": 32, "relay": 25, "dim": 26,
    "power_cf": 34, "power_cf1": 35, "power_sel": 33, "uart1_tx": 4, "uart1_rx": 5,
}  # fmt: skip

MAIN = """
import asyncio, json, time
from node.board import Board, find

async def main():
    data = json.loads(find("board.json"))
    entry = data["fitted"][0]
    board = Board(data)
    driver = __import__("drivers." + entry["driver"], None, None, ("open",)).open(board, entry)
    seen = []
    await driver.start()
    if hasattr(driver, "levels"):
        for _ in range(24):
            levels = await driver.levels()
            seen.append([levels[0], driver.fast[0], driver.fast[1], driver.missed])
            if len(seen) == 12:
                time.sleep_ms(700)  # the whole board is busy
        seen = [driver.sensitivity_db, seen]
    else:
        out = [None] * len(driver.FIELDS)
        for _ in range(entry["readings"]):
            await driver.read(out)
            seen.append(list(out))
            await board.sleep_ms(entry["pause_ms"])
    with open("seen.json", "w") as file:
        json.dump(seen, file)

asyncio.run(main())
"""

WORLD = Conditions(sky_lux=42.0, pm1=8.0, pm25=12.0, pm10=15.0, temperature_c=11.5, humidity_pct=40.0, co2_ppm=433.0)


def run_on_board(tmp_path: Path, entry: Mapping[str, Any], seconds: float, **attributes: Any) -> Any:
    """What main.py has written after so many seconds of virtual time; the attributes are set on the chip's model."""
    app = tmp_path / "app"
    shutil.copytree(FIRMWARE / "node", app / "node", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(FIRMWARE / "drivers", app / "drivers", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(PROTOCOL / "felinar_wire", app / "felinar_wire", ignore=shutil.ignore_patterns("__pycache__"))
    (app / "main.py").write_text(MAIN)
    description = {"id": "bench", "pins": PINS, "fitted": [dict(entry)]}
    (app / "board.json").write_text(json.dumps(description))
    clock = VirtualClock()
    lamp = Lamp(start_us=clock.now_us)
    model = chips.build(entry, lambda now_us: WORLD, lamp=lamp)
    for name, value in attributes.items():
        setattr(model, name, value)
    folder = tmp_path / "board"
    folder.mkdir()
    board = Board("bench", folder, clock, app=app, description=description, parts=[(entry, model), ({}, lamp)])
    try:
        board.power_on()
        clock.run_for(seconds)
    finally:
        board.close()
    seen = folder / "seen.json"
    assert seen.exists(), (folder / "board.log").read_text()
    return json.loads(seen.read_text())


SENSORS: list[tuple[dict[str, Any], list[Any]]] = [
    ({"driver": "bh1750", "bus": "i2c0", "address": 0x23}, [pytest.approx(42000, abs=500)]),
    ({"driver": "veml7700", "bus": "i2c0", "address": 0x10}, [pytest.approx(42000, abs=500)]),
    ({"driver": "sps30", "bus": "i2c0", "address": 0x69}, [pytest.approx(v, abs=2.5) for v in (8, 12, 15)]),
    ({"driver": "pms7003", "bus": "uart1"}, [pytest.approx(v, abs=4) for v in (8, 12, 15)]),
    ({"driver": "sds011", "bus": "uart1", "period_min": 0}, [pytest.approx(v, abs=4) for v in (12, 15)]),
    ({"driver": "scd41", "bus": "i2c0", "address": 0x62}, [pytest.approx(433, abs=60)]),
    ({"driver": "sgp41", "bus": "i2c0", "address": 0x59}, [pytest.approx(100, abs=60), pytest.approx(1, abs=1)]),
    ({"driver": "sht4x", "bus": "i2c0", "address": 0x44}, [pytest.approx(11.5, abs=0.5), pytest.approx(40, abs=4)]),
    (
        {"driver": "bme280", "bus": "i2c0", "address": 0x76},
        [pytest.approx(11.5, abs=0.1), pytest.approx(40, abs=0.5), pytest.approx(1013.25, abs=0.1)],
    ),
    ({"driver": "bl0937", "counter": 0}, [pytest.approx(40, abs=2), pytest.approx(1, abs=1)]),
    ({"driver": "hlw8012", "counter": 0}, [pytest.approx(40, abs=2), pytest.approx(1, abs=1)]),
]


@pytest.mark.parametrize(("entry", "expected"), SENSORS, ids=[entry["driver"] for entry, _ in SENSORS])
def test_sensors(tmp_path: Path, entry: dict[str, Any], expected: list[Any]) -> None:
    readings, pause_ms = (65, 940) if entry["driver"] == "sgp41" else (9, 6000)
    power_up = {"driver": entry["driver"], **entry, "readings": readings, "pause_ms": pause_ms}
    seen = run_on_board(tmp_path, power_up, 100)
    assert seen[-1] == expected


@pytest.mark.parametrize("driver", ["ics43434", "inmp441"])
def test_microphones(tmp_path: Path, driver: str) -> None:
    entry = {"driver": driver, "bus": "i2s0", "rate": 48000}
    sensitivity_db, seen = run_on_board(tmp_path, entry, 7, sound=Tone(1000, 94))
    assert sensitivity_db == pytest.approx(123.01, abs=0.01)
    for square, fast, largest, _ in seen:
        for value in (square, fast, largest):
            assert value * 10 ** ((sensitivity_db - 94) / 10) == pytest.approx(1, abs=0.05)
    missed = [line[3] for line in seen]
    assert missed[:12] == [0] * 12
    # 700 ms without a look, of which the DMA buffer held 107
    assert missed[-1] in (4, 5)
