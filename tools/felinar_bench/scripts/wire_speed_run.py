"""The measured end of wire_speed, run by CPython and MicroPython alike: prints one JSON object.

Times are µs for one report, the best and all of nine rounds; heap is what one report leaves to be collected.
"""

# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False
import gc
import json
import sys
import time

from felinar_wire import codec, kept, schema
from felinar_wire.session import Session

KIND = schema.REPORT
BOOT = 7
KEYS = bytes(range(16)), bytes(range(16, 32))
_ns = getattr(time, "perf_counter_ns", None) or time.time_ns


def sender(first):
    end = Session(1, KEYS[0], KEYS[1], schema.crc, {})
    end.sent = 4 * first - 1
    return end


def receiver():
    return Session(1, KEYS[1], KEYS[0], schema.crc, {})


def seal(end, seq, values, old):
    """A report on its way out: its difference from the one before (whole without), identity, sealed frame."""
    end.sent = 4 * seq - 1
    lag = 1 if old else 0
    body = codec.encode(KIND, values, old, lag)
    return end.seal(KIND, kept.pack(BOOT, seq, BOOT, body, kept.expected(end.sent + 1), lag))


def unseal(end, data, old):
    """The same report coming in: (seq, values)."""
    kind, counter, payload = end.open(data)
    _, seq, lag, body = kept.unpack_lag(payload, BOOT, kept.expected(counter))
    return seq, codec.decode(kind, body, old if lag else None, lag)


def rounds(work, repeats):
    """Nine measurements of `work(i)` for i in range(repeats), each in µs a call."""
    found = []
    for _ in range(9):
        gc.collect()
        start = _ns()
        work()
        found.append((_ns() - start) / 1000 / repeats)
    return found


def measure(reports):
    out = {}
    count = len(reports) - 1
    for form in ("differential", "whole"):
        olds = [reports[i] if form == "differential" else None for i in range(count)]

        def sealing(olds=olds):
            end = sender(1)
            for i in range(count):
                seal(end, i + 1, reports[i + 1], olds[i])

        end = sender(1)
        frames = [seal(end, i + 1, reports[i + 1], olds[i]) for i in range(count)]

        def opening(olds=olds, frames=frames):
            end = receiver()
            for i in range(count):
                unseal(end, frames[i], olds[i])

        end = receiver()
        for i in range(count):
            if unseal(end, frames[i], olds[i]) != (i + 1, reports[i + 1]):
                raise ValueError("a report did not come back")
        out[form] = {"seal": rounds(sealing, count), "open": rounds(opening, count)}
        if hasattr(gc, "mem_alloc"):
            out[form]["heap"] = heap(reports, olds, frames)
    return out


def heap(reports, olds, frames):
    """Bytes that sealing, and opening, one report leaves behind: the mean over the reports."""
    spent = []
    out, into = sender(1), receiver()
    for step in (
        lambda i: seal(out, i + 1, reports[i + 1], olds[i]),
        lambda i: unseal(into, frames[i], olds[i]),
    ):
        total = 0
        for i in range(len(frames)):
            gc.collect()
            gc.disable()
            before = gc.mem_alloc()  # type: ignore[attr-defined]
            step(i)
            total += gc.mem_alloc() - before  # type: ignore[attr-defined]
            gc.enable()
        spent.append(total // len(frames))
    return spent


print(json.dumps(measure(json.loads(sys.stdin.readline()))))  # noqa: T201
