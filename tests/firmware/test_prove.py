"""A node proves to whoever sits at its line that it has its key, and says nothing without one."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path

from felinar_sim.clock import VirtualClock
from felinar_sim.street import Pole, Street
from felinar_wire import core, frame, serial
from felinar_wire.aes import cmac, derive

from tests.firmware.test_node_living import SPY

NOON = datetime(2026, 1, 5, 10)
KEY = bytes(range(16))
NONCE = bytes(range(100, 116))
BLOB = 2


def asked(key: bytes | None, nonce: bytes, app: Path) -> tuple[Pole, list[tuple[int, bytes]], str]:
    """The pole, the PROOFs (address, payload) that it gave to one CHALLENGE, and what it had loaded afterwards."""
    said = bytearray()
    fitted = [{"driver": "bh1750", "bus": "i2c0", "address": 0x23}]
    with Street(1, app=app, clock=VirtualClock(NOON), fitted=fitted, report_s=60) as street:
        pole = street[0]
        if key is not None:
            pole.nvs.set("felinar", "key", BLOB, key)
        pole.console.on_output.append(said.extend)
        street.run_for(5)
        pole.console.write(serial.encode(b"\0" + frame.pack(core.CHALLENGE, pole.address, 0, nonce)))
        street.run_for(10)
        file = pole.folder / "loaded.txt"
        loaded = file.read_text() if file.exists() else ""
    frames = [frame.unpack(content[1:]) for content in serial.Deframer(frame.LONGEST + 1).feed(bytes(said))]
    return pole, [(address, payload) for kind, address, _, payload in frames if kind == core.PROOF], loaded


def test_the_proof_is_of_this_key_nonce_chip_and_address(node_app: Path, tmp_path: Path) -> None:
    app = shutil.copytree(node_app, tmp_path / "app")
    (app / "drivers" / "bh1750.mpy").unlink()
    (app / "drivers" / "bh1750.py").write_text(SPY)
    pole, proofs, loaded = asked(KEY, NONCE, app)
    tag = cmac(derive(KEY, b"prove", b""), NONCE + pole.uid[:6] + pole.address.to_bytes(2, "big"))[:8]
    assert proofs == [(pole.address, NONCE + tag)]
    assert core.decode(core.LAYOUT[core.PROOF], proofs[0][1]) == [NONCE, tag]
    assert "node.app" in loaded
    assert "node.prove" not in loaded
    assert "felinar_wire.aes" not in loaded


def test_a_node_without_a_key_says_nothing(node_app: Path) -> None:
    assert asked(None, NONCE, node_app)[1] == []


def test_a_key_or_a_nonce_of_another_length_is_none(node_app: Path) -> None:
    assert asked(KEY[:15], NONCE, node_app)[1] == []
    assert asked(KEY, NONCE[:15], node_app)[1] == []
