"""The message table: every field, its unit, resolution, range and prediction. The only definition there is."""

VERSION = 1
EPOCH_UNIX = 1704067200  # 2024-01-01T00:00:00Z: seconds since then stay a 31-bit small integer until 2058

# A value beyond its field's range. Strings, so that arithmetic with one fails loudly; None is a missing value.
UNDER = "under"
OVER = "over"

# A kind is the low six bits of a frame's first byte: class (2 bits), number in the class (4 bits).
REPORT = 0x00
EVENT = 0x02
HEALTH = 0x03
LAMP_SET = 0x10
CONFIG = 0x12
TIME = 0x14
ACK = 0x15
RESULT = 0x17
QUERY = 0x18
HELLO = 0x34

# LAMP_SET mode
MODE_AUTO = 0
MODE_ON = 1
MODE_OFF = 2
MODE_DIM = 3

# LAMP_SET reason
REASON_OPERATOR = 0
REASON_SCHEDULE = 1
REASON_MAINTENANCE = 2
REASON_EMERGENCY = 3

# RESULT code
RESULT_APPLIED = 0
RESULT_REFUSED = 1
RESULT_EXPIRED = 2
RESULT_UNKNOWN_KEY = 3
RESULT_OUT_OF_RANGE = 4

# QUERY what
QUERY_HELLO = 0
QUERY_HEALTH = 1

# CONFIG key
CONFIG_REPORT_S = 1

# HELLO reset cause
RESET_UNKNOWN = 0
RESET_POWER = 1
RESET_BROWNOUT = 2
RESET_WATCHDOG = 3
RESET_PANIC = 4
RESET_UPDATE = 5
RESET_SOFT = 6
RESET_DEEPSLEEP = 7

# EVENT code; the argument's meaning stands beside it
EVENT_BOOT = 1  # reset cause
EVENT_CLOCK_SET = 2  # step in seconds, clamped
EVENT_LAMP = 3  # level in % that the lamp was switched to
EVENT_OVERRIDE = 4  # mode of the override that began, or -1 when it ended
EVENT_SENSOR_LOST = 5  # position of the sensor in the board file
EVENT_SENSOR_BACK = 6  # position of the sensor in the board file
EVENT_DROPPED = 7  # kept messages that the outbox had to drop since the last such event
EVENT_RELAY_FAILURE = 8  # power in 0.1 W
EVENT_LAMP_UNEXPECTED_ON = 9  # power in 0.1 W
EVENT_CYCLING_FAILURE = 10  # cycles counted
EVENT_LAMP_FAILURE = 11  # power in 0.1 W
EVENT_DIMMING_FAILURE = 12  # power in 0.1 W
EVENT_CLEARED = 13  # code of the verdict that was cleared
EVENT_CRASH = 14  # consecutive crashes
EVENT_SAFE_MODE = 15  # 1 entered, 0 left
EVENT_CONFIG_ROLLED_BACK = 16  # key

_U8 = 0xFF
_U16 = 0xFFFF
_U30 = 0x3FFFFFFF

# A field: (name, unit, numerator, denominator, minimum, maximum, rule).
# The physical value is step * numerator / denominator in the unit; numerator 0 marks the logarithmic scale of `scale`.
# Minimum and maximum are in steps. A rule of None is a plain binary number of just enough bits; else it is
#
#   (k, constant, source, slope, history k, history source, history slope)
#
# and what goes out is the difference from an expected value as a Rice code of parameter k.
# Without history: expected = constant + (value of field number `source` * slope >> 6), source -1 for none; k PLAIN is a plain number.
# With a report that both sides hold: history k NONE says as without it; else
#   history source -1: expected = old value + slope for each seq between the two reports
#   history source >= 0: expected = old value + (growth of that field * slope >> 6)
#   history source < -1: expected = old value + value of field -2 - source * seconds between (field 0) // slope
# History k below -1 marks a steady field: one bit tells that all of them are as expected; else their k is -2 - history k.
NONE = -1
PLAIN = 31
FAR = 3
_TIME = ("time", "s", 1, 1, 0, _U30, None)
_UP = ("up", "s", 1, 1, 0, _U30, None)
_BOOT = ("boot", "", 1, 1, 0, _U16, None)
_ID = ("id", "", 1, 1, 0, _U16, None)
_LEVEL = ("level", "%", 1, 1, 0, 100, None)
_NONCE = ("nonce", "", 1, 1, 0, 0xFFFFFF, None)

