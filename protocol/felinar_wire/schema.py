"""The message table: every field, its unit, resolution, range and prediction. The only definition there is."""

from binascii import crc32

VERSION = 1
EPOCH_UNIX = 1704067200  # 2024-01-01T00:00:00Z: seconds since then stay a 31-bit small integer until 2058

# A value beyond its field's range. Strings, so that arithmetic with one fails loudly; None is a missing value.
UNDER = "under"
OVER = "over"

# A kind is the low six bits of a frame's first byte: class (2 bits), number in the class (4 bits).
REPORT = 0x00
BATCH = 0x01
EVENT = 0x02
HEALTH = 0x03
LAMP_SET = 0x10
SCHEDULE = 0x11
CONFIG = 0x12
TIME = 0x14
ACK = 0x15
TIME_REQ = 0x16
RESULT = 0x17
QUERY = 0x18
HELLO = 0x34
# Of a frozen layout in whole bytes, which stands in `core` with those of classes 2 and 3; their CRC is 1.
CONFIG_PART = 0x13
REKEY = 0x19
BEACON = 0x20
GROUP_LAMP = 0x21
KEY_DISCLOSE = 0x22
JOIN_REQ = 0x30
JOIN_ACC = 0x31

# The vocabulary: MODE_AUTO is 0, MODE_ON 1 and so on. A "-" is a number that has no name.
for _prefix, _names in (
    ("MODE_", "AUTO ON OFF DIM"),  # LAMP_SET mode
    ("REASON_", "OPERATOR SCHEDULE MAINTENANCE EMERGENCY"),  # LAMP_SET reason
    ("RESULT_", "APPLIED REFUSED EXPIRED UNKNOWN_KEY OUT_OF_RANGE INVALID MISSING"),  # RESULT code; MISSING: parts
    ("QUERY_", "HELLO HEALTH WHOLE"),  # QUERY what; WHOLE: the next reports are to be whole until acknowledged anew
    ("CONFIG_", "- REPORT_S SAFE"),  # CONFIG key
    ("RESET_", "UNKNOWN POWER BROWNOUT WATCHDOG PANIC UPDATE SOFT DEEPSLEEP"),  # HELLO reset cause
    # EVENT code. Their arguments: BOOT reset cause; CLOCK_SET step in s; LAMP level in %; OVERRIDE its mode, -1 when it
    # ended; SENSOR_* place in the board file; DROPPED how many; *_FAILURE and *_ON power in 0.1 W, CYCLING_FAILURE
    # cycles; CLEARED the code that is over; CRASH how many in a row, or below zero a hash of where; SAFE_MODE 1 entered, 0 left;
    # CONFIG_* the low 16 bits of its CRC-32;
    # BAD_CONFIG how many values of the configuration could not be used; SENSOR_DOUBT place, over with SENSOR_BACK.
    (
        "EVENT_",
        "- BOOT CLOCK_SET LAMP OVERRIDE SENSOR_LOST SENSOR_BACK DROPPED RELAY_FAILURE LAMP_UNEXPECTED_ON "
        "CYCLING_FAILURE LAMP_FAILURE DIMMING_FAILURE CLEARED CRASH SAFE_MODE CONFIG_ROLLED_BACK BAD_CONFIG "
        "CONFIG_TRIED CONFIG_KEPT SENSOR_DOUBT",
    ),
    (
        "DOUBT_",
        "LIGHT PARTICLES CO2 GAS CLIMATE PRESSURE SOUND POWER",
    ),  # bits of REPORT doubt: values there, not to be trusted
):
    for _number, _name in enumerate(_names.split()):
        globals()[_prefix + _name] = _number

