"""The node's end of the pipe to the simulator: one request, one answer (layout and numbers: felinar_sim/link.py)."""

from array import array
from os import getenv, system

import utime
from micropython import const
from uctypes import addressof, bytearray_at

_HELLO = const(0)
_SYNC = const(1)
_WAIT = const(2)
_EXIT = const(3)
_IRQ_TAKE = const(14)
_CONSOLE_IN = const(1)
_IRQ = const(128)
_INTERRUPT = const(256)

_POLLED = const(30)  # I2S and UARTs: their models are asked whether they have something

_TICK_COST = const(3)  # what reading the clock costs in virtual time, µs: a loop that watches it gets on
_LEAD = const(1000)  # how long a board may be busy without a word to the simulator, µs
_ROOM = const(128)  # bytes of data that go out in one piece with their header

_tx = open("/dev/fd/" + getenv("FELINAR_SIM_OUT"), "wb").write
_rx = open("/dev/fd/" + getenv("FELINAR_SIM_IN"), "rb").readinto
_food = open("/dev/fd/" + getenv("FELINAR_SIM_FOOD"), "r+b")
_request = array("q", (0 for _ in range(3 + _ROOM // 8)))
_bytes = bytearray_at(addressof(_request), 24 + _ROOM)
_answer = array("q", (0, 0, 0))

real = False
zero = 0  # real clock: the system's µs at uptime 0
now = 0  # uptime at the last answer, µs
free = 0  # uptime until which nothing comes from outside: waits up to then need not be asked for
cost = 0  # virtual µs spent since the last answer
busy = _LEAD  # cost at which the simulator must hear of it
sent = 0  # of the cost, told to the simulator by posts
flags = 0
got = 0  # bytes of the last answer's data
rtc_us = 0  # µs since 2000 at uptime 0

ring = bytearray(260)  # console bytes already fetched; 260 is the chip's ring
ring_at = 0
ring_end = 0
taken = 0  # console bytes read by the program since the last request

timers = []  # machine.Timer objects that are running
irqs = {}  # pin number: (handler, pin)


def post(op, arg=0, a=0, b=0, data=None):
    """A request that needs no answer; the simulator carries it out in order."""
    global sent, taken, free
    n = 0 if data is None else len(data)
    _request[0] = op | arg << 8 | taken << 16 | n << 32
    _request[1] = cost - sent | b << 32
    _request[2] = a
    sent = cost
    taken = 0
    free = 0  # who listens out there may do something at once
    try:
        if not n:
            _tx(_bytes, 24)
        elif n <= _ROOM and isinstance(data, (bytes, bytearray)):
            _bytes[24 : 24 + n] = data
            _tx(_bytes, 24 + n)
        else:
            _tx(_bytes, 24)
            _tx(data)
    except OSError:
        _gone()


def ask(op, arg=0, a=0, b=0, data=None, into=None):
    """A request and its answer: returns the status (0 or an errno); data goes to `into`, its length to `got`."""
    global now, free, cost, busy, sent, flags, got
    post(op, arg, a, b, data)
    if _rx(_answer) != 24:
        _gone()
    cost = sent = 0
    busy = _LEAD
    now = _answer[0]
    free = _answer[2]
    word = _answer[1]
    flags = word >> 16 & 0xFFFF
    got = word >> 32
    if got and _rx(into, got) != got:
        _gone()
    if flags & _INTERRUPT:
        raise KeyboardInterrupt
    return word & 0xFFFF


def raw(buf):
    """The bytes of any buffer; of an array of words too."""
    if isinstance(buf, (bytes, bytearray)):
        return buf
    import uctypes

    view = memoryview(buf)
    return uctypes.bytearray_at(uctypes.addressof(buf), len(view) * len(bytes(view[:1])))


def _gone():
    system("kill -9 $PPID")  # nobody is left at the other end of the pipe


def uptime():
    """Microseconds since this boot."""
    global cost
    if real:
        return utime.ticks_us() - zero
    cost += _TICK_COST
    if cost > busy:
        ask(_SYNC)
    return now + cost


def feed():
    """Feed the watchdog: leave word of it where the simulator looks before the watchdog bites."""
    _request[0] = uptime()
    _food.seek(0)
    _food.write(_bytes, 8)


def stale(sources):
    """Whether so much time has passed since the last answer that the simulator may know of more input from these."""
    t = uptime()
    return t - now > _LEAD and (t > free or sources & _POLLED)


def spend(us):
    """Busy time of less than a millisecond."""
    global cost
    if real:
        utime.sleep_us(us)
    else:
        cost += us
        if cost > busy:
            ask(_SYNC)


def wait(until, sources):
    """Sleep until uptime `until` (µs, -1: for ever) or until a source has something; runs timers and pin handlers that are due.

    Returns whether a source may have something.
    """
    global ring_at, ring_end, cost, busy
    for t in timers:
        if until < 0 or t.due < until:
            until = t.due
    if now + cost < until <= free and not sources & (_POLLED | flags) and not flags & _IRQ:
        cost = until - now
        busy = cost + _LEAD
        if not timers:
            return False
    elif ring_at == ring_end:
        ring_at = ring_end = 0
        ask(_WAIT, 0, until, sources, None, ring)
        ring_end = got
    else:
        ask(_WAIT, 0, until, sources & ~_CONSOLE_IN)
    if timers:
        t = uptime()
        for timer in timers[:]:
            timer.run(t)
    if flags & _IRQ:
        hits = bytearray(32)
        ask(_IRQ_TAKE, 0, 0, 0, None, hits)
        for n in hits[:got]:
            if n in irqs:
                handler, pin = irqs[n]
                handler(pin)
    return True


def sleep(us):
    if us < 1000 and not timers:
        if us > 0:
            spend(us)
        return
    until = uptime() + us
    while uptime() < until:
        wait(until, _IRQ)


def hello(buffer):
    """The first request of a boot: learns the clock, and what the board's past has left (see felinar_sim/link.py)."""
    global real, zero, rtc_us
    ask(_HELLO, 0, 0, 0, None, buffer)
    real = bool(buffer[0] & 1)
    rtc_us = int.from_bytes(buffer[8:16], "little")
    if buffer[15] & 128:
        rtc_us -= 1 << 64
    if real:
        zero = utime.ticks_us() - now


def exit(reason):
    post(_EXIT, reason)
    while True:
        ask(_WAIT, 0, -1, 0)