TABLE = {
    REPORT: (
        ("time", "s", 1, 1, 0, _U30, (27, 0, -1, 0, -10, -1, 300)),
        ("up", "s", 1, 1, 0, _U30, (22, 0, -1, 0, -2, 0, 64)),
        ("lux", "lx", 0, 1, 0, 1300, (PLAIN, 0, -1, 0, 4, -1, 0)),
        ("pm1", "ug/m3", 1, 10, 0, 10000, (5, 48, -1, 0, 3, -1, 0)),
        ("pm25", "ug/m3", 1, 10, 0, 10000, (1, 1, 3, 78, NONE, 0, 0)),
        ("pm10", "ug/m3", 1, 10, 0, 20000, (5, 56, 4, 64, 3, 4, 64)),
        ("co2", "ppm", 1, 1, 0, 10000, (4, 432, -1, 0, 2, -1, 0)),
        ("voc", "", 1, 1, 0, 511, (5, 103, -1, 0, 4, -1, 0)),
        ("nox", "", 1, 1, 0, 511, (1, 1, -1, 0, 0, -1, 0)),
        ("temp", "Cel", 1, 10, -500, 850, (6, 140, -1, 0, 2, -1, 0)),
        ("rh", "%", 1, 10, 0, 1000, (5, 1067, 9, -190, 3, 9, -131)),
        ("p", "hPa", 1, 10, 8000, 11000, (6, 10107, -1, 0, 2, -1, 0)),
        ("leq", "dB(A)", 1, 10, 200, 1300, (6, 565, -1, 0, 4, -1, 0)),
        ("lmax", "dB(A)", 1, 10, 200, 1300, (5, 158, 12, 64, NONE, 0, 0)),
        ("l10", "dB(A)", 1, 10, 200, 1300, (2, 24, 12, 64, NONE, 0, 0)),
        ("l50", "dB(A)", 1, 10, 200, 1300, (2, -26, 12, 64, NONE, 0, 0)),
        ("l90", "dB(A)", 1, 10, 200, 1300, (2, -42, 15, 64, NONE, 0, 0)),
        ("relay", "", 1, 1, 0, 1, (PLAIN, 0, -1, 0, -2, -1, 0)),
        ("dim", "%", 1, 1, 0, 100, (3, 0, 17, 6400, -5, -1, 0)),
        ("power", "W", 1, 10, 0, 10000, (2, 4, 18, 265, 1, 18, 265)),
        ("energy", "Wh", 1, 1, 0, _U30, (19, 0, -1, 0, 0, -21, 36000)),
        ("mv", "mV", 1, 1, 0, 30000, (5, 12000, -1, 0, 3, -1, 0)),
        ("rssi", "dBm", 1, 1, -150, 0, (4, -93, -1, 0, 1, -1, 0)),
    ),
    EVENT: (_TIME, _UP, ("code", "", 1, 1, 0, _U8, None), ("arg", "", 1, 1, -32768, 32767, None)),
    HEALTH: (
        _UP,
        _BOOT,
        ("made", "", 1, 1, 0, _U30, None),
        ("dropped", "", 1, 1, 0, _U30, None),
        ("pending", "", 1, 1, 0, _U16, None),
        ("bad_frames", "", 1, 1, 0, _U16, None),
        ("sensor_errors", "", 1, 1, 0, _U16, None),
        ("heap_free", "B", 1, 1, 0, _U30, None),
        ("blocks_free", "", 1, 1, 0, _U16, None),
    ),
    HELLO: (
        ("schema", "", 1, 1, 0, _U8, None),
        ("uid0", "", 1, 1, 0, _U16, None),
        ("uid1", "", 1, 1, 0, _U16, None),
        ("uid2", "", 1, 1, 0, _U16, None),
        _BOOT,
        ("major", "", 1, 1, 0, _U8, None),
        ("minor", "", 1, 1, 0, _U8, None),
        ("patch", "", 1, 1, 0, _U8, None),
        ("reset", "", 1, 1, 0, 15, None),
        ("clock", "", 1, 1, 0, 1, None),
        _NONCE,
        ("first", "", 1, 1, 0, _U30, None),
        ("last", "", 1, 1, 0, _U30, None),
    ),
    TIME: (_NONCE, ("time", "s", 1, 1, 0, _U30, None), ("ms", "ms", 1, 1, 0, 999, None)),
    QUERY: (("what", "", 1, 1, 0, 15, None),),
    ACK: (_BOOT, ("base", "", 1, 1, 0, _U30, None), ("bitmap", "", 1, 1, 0, 0xFFFFFFFF, None)),
    LAMP_SET: (
        _ID,
        ("mode", "", 1, 1, 0, 3, None),
        _LEVEL,
        ("fade", "s", 1, 1, 0, 3600, None),
        ("ttl", "s", 1, 1, 0, 0xFFFFF, None),
        ("reason", "", 1, 1, 0, 15, None),
    ),
    CONFIG: (_ID, ("key", "", 1, 1, 0, _U8, None), ("value", "", 1, 1, -0x20000000, 0x1FFFFFFF, None)),
    RESULT: (_ID, ("code", "", 1, 1, 0, 15, None), _LEVEL, ("relay", "", 1, 1, 0, 1, None)),
}


def fields(kind: int) -> tuple[tuple[str, str, int, int, int, int, tuple[int, int, int, int] | None], ...]:
    """The fields of a kind, in the order of a values list; KeyError for a kind that the table lacks."""
    return TABLE[kind]


def index(kind: int, name: str) -> int:
    """Position of a field in a values list; ValueError when there is none of that name."""
    return [field[0] for field in TABLE[kind]].index(name)