# A field: (name, unit, numerator, denominator, minimum, maximum, rule), and one that was appended to a message later also
# has the schema version that it came with. The physical value is step * numerator / denominator in the unit; numerator 0
# marks the logarithmic scale of `scale`. Minimum and maximum are in steps. A rule of None is a plain binary number; else
# it is
#
#   (k, constant, source, slope, history k, history source, history slope)
#
# and what goes out counts away from an expected value, as a Rice code of parameter k (31: as a plain number).
# Without history: expected = constant + (value of field number `source` * slope >> 6), source -1 for none.
# Against a report that both sides hold: history k -1 says as without it; else, with its parameter history k
#   history source -1: expected = old value + slope for each seq between the two reports
#   history source >= 0: expected = old value + (growth of that field * slope >> 6)
#   history source < -1: expected = old value + value of field -2 - source * seconds between (field 0) // slope
# History k below -1 marks a steady field: one bit tells that all of them are as expected; else their k is -2 - history k.
FAR = 3  # from this many seq on a history k that is not negative counts one more


def _n(name: str, bits: int = 16, unit: str = ""):  # type: ignore[no-untyped-def]
    return _f(name, unit, 1, 0, (1 << bits) - 1)


def _f(name: str, unit: str, denominator: int, low: int, high: int, *rule: int):  # type: ignore[no-untyped-def]
    return (name, unit, 1 if denominator else 0, denominator or 1, low, high, rule or None)


_TIME = _n("time", 30, "s")
_BOOT = _n("boot")
_ID = _n("id")
_NONCE = _n("nonce", 24)
_LEVEL = _f("level", "%", 1, 0, 100)
_MG = "ug/m3"
_DB = "dB(A)"

