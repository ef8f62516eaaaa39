"""Whether all is well: what NVS keeps, and a watchdog that only a whole node feeds."""

import esp32
import machine
from micropython import const

_TIMEOUT_MS = const(60000)


class Store:
    """Small numbers that outlive a boot. Written seldom: NVS lives in flash."""

    def __init__(self) -> None:
        self._nvs = esp32.NVS("felinar")

    def get(self, key: str) -> int:
        """0 when there is none."""
        try:
            return self._nvs.get_i32(key)
        except OSError:
            return 0

    def set(self, key: str, value: int) -> None:
        """A worn NVS keeps nothing and stops nobody: the outbox remembers the boot as well."""
        try:
            self._nvs.set_i32(key, value)
            self._nvs.commit()
        except OSError:
            pass


class Health:
    """`boot` is this boot's number (1-65535), `crashes` how many in a row came before it; tasks' crashes are added.

    `place` tells where the last one of these was, None for none. `safe`: there were 5 within an hour, or 3 soon after boots.
    """

    def __init__(self, store: Store, past: tuple) -> None:
        self.store = store
        self.boot, self.reset, self.crashes, self.place, self.safe = past
        self._dog = machine.WDT(timeout=_TIMEOUT_MS)
        self.feed = self._dog.feed
