"""A lamp's medium access: when it may send, what an acknowledgement means, whom to follow when a bridge falls silent.

It does no I/O and knows no keys: `felinar_wire.tesla` says which beacons are genuine. Times are the node's own, in ms
that neither step nor wrap; `random(n)` gives n random bytes.
"""

from felinar_wire import batch, codec, kept, schema
from felinar_wire.errors import WireError
from felinar_wire.session import count
from felinar_wire.tesla import acknowledged

from felinar_air.plan import ACKED, BRIDGES, CYCLE, GUARD, INTERVAL, TURN, Superframe, air_ms

_SILENT = 65000  # ms without a verified beacon: the session is of no use
_QUIET = 38000  # ms without any beacon: the bridge, or the spreading factor, is given up
_STUBBORN = 6  # JOIN_REQs before another bridge gets a chance
_FRESH = 25000  # ms; a beacon heard since then: somebody is there
_SPREAD = 4  # superframes over which nodes come back that have lost their slots at once; their crowd is felt then
_JOIN = 19  # bytes of a JOIN_REQ
_REPLY = 22  # bytes of the longest answer to a command
_FRONT = 9  # bytes of header and tag of a report


class Access:
    """Follow one bridge: `heard` and `verified` for its beacons, `turn` for the own slot, `contend` for what can't wait.

    `slot` is below 0 while the node has none; `joining` says that a JOIN_REQ is to go out when `join` says so. What was
    not done is counted in `counts`: "preempted" (the host was speaking), "void" (the host has planned the slots anew).
    """

    def __init__(self, address: int, random, counts, factors=(7, 9, 8, 10)) -> None:  # type: ignore[no-untyped-def]
        """`factors` are the spreading factors to look for a bridge at, first the likeliest."""
        self.counts = counts
        self.slot = -1
        self.joining = True
        self.tries = 0  # JOIN_REQs sent in vain
        self.crowd = 0  # JOIN_ACCs for others
        self._wait = 0  # superframes until the next JOIN_REQ
        self.quiet = 0  # until then somebody else answers a command
        self._random = random
        self._factors = factors
        self._map = -1
        self._from = 0  # beacons up to that interval know nothing of the slot
        self._home = (0, 0)  # (spreading factor, bridge) where the slot is
        self._other = (0, -_SILENT, 0)  # (bridge, when, RSSI): the strongest other one that was heard
        self._flight: tuple[int, object] = (0, None)  # (interval, what went out in its slot)
        self._wide = False  # the slot behind the own one is nobody's
        self._follow(factors[0], 0, 0)

    def _follow(self, sf: int, bridge: int, now: int) -> None:
        self.frame = Superframe(sf, bridge)
        self.timed = False  # has heard a beacon
        self._off = 0  # own time - host's, by the newest beacon
        self._heard = self._alive = now
        self._free = self._free_n = self._rssi = self._asked = 0
        self._held: list[tuple[int, int]] = []  # (counter, when it began) of beacons that may be verified yet
        self._gone = 0  # of intervals up to that one some are not in it any more
        # By verified beacons: the newest one's interval and offset, an older one's, and what they say of the drift.
        self._sure = self._sure_off = self._mark = self._mark_off = self._rate = 0
        self._drift = 100  # ppm that are not known

    # Beacons

    def heard(self, bridge: int, counter: int, body: bytes, began: int, rssi: int = 0, lasting: bool = True) -> None:
        """A beacon that nobody has verified: address - BEACONS, counter (its interval << 8 | number), when it began.

        As long as the clock is not set any interval that ends in the right eight bits will do. It does nothing to a node
        in a slot: slot times come from verified beacons, which are exact enough for longer than it takes to verify one. A
        node without a slot takes a bridge that is 6 dB stronger (`rssi` in dBm) until it has asked for one in vain.
        `lasting` False: it can't be verified later.
        """
        frame = self.frame
        if bridge != frame.bridge:
            other, when, strength = self._other
            if bridge == other or rssi >= strength or began - when > _FRESH:
                self._other = (bridge, began, rssi)
            better = self.slot < 0 and self.tries < 2 and rssi > self._rssi + 6
            if (self.timed and not better) or not 0 <= bridge < BRIDGES:
                return
            self._follow(frame.sf, bridge, began)
            frame = self.frame
        n = counter >> 8
        self._heard = began
        self._rssi = rssi
        if lasting:
            if len(self._held) > 15:
                self._gone = max(self._gone, self._held.pop(0)[0] >> 8)
            self._held.append((counter, began))
        if not self._sure:
            self._off = began - n * INTERVAL - (body[17] << 8 | body[18])
            if self.slot < 0 or (frame.sf, bridge) != self._home:
                self.joining = True
        self.timed = True
        self._free = self._open(body) if self.slot < 0 or self.joining else 0
        self._free_n = n

    def _open(self, body: bytes) -> int:
        """A bit for each slot of a beacon's superframe that is nobody's, position 0 lowest."""
        out = 0
        slots = self.frame.slots
        at = ACKED * slots + 168  # bits in front of them
        for i in range(at, min(at + slots, 8 * len(body))):
            if body[i >> 3] << (i & 7) & 128:
                out |= 1 << i - at
        return out

    def _offset(self, n: int) -> int:
        return self._sure_off + (n - self._sure) * self._rate // 1600

    def error(self, now: int) -> int:
        """How many ms slot times may be wrong by; a day when no verified beacon has told any."""
        if not self._sure:
            return 86400000
        return 3 + (abs(now - self._sure_off - self._sure * INTERVAL) // INTERVAL * self._drift + 99) // 100

    def verified(self, bridge: int, counter: int, body: bytes) -> object:
        """What was `sent` in the slot that this genuine beacon acknowledges, to be let go of; None when it does not.

        The time is measured by it too, and the drift. Void when the host has planned the slots anew: then the node joins.
        """
        frame = self.frame
        if bridge != frame.bridge:
            return None
        n = counter >> 8
        off = -n * INTERVAL - (body[17] << 8 | body[18])
        offs = [began + off for held, began in self._held if held == counter]
        if n >= self._sure:
            expected = self._offset(n)
            most = 1 + (n - self._sure) * self._drift // 100
            self._alive = self._heard
            if self._sure:
                self._alive = expected + n * INTERVAL
                # No two can be heard within the guard: others with that counter are forged, or were recorded and repeated.
                near = [off for off in offs if abs(off - expected) <= GUARD + most]
                if offs and not near:
                    if len(offs) == 1 and offs[0] < expected and n > self._gone:
                        near.append(expected - GUARD - most)  # what was measured before was late
                    elif n - self._sure > 6:
                        self._sure = 0  # a minute of that: the host's clock was put right
                offs = near
            elif n <= self._gone:
                offs = []
            if len(offs) == 1:
                off = offs[0]
                if self._sure:
                    # An interrupt may be served late, not early: what came later than expected counts as far as drift goes.
                    off = min(off, expected + most)
                if not self._sure or n - self._mark > 120:
                    if self._sure:
                        # Over 20 minutes and more 2 ms are at most 2 ppm; the rest is for the temperature.
                        self._rate = (off - self._mark_off) * 1600 // (n - self._mark)
                        self._drift = 10
                    self._mark = n
                    self._mark_off = off
                self._sure = n
                self._sure_off = self._off = off
        if self.slot < 0 or n <= self._from or (frame.sf, bridge) != self._home:
            return None
        if body[16] != self._map:
            self.slot = -1
            self._return()
            count(self.counts, "void")
            return None
        sent, what = self._flight
        if n % CYCLE == self.slot // frame.slots:
            self._wide = self._open(body) >> self.slot % frame.slots + 1 & 1 > 0
        if what is None or not 0 < n - sent <= ACKED:
            return None
        slot = self.slot
        if slot < (body[19] << 8 | body[20]):
            slot += CYCLE * frame.slots  # numbers go on behind the cycle's end
        if not acknowledged(body, self._map, slot):
            return None
        self._flight = (0, None)
        return what

    # Sending

    def joined(self, slot: int, slot_map: int, n: int, now: int) -> None:
        """A JOIN_ACC has come, made in interval n: this slot of that map, of the bridge that is followed."""
        self.slot = slot
        self.joining = False
        self.tries = 0
        self._map = slot_map
        self._from = n
        self._flight = (0, None)
        self._wide = False
        off = self._off
        sf, bridge = self._home = (self.frame.sf, self.frame.bridge)
        self._follow(sf, bridge, now)
        self._off = off
        self._gone = n
        self.timed = True  # or else the next bridge that is heard would be taken

    def turn(self, now: int) -> "tuple[int, int, int]":
        """(when to send, longest frame in bytes, interval to tell `sent`) of the next own slot; (0, 0, 0): none for now.

        The longest frame shrinks as the times become less certain, to 0 when there is no more telling.
        """
        frame = self.frame
        if self.slot < 0 or not self._sure or (frame.sf, frame.bridge) != self._home:
            return 0, 0, 0
        begin = frame.start(self.slot % frame.slots)
        n = (now - self._off - begin - GUARD // 2) // INTERVAL + 1
        n += (self.slot // frame.slots - n) % CYCLE
        at = n * INTERVAL + begin + self._offset(n)
        error = max(self.error(at), GUARD // 2)
        limit = frame.limit
        room = frame.slot_ms
        if self._wide:
            limit = 246
            room += room
        while limit > 0 and air_ms(frame.sf, limit) + 2 * error > room:
            limit -= 2
        return at + error, max(limit, 0), n

    def sent(self, n: int, what: object) -> None:
        """`what` went out in the own slot of interval n; it comes back from `verified`."""
        self._flight = (n, what)

    def clear(self, now: int, receiving: bool) -> bool:
        """Whether a planned transmission may begin: not while the host speaks, nor while another answers it."""
        if not receiving and now >= self.quiet:
            return True
        count(self.counts, "preempted")
        return False

    def overheard(self, now: int) -> None:
        """A unicast frame for somebody else ended: leave the air to the answer."""
        self.quiet = now + TURN + air_ms(self.frame.sf, _REPLY) + TURN

    def _below(self, n: int) -> int:
        return int.from_bytes(self._random(3), "big") % n

    def contend(self, now: int, size: int) -> int:
        """When to try a frame of `size` bytes at random times (with channel-activity detection); 0: no beacon yet.

        In the present superframe's times of contention and, for nodes without a slot, in slots that are nobody's.
        """
        if not self.timed:
            return 0
        air = air_ms(self.frame.sf, size) + 1
        begin = self.frame.first
        now += TURN - self._off
        n = (now - begin) // INTERVAL
        while True:
            parts = []
            total = 0
            free = self._free if n == self._free_n and self.slot < 0 else 0
            for a, b in self.frame.windows(free):
                a = max(a, now - n * INTERVAL)
                if b - air > a:
                    parts.append((a, b - air - a))
                    total += b - air - a
            if total > 4 * air:
                break  # not all of them into the last few ms
            n += 1
        total = self._below(total)
        for a, room in parts:
            if total < room:
                return n * INTERVAL + a + total + self._off
            total -= room
        return 0

    def join(self, now: int) -> int:
        """Call when a beacon was heard: when to send the JOIN_REQ (again), 0: not in this superframe.

        Count `tries` up with each that was sent. Who is alone asks in each superframe; else chance decides, by how many
        others were there in the last one (`crowd`: count the JOIN_ACCs that are for others; a busy channel counts too).
        """
        n = self._free_n
        if n == self._asked or not self.joining:
            return 0
        self._asked = n
        crowd = self.crowd
        self.crowd = 0
        if self._wait:
            self._wait -= 1
            return 0
        if self._below(1 + crowd * air_ms(self.frame.sf, _JOIN) // 600):
            return 0
        self.slot = -1  # the host may give it to another from now on
        return self.contend(now, _JOIN)

    def again(self, now: int) -> int:
        """The channel was busy when the JOIN_REQ was to go out: when to try next; 0: `join` says so at a later beacon."""
        self.crowd += 1
        return self._below(2) and self.contend(now, _JOIN)

    def step(self, now: int) -> bool:
        """Call every second or so; True: the radio is to be tuned to `frame` anew."""
        frame = self.frame
        quiet = now - self._heard
        if now - self._alive < _SILENT and quiet < _QUIET:
            return False
        bridge, when, _ = self._other
        if (quiet >= _QUIET or self.tries > _STUBBORN) and now - when < _FRESH and bridge != frame.bridge:
            self._follow(frame.sf, bridge, when)
            self.timed = True  # it is to be this one, whoever is heard first
            self._return()
            return True
        if self.timed and quiet < _FRESH:
            if not self.joining:
                self._return()  # somebody is there but can't prove it: the chain is out of reach
            return False
        if quiet < _QUIET:
            return False
        factors = self._factors
        self._follow(factors[(factors.index(frame.sf) + 1) % len(factors)], frame.bridge, now)
        return True

    def _return(self) -> None:
        """Many may come with this one."""
        self.joining = True
        self.tries = 1
        self._wait = self._below(_SPREAD)


def compose(rows: "list[tuple[int, schema.Values]]", base, limit: int, boot: int, session_boot: int, expect: int):  # type: ignore
    """(kind, payload to seal, seqs in it) of a frame of at most `limit` bytes for a node's slot.

    `rows` are (seq, values) of reports of one boot that are not acknowledged, seq rising, the new one last; `base` is
    such a pair of the same boot whose acknowledgement was verified, or None; `expect` as in `kept`. The new one alone
    goes as a difference where it can; with others a batch goes, of the oldest and the newest, as many as fit. Raises
    WireError("long") when not even one fits.
    """
    rows = rows[:]
    while len(rows) > 1:
        if rows[-1][0] - rows[-2][0] > 256:
            rows.pop()
            continue
        body = kept.pack(boot, rows[0][0], session_boot, batch.encode(rows), expect)
        over = len(body) + _FRONT - limit
        if over <= 0:
            return schema.BATCH, body, [row[0] for row in rows]
        # Some 12 bytes each; at least one goes, and the newest stays.
        for _ in range(min((over + 12) // 13, len(rows) - 1)):
            del rows[-2]
    seq, values = rows[0]
    lag = seq - base[0] if base else 0
    if not 0 < lag < 16:
        lag = 0
    body = codec.encode(schema.REPORT, values, base[1] if lag else None, lag)
    body = kept.pack(boot, seq, session_boot, body, expect, lag)
    if len(body) + _FRONT > limit:
        raise WireError("long")
    return schema.REPORT, body, [seq]
