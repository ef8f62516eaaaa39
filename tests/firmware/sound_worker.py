"""Runs node.sound under MicroPython on samples from a file; answers with the blocks and the last state."""

import json
import sys

import micropython
from node.sound import Meter

out = [0.0, 0.0, 0.0]
meter = Meter()

while True:
    line = sys.stdin.readline()
    if not line:
        break
    request = json.loads(line)
    if request.get("new", True):
        meter = Meter()
    with open(request["file"], "rb") as file:
        samples = file.read()
    total = len(samples) // 4
    pieces = request.get("pieces") or [total]
    blocks = []
    at = end = turn = 0
    while at < total:
        if at == end:
            end = min(total, at + pieces[turn % len(pieces)])
            turn += 1
        micropython.heap_lock()
        try:
            at = meter.feed(samples, at, end)
        finally:
            micropython.heap_unlock()
        if meter.ready:
            meter.take(out)
            blocks.append(list(out))
    print(json.dumps({"blocks": blocks, "state": list(meter._state)}))
