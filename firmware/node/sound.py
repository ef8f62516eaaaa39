"""Samples to A-weighted sound: integers in viper, 22 bits of signal, nothing allocated while samples flow.

IEC 61672-1 places the poles of the A-weighting at 20.6 Hz (twice), 107.7 Hz, 737.9 Hz and 12194 Hz (twice). Here the
lower four are leaky integrators taken away from the signal, the upper two one-pole low-passes whose coefficients are
fitted, together with the others', to the A-curve at 48 kHz: within 0.13 dB from 31.5 Hz to 10 kHz, +0.4 dB at 12.5
kHz, +1.2 dB at 16 kHz.

The words are 32 bits on the chip and 64 on the desktop; both compute the same because nothing can pass 2^31. With
samples of 22 bits the sum of the magnitudes of each stage's impulse response bounds it: 2^29.8 for the integrators (8
fractional bits), 2^22.3 * 113 and 2^23.1 * 100 for the products. Squares are split at 11 bits and summed in two limbs
of 22 bits.

Fast time weighting (125 ms) runs every millisecond: F += (E - F) / 128, a time constant of 127.5 ms.
"""

from array import array

import micropython
from micropython import const

RATE = 48000
BLOCK = 6000  # samples in 125 ms

_STEP = const(48)  # samples in 1 ms, the step of the Fast weighting
_STEPS = const(125)  # steps in a block
_HP1 = const(89)  # / 2^15: 20.6 Hz
_HP3 = const(113)  # / 2^13: 107.7 Hz
_HP4 = const(96)  # / 2^10: 737.9 Hz
_LP1 = const(91)  # / 2^7
_LP2 = const(100)  # / 2^7
_GAIN = 1.43218462  # the weighting is 1.55999 dB low at 1 kHz, where the A-curve is 0 dB

_STATE = const(18)


@micropython.viper
def _run(s: ptr32, samples: ptr32, at: int, end: int) -> int:
    """Weight and sum samples[at:end], but stop at the end of a block; returns where it stopped."""
    # ptr32 reads unsigned on 64 bits: what can be negative is extended from 31 bits.
    sign = 1
    sign <<= 30
    mask = sign + (sign - 1)
    s1 = ((int(s[0]) & mask) ^ sign) - sign
    s2 = ((int(s[1]) & mask) ^ sign) - sign
    s3 = ((int(s[2]) & mask) ^ sign) - sign
    s4 = ((int(s[3]) & mask) ^ sign) - sign
    p1 = ((int(s[4]) & mask) ^ sign) - sign
    p2 = ((int(s[5]) & mask) ^ sign) - sign
    high = int(s[6])
    cross = ((int(s[7]) & mask) ^ sign) - sign
    low = int(s[8])
    n = int(s[9])
    step = int(s[10])
    while at < end:
        y = (((int(samples[at]) >> 10) & 0x3FFFFF) ^ 0x200000) - 0x200000
        at += 1
        y -= s1 >> 8
        s1 += (y * _HP1) >> 7
        y -= s2 >> 8
        s2 += (y * _HP1) >> 7
        y -= s3 >> 8
        s3 += (y * _HP3) >> 5
        y -= s4 >> 8
        s4 += (y * _HP4) >> 2
        p1 += ((y - p1) * _LP1) >> 7
        p2 += ((p1 - p2) * _LP2) >> 7
        zh = p2 >> 11
        zl = p2 & 0x7FF
        high += zh * zh
        cross += zh * zl
        low += zl * zl
        n += 1
        if n == _STEP:
            # E = high * 2^22 + 2 * cross * 2^11 + low, as eh * 2^22 + el
            el = low + ((cross & 0x3FF) << 12)
            eh = high + (cross >> 10) + (el >> 22)
            el &= 0x3FFFFF
            high = cross = low = n = 0
            s[11] = int(s[11]) + el
            s[12] = int(s[12]) + (eh & 0x3FFFFF)
            s[13] = int(s[13]) + (eh >> 22)
            fh = int(s[14])
            fl = int(s[15]) - (((fh & 127) << 15) | (int(s[15]) >> 7)) + (((eh & 127) << 15) | (el >> 7))
            fh += (eh >> 7) - (fh >> 7) + (fl >> 22)
            fl &= 0x3FFFFF
            s[14] = fh
            s[15] = fl
            if fh > int(s[16]) or (fh == int(s[16]) and fl > int(s[17])):
                s[16] = fh
                s[17] = fl
            step += 1
            if step == _STEPS:
                break
    s[0] = s1
    s[1] = s2
    s[2] = s3
    s[3] = s4
    s[4] = p1
    s[5] = p2
    s[6] = high
    s[7] = cross
    s[8] = low
    s[9] = n
    s[10] = step
    return at


class Meter:
    """A sound level meter without a calibration: mean squares relative to a full-scale RMS of 1.0.

    A sine of full scale (0 dBFS) has a mean square of 0.5.
    """

    RATE = RATE

    def __init__(self):
        self._state = array("i", bytes(4 * _STATE))

    def feed(self, samples, at: int, end: int) -> int:
        """Take samples[at:end] (int32, 24 bits left-justified), stopping where a block of 125 ms ends.

        Returns where it stopped; `ready` says whether a block is complete and must be taken first.
        """
        return _run(self._state, samples, at, end)  # type: ignore

    @property
    def ready(self) -> bool:
        return self._state[10] == _STEPS

    def take(self, out, at: int = 0) -> None:
        """Give the finished block: its mean square, the Fast-weighted one at its end, and the largest of those."""
        s = self._state
        out[at] = (s[13] * 4.0 + s[12] / 1048576 + s[11] / 4398046511104.0) * (_GAIN / BLOCK)
        out[at + 1] = (s[14] / 1048576 + s[15] / 4398046511104.0) * (_GAIN / _STEP)
        out[at + 2] = (s[16] / 1048576 + s[17] / 4398046511104.0) * (_GAIN / _STEP)
        for i in range(10, 14):
            s[i] = 0
        s[16] = s[14]
        s[17] = s[15]
