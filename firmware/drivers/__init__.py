"""What the drivers share: their one exception with its reasons, and a chip on I2C."""

# Reasons of a DriverError. Small integers, so that they can be counted and sent.
NACK = 1  # the chip does not answer
CRC = 2  # what came has a wrong checksum
TIMEOUT = 3  # the chip answers, but the measurement did not end in time
IDENTITY = 4  # another chip answers at this place
RANGE = 5  # beyond what the chip can measure
FAULT = 6  # the chip says itself that it is broken


class DriverError(Exception):
    """The one exception of the drivers; `reason` is one of the constants above."""

    def __init__(self, reason: int):
        super().__init__(reason)
        self.reason = reason


class Chip:
    """A chip at `address` of an I2C bus. Transfers raise DriverError: TIMEOUT when the bus is held low, else NACK."""

    def __init__(self, b, entry, address: int = 0):
        self.i2c = b.i2c(entry["bus"])
        self.address = entry.get("address", address)
        self.sleep_ms = b.sleep_ms

    def write(self, data) -> None:
        try:
            self.i2c.writeto(self.address, data)
        except OSError as error:
            _raise(error)

    def read(self, buffer) -> None:
        try:
            self.i2c.readfrom_into(self.address, buffer)
        except OSError as error:
            _raise(error)

    def read_register(self, register: int, buffer) -> None:
        """Write the register's number, then read with a repeated start."""
        try:
            self.i2c.readfrom_mem_into(self.address, register, buffer)
        except OSError as error:
            _raise(error)

    async def poll(self, buffer, wait_ms: int, again_ms: int, tries: int) -> None:
        """Read a chip that refuses while it measures: after `wait_ms`, then every `again_ms`; TIMEOUT after `tries`."""
        await self.sleep_ms(wait_ms)
        for _ in range(tries):
            try:
                return self.read(buffer)
            except DriverError as error:
                if error.reason != NACK:
                    raise
            await self.sleep_ms(again_ms)
        raise DriverError(TIMEOUT)


def _raise(error):
    # ETIMEDOUT is 110 on Linux and 116 in newlib, which the ESP32 has; what else a bus says means that nobody answered.
    raise DriverError(TIMEOUT if error.errno in (110, 116) else NACK)
