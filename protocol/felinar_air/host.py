"""The host's half of the air, for one bridge: who has which slot, what the beacon says, what goes down and when.

It does no I/O and makes no frames. Times are the host's, in ms since 2024, the bridge's clock being known by whoever hands
transmissions over; sizes are those of whole frames.
"""

from felinar_air.plan import (
    ACKED,
    BANDS,
    BRIDGES,
    CYCLE,
    DOWNLINK,
    GUARD,
    INTERVAL,
    LEAD,
    PHASES,
    TURN,
    Ledger,
    Superframe,
    air_ms,
    band,
)

LATENCY = 60  # ms from handing a frame over until it can be on the air
ALL, BEACON, COMMAND, REPLY, BULK = range(5)  # priorities, first the highest
MARGIN = 60  # 0.1 dB above the limit that a node's signal should have
LIMITS = (-75, -100, -125, -150)  # 0.1 dB of SNR at which SF7 to SF10 are still received: SX1276 data sheet, table 13

_PATIENCE = 2000  # ms that an answer waits for a time that is nobody's
_HOLD = 1500  # ms for which answers are gathered when there are many, as each makes the bridge deaf to who asks
_MISSED = 2  # turns without a frame, and a slot counts as nobody's for the time being
_CUT = 8  # owners all silent in one superframe: their power is gone
_SOON = 3  # superframes until a node that has joined can have verified a beacon and so trusts its times
_FEW = 4  # slots of a superframe that are given out before those of a later one
_RESERVE = 10000  # ms in an hour that only "all on" may use


