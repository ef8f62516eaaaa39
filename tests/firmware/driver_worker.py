"""Runs one driver under MicroPython, for `driver_bench`: its board services ask the test for every transfer."""

# ruff: noqa: B905 (MicroPython, speaking over standard output)

import asyncio
import binascii
import io
import json
import sys

from drivers import DriverError

now_ms = 0
latest = {}


def tell(message):
    """Send one line to the test and return its answer; the answer brings the time."""
    global now_ms
    print(json.dumps(message))
    answer = json.loads(sys.stdin.readline())
    now_ms = answer["ms"]
    return answer


def unhex(text):
    return binascii.unhexlify(text)


def tohex(data):
    return binascii.hexlify(data).decode()


class I2C:
    def __init__(self, name):
        self._name = name

    def _transfer(self, message):
        answer = tell(message)
        if "errno" in answer:
            raise OSError(answer["errno"])
        return answer

    def writeto(self, address, data, stop=True):
        self._transfer({"bus": "i2c_write", "name": self._name, "address": address, "data": tohex(bytes(data))})

    def readfrom_into(self, address, buffer, stop=True):
        answer = self._transfer({"bus": "i2c_read", "name": self._name, "address": address, "n": len(buffer)})
        buffer[:] = unhex(answer["data"])

    def readfrom_mem_into(self, address, register, buffer):
        self.writeto(address, bytes((register,)), False)
        self.readfrom_into(address, buffer)


class Pin:
    def __init__(self, name, value):
        self._name = name
        self.value(value)

    def value(self, value):
        tell({"bus": "pin", "name": self._name, "value": int(value)})


class Pwm:
    def __init__(self, name, hz):
        self._name = name
        self._hz = hz

    def duty_u16(self, duty):
        tell({"bus": "pwm", "name": self._name, "duty": duty, "hz": self._hz})


class Counter:
    def __init__(self, name):
        self._name = name

    def value(self):
        return tell({"bus": "counter", "name": self._name})["value"]


class I2s(io.IOBase):
    """Reads what the test's ring buffer holds, never waiting."""

    def __init__(self, name, rate, bits, size):
        tell({"bus": "i2s_open", "name": name, "rate": rate, "bits": bits, "size": size})

    def ioctl(self, request, argument):
        if request != 3:
            return -22  # EINVAL: it has no file number to be polled by
        return argument & 1 if tell({"bus": "i2s_any"})["n"] else 0

    def readinto(self, buffer):
        # Through a file: reading a long line takes MicroPython long.
        with open(tell({"bus": "i2s_read", "n": len(buffer) * 4})["file"], "rb") as file:
            return file.readinto(buffer)

    def deinit(self):
        tell({"bus": "i2s_close"})


class Uart:
    def __init__(self, name, baud):
        self._name = name
        tell({"bus": "uart_open", "name": name, "baud": baud})

    def read(self, n=-1):
        data = unhex(tell({"bus": "uart_read", "name": self._name, "n": n})["data"])
        return data or None

    def any(self):
        return tell({"bus": "uart_any", "name": self._name})["n"]

    def readinto(self, buffer, n=-1):
        data = unhex(tell({"bus": "uart_read", "name": self._name, "n": len(buffer) if n < 0 else n})["data"])
        buffer[: len(data)] = data
        return len(data) or None

    def write(self, data):
        tell({"bus": "uart_write", "name": self._name, "data": tohex(bytes(data))})
        return len(data)


class Services:
    """The board services that docs/architecture.md describes."""

    def has(self, name):
        return False

    def i2c(self, name):
        return I2C(name)

    def pin(self, name, mode, value=None):
        return Pin(name, value)

    def pwm(self, name, hz):
        return Pwm(name, hz)

    def counter(self, index, name):
        return Counter(name)

    def i2s(self, name, rate, bits, size):
        return I2s(name, rate, bits, size)

    def uart(self, name, baud):
        return Uart(name, baud)

    def meter(self):
        from node.sound import Meter

        return Meter()

    def latest(self, field):
        return latest.get(field)

    async def sleep_ms(self, ms):
        tell({"sleep": ms})

    def ticks_ms(self):
        tell({"sleep": 0})
        return now_ms & 0x3FFFFFFF


def perform(driver, request):
    do = request["do"]
    try:
        if do == "start":
            asyncio.run(driver.start())
            return {"result": None}
        if do == "read":
            out = [None] * len(driver.FIELDS)
            asyncio.run(driver.read(out))
            return {"result": dict(zip(driver.FIELDS, out))}
        if do == "levels":
            levels = asyncio.run(driver.levels())
            return {"result": {"squares": list(levels), "fast": list(driver.fast), "missed": driver.missed}}
        if do == "latest":
            latest.update(request["values"])
            return {"result": None}
        if do == "get":
            return {"result": getattr(driver, request["name"])}
        if do == "call":
            return {"result": getattr(driver, request["name"])(*request["arguments"])}
    except DriverError as error:
        return {"error": error.reason}
    raise ValueError(do)


def main():
    driver = None
    answer = None
    while True:
        if answer is not None:
            print(json.dumps(answer))
        line = sys.stdin.readline()
        if not line:
            return
        request = json.loads(line)
        if "open" in request:
            module = __import__("drivers." + request["open"], None, None, ("open",))
            driver = module.open(Services(), request["entry"])
            says = {"NAME": driver.NAME, "FIELDS": driver.FIELDS, "PERIOD_MS": getattr(driver, "PERIOD_MS", None)}
            answer = {"result": says}
        elif "make" in request:
            # The outputs, which are not sensors: a class of a driver module with its arguments.
            module = __import__("drivers." + request["make"].lower(), None, None, (request["make"],))
            driver = getattr(module, request["make"])(Services(), **request["arguments"])
            answer = {"result": None}
        else:
            answer = perform(driver, request)


main()
