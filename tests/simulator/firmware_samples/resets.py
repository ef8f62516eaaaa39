# ruff: noqa: PT017
# Tells what the past has left, then resets itself in the way that a byte on the console asks for.
import sys
import time

import esp32
import machine

nvs = esp32.NVS("test")
try:
    count = nvs.get_i32("count")
except OSError as e:
    assert e.args == (-4354, "ESP_ERR_NVS_NOT_FOUND")
    count = 0
nvs.set_i32("count", count + 1)
rtc = machine.RTC()
year = rtc.datetime()[0]
print("cause", machine.reset_cause(), "memory", rtc.memory(), "counted", count, "year", year)
rtc.datetime((2026, 1, 5, 0, 12, 0, 0, 0))
rtc.memory(str(count + 1).encode())
how = sys.stdin.buffer.read(1)
if how == b"h":
    machine.reset()
if how == b"s":
    machine.soft_reset()
if how == b"d":
    machine.deepsleep(5000)
machine.WDT(timeout=2000)
time.sleep(10)