class AirError(Exception):
    """A plan that can't be made; `reason` is "full" (no slot left on the bridge) or "numbers" (too many neighbours)."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Slots:
    """Whose slots are whose on one bridge, and what its next beacon says of them.

    A slot that somebody left goes to another only when he is known to have left: he joined anew. Else the whole map
    gets another version and everybody joins again, as he could take another's acknowledgement for his own.
    """

    def __init__(self, frame: Superframe, version: int = 1) -> None:
        """`version` is one that the bridge's nodes have not had lately (8 bits)."""
        self.frame = frame
        self.version = version
        self.of: dict[int, int] = {}  # address: slot
        self.owner: dict[int, int] = {}  # slot: address
        self.fresh = 0  # how many slots were ever given out
        self._used = bytearray(CYCLE)  # and of each superframe
        self.left: list[int] = []  # slots that nobody can take for his own
        self.lost = 0  # slots of nodes that are gone without having said so
        self._seen: dict[int, int] = {}  # slot: interval in which its owner was last heard
        self._stored: dict[int, int] = {}  # interval: bits of the slots that are to be acknowledged
        self._cut = 0

    def assign(self, address: int, n: int) -> int:
        """The slot of a node that joins in interval n: the one it had, or a new one. Raises AirError("full")."""
        slot = self.of.get(address, -1)
        slots = self.frame.slots
        if slot < 0:
            if self.left:
                slot = self.left.pop()
            elif self.fresh < slots * CYCLE:
                # The soonest superframe with few slots in use, so that who has joined is soon heard; all alike when there are
                # many. Every other position first: the slot behind is free for whom something is missing of.
                most = max(_FEW, self.fresh // CYCLE + 1)
                superframe = next(
                    m % CYCLE for m in range(n + _SOON, n + _SOON + CYCLE) if self._used[m % CYCLE] < most
                )
                place = self._used[superframe]
                half = slots + 1 >> 1
                slot = superframe * slots + (2 * place if place < half else 2 * (place - half) + 1)
                self._used[superframe] += 1
                self.fresh += 1
            elif self.lost:
                self.replan()
                return self.assign(address, n)
            else:
                raise AirError("full")
            self.of[address] = slot
            self.owner[slot] = address
        self._seen[slot] = n
        return slot

    def moved(self, address: int) -> None:
        """A node has joined on another bridge: its slot is free."""
        slot = self.of.pop(address, -1)
        if slot >= 0:
            del self.owner[slot]
            self.left.append(slot)

    def gone(self, address: int) -> None:
        """A node was taken out of the plan without having said anything itself."""
        slot = self.of.pop(address, -1)
        if slot >= 0:
            del self.owner[slot]
            self.lost += 1

    def replan(self) -> None:
        """Begin a new map: everybody gets a slot as he joins, which he does when he hears of the version."""
        self.version = self.version % 255 + 1
        self.of = {}
        self.owner = {}
        self.left = []
        self.fresh = self.lost = 0
        self._used = bytearray(CYCLE)
        self._seen = {}
        self._stored = {}

    def slot_at(self, time: int) -> "tuple[int, int]":
        """(interval, slot) in which a frame that began at `time` was sent; slot -1 when in none."""
        frame = self.frame
        n, at = divmod(time - frame.begin, INTERVAL)
        position = at // frame.slot_ms
        return n, n % CYCLE * frame.slots + position if position < frame.slots else -1

    def interval(self, time: int, address: int) -> int:
        """The interval for which a node sealed a frame that began at `time`, if it was sent in its slot; 0: it was in none.

        Of its slots that is the nearest one, as clocks differ; of a node that has no slot here, the one at that time.
        """
        frame = self.frame
        slot = self.of.get(address, -1)
        if slot < 0:
            n, slot = self.slot_at(time)
            return n if n > 0 and slot >= 0 else 0
        n = (time - frame.start(slot % frame.slots) + INTERVAL // 2) // INTERVAL
        return n if n > 0 and n % CYCLE == slot // frame.slots else 0

    def heard(self, time: int, address: int) -> None:
        """A genuine frame of a node began at `time`: it is there."""
        slot = self.of.get(address, -1)
        if slot >= 0:
            self._seen[slot] = time // INTERVAL

    def stored(self, time: int, address: int) -> bool:
        """What a node said in a frame that began at `time` is durably stored; False when the slot is not its own."""
        n, slot = self.slot_at(time)
        if slot < 0 or self.owner.get(slot) != address:
            return False
        self._stored[n] = self._stored.get(n, 0) | 1 << self.frame.slots - 1 - slot % self.frame.slots
        return True

    def free(self, n: int) -> int:
        """A bit for each slot of interval n that is nobody's or whose owner is not there, position 0 lowest."""
        out = 0
        slots = self.frame.slots
        first = n % CYCLE * slots
        for i in range(slots):
            if first + i not in self.owner or not self.present(first + i, n):
                out |= 1 << i
        return out

    def present(self, slot: int, n: int) -> bool:
        """Whether a slot's owner has been heard lately."""
        seen = self._seen.get(slot, 0)
        return seen >= self._cut and n - seen <= (_MISSED + 1) * CYCLE

    def beacon(self, n: int) -> "tuple[int, bytes]":
        """(first slot, bits) of the beacon of interval n: what was stored in the two before, then the free slots of this one."""
        frame = self.frame
        slots = frame.slots
        value = 0
        for m in range(n - ACKED, n):
            value = value << slots | self._stored.get(m, 0)
        for m in [m for m in self._stored if m < n - ACKED]:
            del self._stored[m]
        last = n - 1
        first = last % CYCLE * slots
        there = [s for s in range(first, first + slots) if s in self.owner and self.present(s, last)]
        if len(there) >= _CUT and not any(self._seen[s] >= last for s in there):
            self._cut = last
        free = self.free(n)
        for i in range(slots):
            value = value << 1 | free >> i & 1
        bits = (ACKED + 1) * slots
        return (n - ACKED) % CYCLE * slots, (value << (-bits & 7)).to_bytes((bits + 7) // 8, "big")


class Item:
    """One thing to send: a frame of `size` bytes, and again after each of `gaps` ms (the last one for good) until `until`.

    `reply` is the size of the frame that answers it at once, 0 without one; an answer ends the repeating. `what` is
    the caller's: with it he makes the frame when it is due.
    """

    def __init__(
        self,
        priority: int,
        what: object,
        size: int,
        since: int,
        until: int,
        gaps: "tuple[int, ...]" = (),
        reply: int = 0,
    ) -> None:
        self.priority = priority
        self.what = what
        self.size = size
        self.reply = reply
        self.since = since
        self.until = until
        self.gaps = gaps
        self.due = since
        self.sent = 0


class Downlink:
    """What one bridge sends, in the order of priorities, within its duty cycle; `counts` tells what it had to leave.

    A command takes the time of uplink slots, beginning as the slot's owner is about to, who hears it and keeps silent
    (and repeats in his next turn). "All on" takes any time. Answers take times that are nobody's for two seconds, then
    any slot. `neighbours` are bridges in whose range this one is: their transmissions are kept clear of.
    """

    def __init__(self, slots: Slots, counts: "dict[str, int]") -> None:
        self.slots = slots
        self.counts = counts  # "duty" (held back), "expired" (never sent), "beacon" (left out for the duty cycle)
        self.neighbours: list[Downlink] = []
        self.ledger = Ledger(BANDS[band(DOWNLINK)][2])
        self.air = (0, 0)  # of the newest transmission
        self.wake = 0
        self._rest = Ledger(BANDS[band(DOWNLINK)][2])
        self._until = 0  # until then an answer is awaited
        self._held = 0  # until then answers are gathered
        self._queue: list[Item] = []
        self._beacon = 0  # time of the newest beacon handed over

    def push(self, item: Item) -> None:
        """Queue an item; the next call of `next` counts it in."""
        at = len(self._queue)
        while at and self._queue[at - 1].priority > item.priority:
            at -= 1
        self._queue.insert(at, item)
        self.wake = 0

    def done(self, what: object) -> bool:
        """An item was answered or is not wanted any more; False when it was not in the queue."""
        before = len(self._queue)
        self._queue = [item for item in self._queue if item.what != what]
        return len(self._queue) < before

    def __len__(self) -> int:
        return len(self._queue)

    def beacon_times(self, n: int) -> "list[int]":
        """When the beacons of interval n begin."""
        frame = self.slots.frame
        return [n * INTERVAL + at for at in (frame.first, frame.second) if at]

    def next(self, now: int) -> "tuple[int, Item | None] | None":
        """(when, item) of a transmission to hand over now, item None for the beacon; else None: call again at `wake`."""
        n = now // INTERVAL
        self.wake = (n + 1) * INTERVAL
        frame = self.slots.frame
        for at in self.beacon_times(n):
            if at > self._beacon and at >= now:
                if at - now > LEAD - 20:
                    self.wake = min(self.wake, at - LEAD + 20)
                    continue
                self._beacon = at
                if at % INTERVAL == frame.second and self.ledger.used > self.ledger.limit * 8 // 10:
                    self._count("beacon")
                    continue
                if self._book(at, frame.beacon_ms, at % INTERVAL == frame.second):
                    return at, None
                self._count("beacon")
        reserve = 360 * frame.beacon_ms + _RESERVE
        self._queue = [item for item in self._queue if item.until > now or self._expired(item)]
        for item in self._queue:
            if item.due > now + LATENCY:
                self.wake = min(self.wake, item.due - LATENCY)
                continue
            air = air_ms(frame.sf, item.size)
            if item.priority != ALL and self._rest.room(now) < air + reserve:
                self._count("duty")
                self.wake = min(self.wake, now + 1000)
                continue
            at = self._opening(now, item, air)
            if at - now > LATENCY + 30:
                self.wake = min(self.wake, at - LATENCY)
                if now < item.since + _PATIENCE:
                    self.wake = min(self.wake, item.since + _PATIENCE)
                if item.priority <= COMMAND:
                    break  # nothing lower may take its place
                continue
            if not self._book(at, air, True):
                self._count("duty")
                self.wake = min(self.wake, now + 1000)
                continue
            end = at + air
            if item.reply:
                end += 2 * TURN + air_ms(frame.sf, item.reply) + GUARD
                self._until = end
            if item.priority == REPLY and at > self._held:
                self._held = at + _HOLD
            if item.gaps:
                item.due = end + item.gaps[min(item.sent, len(item.gaps) - 1)]
            else:
                self._queue.remove(item)
            item.sent += 1
            self.wake = 0
            return at, item
        return None

    def _count(self, reason: str) -> None:
        self.counts[reason] = self.counts.get(reason, 0) + 1

    def _expired(self, item: Item) -> bool:
        if not item.sent:
            self._count("expired")
        return False

    def _book(self, at: int, air: int, rest: bool) -> bool:
        if not self.ledger.take(at, air):
            return False
        if rest:
            self._rest.take(at, air)
        self.air = (at, at + air)
        return True

    def _opening(self, now: int, item: Item, air: int) -> int:
        """The first time at which an item may go."""
        frame = self.slots.frame
        t = max(now + LATENCY, self.air[1] + TURN)
        answer = 0
        if item.priority != ALL:
            t = max(t, self._until)
            if item.priority == REPLY and now - item.since < _HOLD and now < self._held:
                t = max(t, self._held)
            if item.reply:
                answer = 2 * TURN + air_ms(frame.sf, item.reply)
        aligned = -1
        for _ in range(400):
            moved = self._clear(t, t + air, answer)
            if moved > t:
                t = moved
                continue
            if item.priority == ALL or t == aligned:
                return t
            n = (t - frame.begin + GUARD // 2) // INTERVAL
            at = t - n * INTERVAL - frame.begin + GUARD // 2
            if at >= frame.slots * frame.slot_ms:
                return t  # contention
            if item.priority > COMMAND and now - item.since < _PATIENCE:
                free = self.slots.free(n)
                last = min((at + air + answer) // frame.slot_ms, frame.slots - 1)
                taken = [i for i in range(at // frame.slot_ms, last + 1) if not free >> i & 1]
                if not taken:
                    return t
                t = n * INTERVAL + frame.start(taken[-1] + 1)
                continue
            position = (at + frame.slot_ms - 1) // frame.slot_ms
            if position >= frame.slots:
                t = n * INTERVAL + frame.end
                continue
            t = aligned = n * INTERVAL + frame.start(position) - GUARD // 2
        return t

    def _clear(self, begin: int, end: int, answer: int) -> int:
        """`begin`, or a later time when beacons or neighbours are on the air until then."""
        n = begin // INTERVAL
        for one in [self] + self.neighbours:  # noqa: RUF005
            length = one.slots.frame.beacon_ms
            # Others may speak while an answer comes in; this bridge may not.
            until = end + answer if one is self else end
            for m in (n - 1, n, n + 1):
                for at in one.beacon_times(m):
                    if begin < at + length + TURN and until + TURN > at:
                        return at + length + TURN
            if one is not self and begin < one.air[1] + TURN and end + TURN > one.air[0]:
                return one.air[1] + TURN
        return begin


def factor(snrs: "list[int]") -> int:
    """The spreading factor for a bridge that hears its nodes with these SNRs (0.1 dB): the lowest that leaves all a margin.

    One node in fifty may be weaker (its frames are repeated). SF10 when none suffices.
    """
    weak = sorted(snrs)[len(snrs) // 50] if snrs else 0
    for i in range(len(LIMITS)):
        if weak >= LIMITS[i] + MARGIN:
            return 7 + i
    return 10


def numbers(near: "dict[int, list[int]]") -> "dict[int, int]":
    """A number for each bridge, given which others can be heard where it is heard: beacons of neighbours never meet.

    Uplink channels differ too where three suffice. Raises AirError("numbers").
    """
    out: dict[int, int] = {}
    for bridge in sorted(near, key=lambda b: (-len(near[b]), b)):
        around = [out[b] for b in near if b in out and (b in near[bridge] or bridge in near[b])]
        best = -1
        clash = BRIDGES
        for number in range(BRIDGES):
            if any(number % PHASES == other % PHASES for other in around):
                continue
            shared = sum(number % 3 == other % 3 for other in around)
            if shared < clash:
                clash = shared
                best = number
        if best < 0:
            raise AirError("numbers")
        out[bridge] = best
    return out
