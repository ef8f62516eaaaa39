"""How DTR and RTS reach a chip: the two transistors of a development board, or the chip's own USB, as a pure state machine.

Espressif, "Boot Mode Selection": asserted RTS without DTR pulls EN low, asserted DTR without RTS pulls IO0 low, both or neither pull none.
ESP32-S3 Technical Reference Manual, "USB Serial/JTAG": DTR without RTS sets the download flag, neither clears it, RTS without DTR resets.
"""

from __future__ import annotations

from enum import Enum, auto


class Act(Enum):
    """What a change of the lines does."""

    NONE = auto()
    HOLD = auto()
    """EN is low: the chip stands still."""
    CHARGING = auto()
    """EN is let go, but rises slowly: `settled` says what comes when nothing changes for `SETTLE_US`."""
    RUN = auto()
    DOWNLOAD = auto()


SETTLE_US = 400_000
"""How long EN takes to rise. Tens of milliseconds less would do on a cable; RFC 2217 puts 50 ms and more between two changes."""


class Circuit:
    """The classic sequence is: EN low; both asserted, which lets EN rise; IO0 low before it has risen."""

    def __init__(self, *, usb: bool = False) -> None:
        self.usb = usb
        self.dtr = self.rts = False
        self._held = False
        self._flag = False

    def change(self, dtr: bool, rts: bool) -> Act:
        """The lines as they are from now on."""
        if (dtr, rts) == (self.dtr, self.rts):
            return Act.NONE
        self.dtr, self.rts = dtr, rts
        return self._usb() if self.usb else self._transistors()

    def settled(self) -> Act:
        """The lines have stayed as they are for `SETTLE_US` after CHARGING."""
        return self._rise(Act.RUN)

    def straps(self) -> Act:
        """A reset from inside the chip, with the lines as they are."""
        return Act.DOWNLOAD if not self.usb and self.dtr and not self.rts else Act.RUN

    def _transistors(self) -> Act:
        if self.rts and not self.dtr:
            self._held = True
            return Act.HOLD
        if not self._held:
            return Act.NONE
        if self.dtr and self.rts:
            return Act.CHARGING
        return self._rise(Act.DOWNLOAD if self.dtr else Act.RUN)

    def _usb(self) -> Act:
        if self.dtr == self.rts:
            if self.dtr:
                return Act.NONE
            act = self._rise(Act.DOWNLOAD if self._flag else Act.RUN)
            self._flag = False
            return act
        if self.dtr:
            self._flag = True
            return Act.NONE
        self._held = True
        return Act.HOLD

    def _rise(self, act: Act) -> Act:
        if not self._held:
            return Act.NONE
        self._held = False
        return act
