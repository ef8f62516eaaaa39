# A periodic and a one-shot timer, and a pin handler, while the program sleeps.
import time

from machine import Pin, Timer

counts = [0, 0]


def periodic(t):
    counts[0] += 1


def once(t):
    counts[1] += 1


def pressed(pin):
    print("pressed", pin)


Timer(0, period=200, callback=periodic)
Timer(1, mode=Timer.ONE_SHOT, period=50, callback=once)
button = Pin(27, Pin.IN)
button.irq(pressed, Pin.IRQ_RISING)
time.sleep_ms(500)
print("periodic", counts[0], "once", counts[1])
time.sleep_ms(200)
print("level", button.value())
print("done")
