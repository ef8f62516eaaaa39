"""Checks a file of golden vectors: the same code under CPython and MicroPython.

A vector is {"call": name, "args": [...], "result": ...} or {..., "refused": reason}; names stand in calls.py.
"""

import json


def check(path: str, call) -> list:  # type: ignore[no-untyped-def, type-arg]
    """The faults of one file, each a line; `call(name, args)` is calls.call."""
    with open(path) as file:
        vectors = json.load(file)["vectors"]
    return faults(vectors, call) if vectors else [path + " has no vectors"]


def faults(vectors: list, call) -> list:  # type: ignore[no-untyped-def, type-arg]
    """The same of vectors that were read already: of a piece of a file, on a board."""
    found = []
    for vector in vectors:
        want = {key: vector[key] for key in ("result", "refused") if key in vector}
        got = call(vector["call"], vector["args"])
        if got != want:
            found.append(f"{vector['call']} {vector['args']}: got {got}, want {want}")
    return found
