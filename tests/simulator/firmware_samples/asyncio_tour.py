# ruff: noqa: RUF006, UP041
# Everything of asyncio that a task queue takes part in; prints only what does not depend on the clock.
import asyncio


def say(*args):
    print(*args)


async def sleeper(name, ms):
    try:
        await asyncio.sleep_ms(ms)
        say(name, "slept")
        return name
    except asyncio.CancelledError:
        say(name, "cancelled")
        raise


async def failing():
    await asyncio.sleep_ms(1)
    raise ValueError("as planned")


async def holder(lock, name):
    async with lock:
        say(name, "holds")
        await asyncio.sleep_ms(5)


async def waiter(event, name):
    await event.wait()
    say(name, "woken")


async def main():
    say(await asyncio.gather(sleeper("c", 30), sleeper("a", 10), sleeper("b", 20)))
    say(await asyncio.gather(failing(), sleeper("d", 5), return_exceptions=True))

    task = asyncio.create_task(sleeper("far", 100000))
    await asyncio.sleep_ms(5)
    say(task.done(), task.cancel(), task.done())
    try:
        await task
    except asyncio.CancelledError:
        say("seen", task.done(), task.cancel())

    unstarted = asyncio.create_task(sleeper("unstarted", 10))
    unstarted.cancel()
    await asyncio.sleep_ms(1)
    say("unstarted", unstarted.done())

    try:
        await asyncio.wait_for(sleeper("slow", 1000), 0.01)
    except asyncio.TimeoutError:
        say("timeout")
    say(await asyncio.wait_for(sleeper("quick", 1), 1))

    outer = asyncio.create_task(asyncio.wait_for(sleeper("inner", 1000), 10))
    await asyncio.sleep_ms(5)
    outer.cancel()
    try:
        await outer
    except asyncio.CancelledError:
        say("outer cancelled")

    event = asyncio.Event()
    waiters = [asyncio.create_task(waiter(event, n)) for n in "xyz"]
    await asyncio.sleep_ms(1)
    waiters[1].cancel()
    event.set()
    await asyncio.sleep_ms(1)
    say([w.done() for w in waiters])

    lock = asyncio.Lock()
    await asyncio.gather(*(holder(lock, n) for n in "pqr"))

    flag = asyncio.ThreadSafeFlag()

    async def setter():
        await asyncio.sleep_ms(3)
        flag.set()

    asyncio.create_task(setter())
    await flag.wait()
    say("flag")

    try:
        asyncio.current_task().cancel()
    except RuntimeError as e:
        say(e)

    done = asyncio.create_task(sleeper("done", 1))
    await asyncio.sleep_ms(10)
    say(await done, done.done())
    unseen = asyncio.create_task(failing())
    asyncio.get_event_loop().set_exception_handler(lambda loop, context: say("unseen", context["exception"]))
    await asyncio.sleep_ms(10)
    say(unseen.done())
    # many of one moment keep their order
    await asyncio.gather(*(sleeper(str(i), 5) for i in range(8)))


asyncio.run(main())
say("end")
