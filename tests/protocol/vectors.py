"""Checks a file of golden vectors: the same code under CPython and MicroPython.

A vector is {"call": name, "args": [...], "result": ...} or {..., "refused": reason}; names stand in calls.py.
"""

import json


def check(path: str, call) -> list:  # type: ignore[no-untyped-def, type-arg]
    """The faults of one file, each a line; `call(name, args)` is calls.call."""
    with open(path) as file:
        content = json.load(file)
    faults = []
    for vector in content["vectors"]:
        want = {key: vector[key] for key in ("result", "refused") if key in vector}
        got = call(vector["call"], vector["args"])
        if got != want:
            faults.append(f"{vector['call']} {vector['args']}: got {got}, want {want}")
    if not content["vectors"]:
        faults.append(path + " has no vectors")
    return faults
