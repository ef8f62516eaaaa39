"""What both ends know of the air: airtime, the layout of a superframe, channels, sub-bands, the ledger of airtime."""

from array import array

INTERVAL = 10000  # ms of a superframe, which is a TESLA interval
CYCLE = 30  # superframes after which slots come again
LEAD = 200  # ms from a superframe's start to its beacon: the host builds it in them
STAGGER = 320  # ms between the beacons of neighbouring bridges
PHASES = 4
GUARD = 24  # ms of a slot beyond its longest frame, half of them before the frame
TURN = 12  # ms for a radio to change between sending and receiving
ACKED = 2  # superframes whose slots a beacon acknowledges
BEACONS = 0xFF00  # address of a bridge's beacons: this and its number
BRIDGES = 12

DOWNLINK = 869525  # kHz
_UPLINKS = (868100, 868300, 868500)

# Lowest and highest kHz, share of an hour in 1/1000, dBm of radiated power: EN 300 220-2 V3.2.1 annex B, ERC REC 70-03 annex 1.
BANDS = (
    (863000, 865000, 1, 14),
    (865000, 868000, 10, 14),
    (868000, 868600, 10, 14),
    (868700, 869200, 1, 14),
    (869400, 869650, 100, 27),
    (869700, 870000, 10, 14),
)

# Slots of a superframe and bytes of the longest frame, from spreading factor 7 on.
_SIZES = ((34, 120), (25, 90), (17, 70), (10, 60))


def airtime(sf: int, size: int) -> int:
    """Microseconds on air of `size` bytes (0-255) at spreading factor 7-12.

    125 kHz, coding rate 4/5, preamble of 8, explicit header, CRC, low data rate optimisation from SF11 on: Semtech
    SX1276/77/78/79 data sheet, section 4.1.1.7, and AN1200.13.
    """
    step = 4 * (sf - 2) if sf > 10 else 4 * sf
    blocks = (8 * size - 4 * sf + 44 + step - 1) // step
    if blocks < 0:
        blocks = 0
    # Quarters of a symbol: preamble and its 4.25, then 8 and 5 for each block; a symbol lasts 2**sf * 8 us.
    return (49 + 4 * (8 + 5 * blocks) << sf) * 2


def air_ms(sf: int, size: int) -> int:
    """`airtime` in whole ms, rounded up."""
    return (airtime(sf, size) + 999) // 1000


def band(khz: int) -> int:
    """The place in BANDS of a channel's middle, which lies 63 kHz or more from its edges; ValueError outside of all."""
    for i in range(len(BANDS)):
        if BANDS[i][0] + 63 <= khz <= BANDS[i][1] - 63:
            return i
    raise ValueError("frequency")


class Superframe:
    """The times of a bridge's superframe, in ms from the beginning of the interval; it may reach into the next one.

    beacon | contention | beacon once more (up to SF9) | slots | contention, until the next superframe's beacon
    """

    def __init__(self, sf: int, bridge: int) -> None:
        """`sf` is 7 to 10: beacons of more would take more than the downlink's tenth. `bridge` is 0 to 11."""
        if not (7 <= sf <= 10 and 0 <= bridge < BRIDGES):
            raise ValueError("sf")
        self.sf = sf
        self.bridge = bridge
        self.uplink = _UPLINKS[bridge % 3]  # kHz
        self.slots, self.limit = _SIZES[sf - 7]
        self.slot_ms = air_ms(sf, self.limit) + GUARD
        self.beacon_ms = air_ms(sf, 34 + (((ACKED + 1) * self.slots + 7) >> 3))
        self.phase = bridge % PHASES * STAGGER
        self.first = self.phase + LEAD
        self.second = self.first + PHASES * STAGGER
        self.begin = self.second + TURN  # of slot 0
        if sf < 10:
            self.begin += self.beacon_ms
        else:
            self.second = 0
        self.end = self.begin + self.slots * self.slot_ms

    def start(self, position: int) -> int:
        """When the slot in that position begins."""
        return self.begin + position * self.slot_ms

    def windows(self, free: int) -> "list[tuple[int, int]]":
        """(begin, end) of the times of contention; `free` has a bit for each slot that is nobody's, position 0 lowest."""
        out = [
            (self.first + self.beacon_ms + TURN, self.second or self.begin - TURN),
            (self.end, self.first + INTERVAL - 2),
        ]
        begin = -1
        for i in range(self.slots + 1):
            if free >> i & 1:
                if begin < 0:
                    begin = self.start(i)
            elif begin >= 0:
                out.append((begin, self.start(i)))
                begin = -1
        return out


class Ledger:
    """Airtime of one sender in one sub-band over any sliding hour, in pieces of a minute; it errs to the safe side."""

    def __init__(self, share: int) -> None:
        """`share` of an hour in 1/1000, as in BANDS."""
        self.limit = share * 3600  # ms in an hour
        self.used = 0  # ms in the last 61 pieces
        self._pieces = array("H", bytes(122))
        self._last = 0

    def room(self, now: int) -> int:
        """How many ms may be sent at `now`, any ms count that does not step back."""
        piece = now // 60000
        steps = piece - self._last
        if steps > 0:
            for i in range(1, min(steps, 61) + 1):
                place = (self._last + i) % 61
                self.used -= self._pieces[place]
                self._pieces[place] = 0
            self._last = piece
        return self.limit - self.used

    def take(self, now: int, ms: int) -> bool:
        """Enter a frame of `ms` that begins at `now`; False, and not entered, when the duty cycle forbids it."""
        if self.room(now) < ms:
            return False
        self._pieces[self._last % 61] += ms
        self.used += ms
        return True
