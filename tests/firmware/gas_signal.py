"""The raw signal for which `gas_index_vectors.json` holds the indices that Sensirion's own library gives.

The vectors come from PyPI's `sensirion-gas-index-algorithm` 3.2.2, whose `VocAlgorithm().process` and
`NoxAlgorithm().process` were fed with `signal(False)` and `signal(True)`: the first 120 seconds, then each 60th second.
"""


def signal(nox, hours=20):
    """Ticks, one a second: a base with a daily drift, steps, ramps, a reading beyond the scale, and noise; integers only."""
    base = 16000 if nox else 30500
    state = 12345
    for t in range(hours * 3600):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        event = 0
        minute = t // 60
        if minute % 97 >= 85:
            event = 1500 + 20 * (t % 60)
        if 500 <= minute < 760:
            event = 6000
        if minute == 900:
            event = 40000
        yield base + (state >> 16) % 21 - 10 + abs(t % 43200 - 21600) // 60 + (event if nox else -event)
