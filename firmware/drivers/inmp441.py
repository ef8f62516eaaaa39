"""INMP441 microphone. InvenSense DS-INMP441-00: -26 dBFS +-3 dB at 94 dB SPL, SNR 61 dBA, overload at 120 dB.

With +-3 dB between units, each wants its own `dbfs` in the board file.
"""

from drivers.microphone import Microphone


def open(b, entry):
    return Microphone(b, entry, "inmp441", -26)
