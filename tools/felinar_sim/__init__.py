"""The simulated street: the real firmware in real MicroPython processes, on simulated boards in a simulated world."""
