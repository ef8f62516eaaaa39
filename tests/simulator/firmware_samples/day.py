# ruff: noqa: B007, UP031
# Wakes every 5 s for a day.
import asyncio


async def main():
    n = 0
    for n in range(1, 17280):
        await asyncio.sleep_ms(5000)
    await asyncio.sleep_ms(4000)
    raise RuntimeError("woken %d" % (n + 1))


asyncio.run(main())
