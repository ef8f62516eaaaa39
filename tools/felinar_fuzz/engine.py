"""One search under atheris, in a process of its own because libFuzzer ends it: python -m felinar_fuzz.engine TARGET FLAGS."""

from __future__ import annotations

import sys

import atheris

# Instrumented as they are imported, so they come before the targets that use them.
with atheris.instrument_imports(include=["felinar_wire", "felinar"]):
    from felinar import wire_batch as wire_batch
    from felinar_wire import batch as batch
    from felinar_wire import codec as codec
    from felinar_wire import core as core
    from felinar_wire import join as join
    from felinar_wire import kept as kept
    from felinar_wire import lms as lms
    from felinar_wire import serial as serial
    from felinar_wire import tesla as tesla

from felinar_fuzz.targets import TARGETS


def main() -> None:
    atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[sys.argv[1]].check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
