"""The status LED: one pattern of two seconds for each state of the node, loaded where the board has the pin `led`."""

import asyncio

from micropython import const

_EVERY_MS = const(125)
_OUT = const(3)
# The lowest bit first.
_STARTING = const(0x5555)  # hectic
_NO_HOST = const(0x00FF)  # half and half
_WELL = const(0x0001)  # a flash
_SAFE = const(0x3333)  # four long ones
_FAULT = const(0x0015)  # three flashes


def pattern(app) -> int:
    """What the node's state looks like."""
    if app.health.safe:
        return _SAFE
    for sensor in app.sensors:
        if sensor._lost:
            return _FAULT
    if app.failed or app.config.bad or app.lamp.verdict.raised:
        return _FAULT
    return _NO_HOST if app.uplink.alone(app.clock.up()) else _WELL


async def run(app) -> None:
    """Show it for ever. Nothing is allocated on the way."""
    pin = app.board.pin("led", _OUT, 0)
    shown = _STARTING
    bit = 1
    while True:
        pin.value(shown & bit != 0)
        bit <<= 1
        if bit > 0x8000:
            bit = 1
            shown = pattern(app)
        await asyncio.sleep_ms(_EVERY_MS)