TABLE = {
    REPORT: (
        _f("time", "s", 1, 0, 0x3FFFFFFF, 27, 0, -1, 0, -10, -1, 300),
        _f("up", "s", 1, 0, 0x3FFFFFFF, 22, 0, -1, 0, -2, 0, 64),
        _f("lux", "lx", 0, 0, 1300, 31, 0, -1, 0, 4, -1, 0),
        _f("pm1", _MG, 10, 0, 10000, 5, 48, -1, 0, 3, -1, 0),
        _f("pm25", _MG, 10, 0, 10000, 1, 1, 3, 78, -1, 0, 0),
        _f("pm10", _MG, 10, 0, 20000, 5, 56, 4, 64, 3, 4, 64),
        _f("co2", "ppm", 1, 0, 10000, 4, 432, -1, 0, 2, -1, 0),
        _f("voc", "", 1, 0, 511, 5, 103, -1, 0, 4, -1, 0),
        _f("nox", "", 1, 0, 511, 1, 1, -1, 0, 0, -1, 0),
        _f("temp", "Cel", 10, -500, 850, 6, 140, -1, 0, 2, -1, 0),
        _f("rh", "%", 10, 0, 1000, 5, 1067, 9, -190, 3, 9, -131),
        _f("p", "hPa", 10, 8000, 11000, 6, 10107, -1, 0, 2, -1, 0),
        _f("leq", _DB, 10, 200, 1300, 6, 565, -1, 0, 4, -1, 0),
        _f("lmax", _DB, 10, 200, 1300, 5, 158, 12, 64, -1, 0, 0),
        _f("l10", _DB, 10, 200, 1300, 2, 24, 12, 64, -1, 0, 0),
        _f("l50", _DB, 10, 200, 1300, 2, -26, 12, 64, -1, 0, 0),
        _f("l90", _DB, 10, 200, 1300, 2, -42, 15, 64, -1, 0, 0),
        _f("relay", "", 1, 0, 1, 31, 0, -1, 0, -2, -1, 0),
        _f("dim", "%", 1, 0, 100, 3, 0, 17, 6400, -5, -1, 0),
        _f("power", "W", 10, 0, 10000, 2, 4, 18, 265, 1, 18, 265),
        _f("energy", "Wh", 1, 0, 0x3FFFFFFF, 19, 0, -1, 0, 0, -21, 36000),
        _f("mv", "mV", 1, 0, 30000, 5, 12000, -1, 0, 3, -1, 0),
        _f("rssi", "dBm", 1, -150, 0, 4, -93, -1, 0, 1, -1, 0),
        _f("doubt", "", 1, 0, 255, 0, 0, -1, 0, -3, -1, 0),
    ),
    EVENT: (_TIME, _n("up", 30, "s"), _n("code", 8), _f("arg", "", 1, -32768, 32767)),
    HEALTH: (
        _n("up", 30, "s"),
        _BOOT,
        _n("made", 30),
        _n("dropped", 30),
        _n("pending"),
        _n("bad_frames"),
        _n("sensor_errors"),
        _n("heap_free", 30, "B"),
        _n("blocks_free"),
        _n("heap_low", 30, "B"),
        _f("drift", "ppm", 10, -10000, 10000),
        _n("erases", 30),
        _n("switches", 30),
        _n("lamp_h", 20, "h"),
        _n("crashes", 8),
        _n("safe", 1),
        _n("config"),
        _n("trial", 1),
    ),
    HELLO: (
        _n("schema", 8),
        _n("uid0"),
        _n("uid1"),
        _n("uid2"),
        _BOOT,
        _n("major", 8),
        _n("minor", 8),
        _n("patch", 8),
        _n("reset", 4),
        _n("clock", 1),
        _NONCE,
        _n("first", 30),
        _n("last", 30),
    ),
    TIME: (_NONCE, _TIME, _f("ms", "ms", 1, 0, 999)),
    TIME_REQ: (_NONCE,),
    QUERY: (_n("what", 4),),
    ACK: (_BOOT, _n("base", 30), _n("bitmap", 32)),
    LAMP_SET: (
        _ID,
        _n("mode", 2),
        _LEVEL,
        _f("fade", "s", 1, 0, 3600),
        _n("ttl", 20, "s"),
        _n("reason", 4),
    ),
    # Program `number` of the lamp: from these minutes of the day on these levels, on nights that begin on one of `days` (a
    # bit each, Monday the lowest) from one date to another, 100 * month + day. No minutes: there is no such program.
    SCHEDULE: tuple(
        [_ID, _n("number", 4), _n("days", 7), _f("from", "", 1, 101, 1231), _f("to", "", 1, 101, 1231)]
        + [
            _f(n + str(i), u, 1, 0, m)
            for i in range(1, 7)
            for n, u, m in (("minute", "min", 1439), ("level", "%", 100))
        ]
    ),
    CONFIG: (_ID, _n("key", 8), _f("value", "", 1, -0x20000000, 0x1FFFFFFF)),
    RESULT: (_ID, _n("code", 4), _LEVEL, _n("relay", 1)),
}


def fields(kind: int):
    """The fields of a kind, in the order of a values list; KeyError for a kind that the table lacks."""
    return TABLE[kind]


def index(kind: int, name: str) -> int:
    """Position of a field in a values list; ValueError when there is none of that name."""
    return [field[0] for field in TABLE[kind]].index(name)


def base(table) -> int:  # type: ignore[no-untyped-def]
    """How many fields a message had at first; each appended one has a section of its own behind them."""
    n = len(table)
    while len(table[n - 1]) > 7:
        n -= 1
    return n


def checksum(kind: int, tables) -> int:
    """16 bits that stand for what both ends must agree on: the base fields of a kind, of BATCH all fields of REPORT."""
    table = tables[REPORT] if kind == BATCH else tables[kind]
    return crc32(repr((kind, table if kind == BATCH else table[: base(table)])).encode()) & 0xFFFF


_crcs: "dict[int, int]" = {}


def crc(kind: int) -> int:
    """`checksum` of a kind in this table, kept once made, 1 of a frozen one; KeyError for a kind that it lacks."""
    if kind in (CONFIG_PART, REKEY):
        return 1
    if kind not in _crcs:
        _crcs[kind] = checksum(kind, TABLE)
    return _crcs[kind]
