"""PMS7003 particulate matter: a PMS5003 in another case."""

from drivers.pms5003 import Pms5003


def open(b, entry):
    return Pms5003(b, entry, "pms7003")
