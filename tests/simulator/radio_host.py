"""Talks to a radio's model as a host on its SPI lines would, without a board."""

from __future__ import annotations

from felinar_sim.chips import LoraRadio
from felinar_sim.clock import VirtualClock
from felinar_sim.pins import Pins

PINS = {"radio_cs": 8, "radio_rst": 12, "radio_busy": 13, "radio_irq": 14, "radio_rxen": 15, "radio_power": 16}


class Host:
    """A model on a clock of its own. `irq` is the interrupt line, `busy` the BUSY line."""

    def __init__(self, model: LoraRadio) -> None:
        self.model = model
        self.clock = VirtualClock()
        self.pins = Pins(PINS)
        model.connect(self.clock, self.pins)
        model.power_cycle(self.clock.now_us)
        self.run_ms(10)

    def run_ms(self, ms: float) -> None:
        self.clock.run_for(ms / 1000)

    def run_us(self, us: int) -> None:
        self.clock.run_until(self.clock.now_us + us)

    @property
    def now_us(self) -> int:
        return self.clock.now_us

    @property
    def irq(self) -> int:
        level = self.pins.inputs["radio_irq"]
        assert isinstance(level, int)
        return level

    @property
    def busy(self) -> int:
        return self.model.busy_level(self.clock.now_us)

    def transfer(self, *data: int | bytes) -> bytes:
        """One transaction: select, bytes, deselect; what came back."""
        sent = b"".join(d if isinstance(d, bytes) else bytes([d]) for d in data)
        self.model.pin("radio_cs", 0, self.now_us)
        answer = self.model.transfer(sent, self.now_us)
        self.model.pin("radio_cs", 1, self.now_us)
        assert answer is not None and len(answer) == len(sent)
        return answer

    def do(self, *data: int | bytes) -> bytes:
        """A transaction as soon as BUSY is low."""
        for _ in range(100_000):
            if not self.busy:
                break
            self.run_us(10)
        else:
            raise AssertionError("BUSY stays high")
        return self.transfer(*data)

    def busy_us(self) -> int:
        """How long BUSY stays high from now on."""
        began = self.now_us
        while self.busy:
            self.run_us(1)
        return self.now_us - began

    def reset(self) -> None:
        self.model.pin("radio_rst", 0, self.now_us)
        self.run_us(200)
        self.model.pin("radio_rst", 1, self.now_us)
