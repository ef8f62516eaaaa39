"""Whether all is well: boots and crashes in NVS, the cause of the reset, a watchdog that only a whole node feeds."""

import esp32
import machine
from felinar_wire import schema
from micropython import const

_TIMEOUT_MS = const(60000)
_CALM_S = const(600)  # a node that has run so long has not crashed in a row

_CAUSES = {
    machine.PWRON_RESET: schema.RESET_POWER,
    machine.HARD_RESET: schema.RESET_PANIC,
    machine.WDT_RESET: schema.RESET_WATCHDOG,
    machine.DEEPSLEEP_RESET: schema.RESET_DEEPSLEEP,
    machine.SOFT_RESET: schema.RESET_SOFT,
}


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


def crashed() -> None:
    """Leave word of a crash for the next boot."""
    store = Store()
    store.set("crumb", 1)
    store.set("crashes", store.get("crashes") + 1)


class Health:
    """`boot` is this boot's number (1-65535), `crashes` how many crashes in a row came before it."""

    def __init__(self, last_boot: int) -> None:
        """`last_boot` is what the outbox remembers (0 nothing), for a node whose NVS was lost or put back."""
        self._store = store = Store()
        boot = store.get("boot")
        if last_boot and (not boot or (last_boot - boot) % 65536 < 32768):
            boot = last_boot
        self.boot = boot % 65535 + 1
        store.set("boot", self.boot)
        self.crashes = store.get("crashes")
        self.reset = _CAUSES.get(machine.reset_cause(), schema.RESET_UNKNOWN)
        if store.get("crumb"):
            store.set("crumb", 0)
            self.reset = schema.RESET_PANIC
        self._calm = not self.crashes
        self._dog = machine.WDT(timeout=_TIMEOUT_MS)

    def feed(self, up: int) -> None:
        """Feed the watchdog; to be called only while every task lives."""
        self._dog.feed()
        if not self._calm and up >= _CALM_S:
            self._calm = True
            self._store.set("crashes", 0)
