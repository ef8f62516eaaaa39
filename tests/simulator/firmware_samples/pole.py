# Reads its configuration, then opens the relay after 5 s and dims after 8 s.
import json
import os
import time

from machine import I2C, PWM, Pin

with open("config.json") as f:
    config = json.load(f)
with open("board.json") as f:
    board = json.load(f)


def tell(*args):
    raise RuntimeError(" ".join(str(a) for a in args))


i2c = I2C(0, scl=Pin(board["pins"]["i2c0_scl"]), sda=Pin(board["pins"]["i2c0_sda"]), freq=100000)
i2c.writeto(35, b"\x20")
time.sleep(5)
Pin(board["pins"]["relay"], Pin.OUT, value=1)
i2c.readfrom(35, 2)
time.sleep(3)
PWM(Pin(board["pins"]["dim"]), freq=1000, duty_u16=16384)
os.urandom(4)
tell(config["address"], config["name"], config["report_s"], config["lat"])
