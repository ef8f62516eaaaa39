# ruff: noqa: RUF006
# Uses everything that could differ between two runs: random numbers, heap, sets of objects, time, console.
import asyncio
import gc
import os
import random
import sys
import time


class Thing:
    pass


async def walk(name):
    for _ in range(20):
        await asyncio.sleep_ms(random.randint(1, 200))
        print(name, time.ticks_us(), os.urandom(3), gc.mem_free())


async def listen():
    while True:
        byte = await asyncio.StreamReader(sys.stdin.buffer).read(1)
        print("heard", byte, random.getrandbits(20))


async def main():
    asyncio.create_task(listen())
    await asyncio.gather(walk("a"), walk("b"))


asyncio.run(main())
