# ruff: noqa: B905, RUF007, UP031
# Takes 20 s of injected levels from the driver that the simulator puts beside the application's own.
import asyncio

import drivers
from drivers import levels

assert drivers.HERE == 1


async def main():
    source = levels.open(None, {"driver": "levels", "sensitivity_db": 120.0})
    await source.start()
    blocks = []
    while len(blocks) < 160:
        batch = await source.levels()
        blocks += [int(v) for v in batch]
    good = all(b - a == 1 for a, b in zip(blocks, blocks[1:]))
    raise RuntimeError("contiguous %s blocks %d" % (good, len(blocks)))


asyncio.run(main())
