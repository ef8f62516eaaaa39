"""ICS-43434 microphone. TDK InvenSense DS-000069: -26 dBFS +-1 dB at 94 dB SPL, SNR 65 dBA, overload at 120 dB."""

from drivers.microphone import Microphone


def open(b, entry):
    return Microphone(b, entry, "ics43434", -26)
