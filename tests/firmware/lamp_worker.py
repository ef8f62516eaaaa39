"""Replays operations of the lamp's bench under MicroPython: a list of them in, what each gave and the events out."""

import json
import sys

from lamp_bench import Bench

while True:
    line = sys.stdin.readline()
    if not line:
        break
    bench = Bench()
    print(json.dumps([[bench.do(*operation) for operation in json.loads(line)], bench.events]))
