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
_PIN_WRITE = const(11)
_IRQ_TAKE = const(14)
_CONSOLE_IN = const(1)
_IRQ = const(128)
_INTERRUPT = const(256)
_BOTH_LOW = const(1536)
_IDLE = const(2048)

_POLLED = const(30)  # I2S and UARTs: their models are asked whether they have something

_TICK_COST = const(3)  # what reading the clock costs in virtual time, µs: a loop that watches it gets on
_LEAD = const(1000)  # how long a board may be busy without a word to the simulator, µs
_ROOM = const(128)  # bytes of data that go out in one piece with their header
_FRESH = const(500)  # how long a level that was told is believed, µs
_LATE = const(60000)
_SOON = const(1024)
_WORDS = const(67)  # of requests that go out in one piece
_MANY = const(48)  # from there on they do

_tx = open("/dev/fd/" + getenv("FELINAR_SIM_OUT"), "wb").write
_rx = open("/dev/fd/" + getenv("FELINAR_SIM_IN"), "rb").readinto
_food = open("/dev/fd/" + getenv("FELINAR_SIM_FOOD"), "r+b")
_request = array("q", (0 for _ in range(_WORDS)))
_bytes = bytearray_at(addressof(_request), 8 * _WORDS)
_view = memoryview(_bytes)
_answer = array("q", (0, 0, 0))
_hits = bytearray(32)

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

used = 0  # words of _request that have not gone out
low = {}  # pin number: the flag that says that it is low
quiet = 0  # a bit for each pin that selects a chip on SPI
ended = 0  # such a pin and 1: it is high again, which nobody was told; 0 none
ended_at = 0  # cost at that moment
begun = 0  # a pin and 1 that has gone low
begun_at = 0

script = b""  # what an SPI chip will say next: see `foresee` in felinar_sim/spi.py
at = 0  # how far that has come
unseen = False  # the transfer under way is one of these: its chip select need not be told

ring = bytearray(
    600
)  # console bytes already fetched (260 are the chip's ring), then pins whose handlers are due and a script
ring_at = 0
ring_end = 0
taken = 0  # console bytes read by the program since the last request

timers = []  # machine.Timer objects that are running
irqs = {}  # pin number: (handler, pin)


def defer(op, arg=0, a=0, b=0, data=None):
    """A request that needs no answer and goes out with the next one; the simulator carries them out in order, at their moments."""
    global sent, taken, free, used, script
    script = b""
    if ended or begun:
        _edges()
    at = used
    n = 0 if data is None else len(data)
    _request[at] = op | arg << 8 | taken << 16 | n << 32
    _request[at + 1] = cost - sent | b << 32
    _request[at + 2] = a
    sent = cost
    taken = 0
    free = 0  # who listens out there may do something at once
    used = at = at + 3
    if n:
        if n <= _ROOM and isinstance(data, (bytes, bytearray)):
            at *= 8
            _bytes[at : at + n] = data
            used += n + 7 >> 3
        else:
            _flush()
            try:
                _tx(data)
                if n & 7:
                    _tx(_view[: -n & 7])
            except OSError:
                _gone()
    if used > _MANY:
        _flush()


def choose(pin, level):
    """A chip on SPI is selected or let go: that goes with what comes next."""
    global begun, begun_at, ended, ended_at, free, unseen
    if level:
        if unseen:
            unseen = False
            return
        if begun or ended:
            _edges()
        ended = pin + 1
        ended_at = cost
        if not flags & _IDLE:
            free = 0
    else:
        if begun:
            _edges()
        begun = pin + 1
        begun_at = cost


def chosen():
    """What `choose` was told since, to go with a transfer: see SPI_TRANSFER in felinar_sim/spi.py."""
    global begun, ended
    word = 0
    if ended:
        if cost - ended_at > _LATE:
            _edges()
            return 0
        word = ended << 8 | cost - ended_at << 16
        ended = 0
    if begun:
        word |= begun << 32 | cost - begun_at << 40
        begun = 0
    return word


def foreseen(out, into, us):
    """Whether the script has this transfer next; what comes back is in `into` then."""
    global at, begun, unseen, cost
    n = len(out)
    if script[at : at + n] != out or real:
        return False
    at += n
    if into is not None:
        into[:] = script[at : at + n]
        at += n
    begun = 0
    unseen = True
    cost += us
    return True


def foreseen_more(into, us):
    """The same of what is read in the transfer under way; it is the last."""
    global at, cost, script
    n = len(into)
    if not unseen or at + n > len(script):
        return False
    into[:] = script[at : at + n]
    at += n
    if at == len(script):
        script = b""
    cost += us
    return True


def foreseen_write(out):
    """Whether the script has this command next, which is sent all the same: the script goes on, with both pins low."""
    n = len(out)
    return script[at : at + n] == out


def go_on(rest, n):
    """After such a command."""
    global script, at, free, flags
    script = rest
    at += n
    free = 1
    flags |= _IDLE | _BOTH_LOW


def let_go():
    """That a chip on SPI was let go of a moment ago, to go with a wait: see WAIT in felinar_sim/board.py."""
    global ended
    ago = cost - ended_at
    if not ended or begun or ago >= _SOON:
        return 0
    word = ended << 16 | ago << 22
    ended = 0
    return word


def _edges():
    global cost, begun, ended
    keep = cost
    pin = ended
    ended = 0
    again = begun
    begun = 0
    if pin:
        cost = ended_at
        defer(_PIN_WRITE, pin - 1, 1)
    if again:
        cost = begun_at
        defer(_PIN_WRITE, again - 1, 0)
    cost = keep


def low_still(pin):
    """Whether a pin is surely low, as the last answer has said and nothing was done since."""
    return pin in low and free and flags & low[pin] and uptime() - now < _FRESH


def _flush():
    global used
    n = used
    used = 0
    try:
        _tx(_view[: 8 * n])
    except OSError:
        _gone()


def post(op, arg=0, a=0, b=0, data=None):
    """A request that needs no answer and goes out now."""
    defer(op, arg, a, b, data)
    if used:
        _flush()


def ask(op, arg=0, a=0, b=0, data=None, into=None):
    """A request and its answer: returns the status (0 or an errno); data goes to `into`, its length to `got`."""
    global now, free, cost, busy, sent, flags, got
    defer(op, arg, a, b, data)
    if used:
        _flush()
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
    if used:
        _flush()
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
    global ring_at, ring_end, cost, busy, script, at
    hits = b""
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
        n = ask(_WAIT, 1, until, sources | let_go(), None, ring)
        ring_end = got
        if n:
            at = got - (n >> 6)
            script = bytes(ring[at:got])
            ring_end = at - (n & 63)
            hits = ring[ring_end:at]
            at = 0
    else:
        n = ask(_WAIT, 0, until, sources & ~_CONSOLE_IN, None, _hits)
        if n:
            hits = _hits[:n]
    if timers:
        t = uptime()
        for timer in timers[:]:
            timer.run(t)
    if not hits and flags & _IRQ:
        ask(_IRQ_TAKE, 0, 0, 0, None, _hits)
        hits = _hits[:got]
    for n in hits:
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
