"""HLW8012 power meter: a BL0937 with other constants. Hiliwi data sheet HLW8012 V1.5, clock f of 3.579 MHz.

F_CF = 48 V I / Vref^2 * f / 128, F_CFU = 2 V / Vref * f / 512, F_CFI = 24 I / Vref * f / 512.
"""

from drivers.bl0937 import Bl0937


class Hlw8012(Bl0937):
    NAME = "hlw8012"
    VREF = 2.43
    CF = 1342125
    CFU = 13980
    CFI = 167766


def open(b, entry):
    return Hlw8012(b, entry)
