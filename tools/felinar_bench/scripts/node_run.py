"""The measured end of `node`, run by MicroPython: sound and reports, in µs, nine rounds each, as one JSON object."""

# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False, ignore-errors
import gc
import json
import math
import sys
import time
from array import array

from felinar_wire import codec, schema
from node.levels import Levels
from node.period import Period
from node.sound import Meter

SECOND = 48000
SAMPLES = array("i", (int(2e5 * math.sin(0.13 * i) + 9e4 * math.sin(1.7 * i)) << 10 for i in range(SECOND)))
OUT = [0.0, 0.0, 0.0]


def plain_meter():
    """The meter with its inner loop as bytecode."""
    with open(sys.argv[1]) as file:
        source = file.read().replace("@micropython.viper\n", "")
    found = {}
    exec(source, found)
    return found["Meter"]()


def sound(meter):
    at = 0
    while at < SECOND:
        at = meter.feed(SAMPLES, at, SECOND)
        if meter.ready:
            meter.take(OUT)
    return list(OUT)


def report():
    period = Period()
    period.levels = Levels(120)
    squares = array("f", (1e-6 * (1 + i % 7) for i in range(80)))
    fields = schema.fields(schema.REPORT)

    def once():
        for i in range(2, 22):
            if not 12 <= i < 17:
                period.add(i, 40.0 + i)
        period.levels.add(squares, None)
        begin = time.ticks_us()
        values = period.close(300)
        values[0] = 90000000
        values[1] = 86400
        body = codec.encode(schema.REPORT, values)
        end = time.ticks_us()
        if len(values) != len(fields) or len(body) < 20:
            raise ValueError
        return end - begin

    return min([once() for _ in range(50)])


def timed(work, *args):
    gc.collect()
    begin = time.ticks_us()
    work(*args)
    return time.ticks_us() - begin


viper, plain = Meter(), plain_meter()
if sound(viper) != sound(plain):
    raise ValueError("bytecode and viper differ")
print(  # noqa: T201
    json.dumps(
        {
            "viper": [timed(sound, viper) for _ in range(9)],
            "bytecode": [timed(sound, plain) for _ in range(3)],
            "report": [report() for _ in range(9)],
        }
    )
)
