"""Freezes the lamp node into an image of MicroPython, for those who build their own (docs.micropython.org, "Manifest files").

Made by `python -m felinar_build manifest`. The manifest of your board includes this one after the port's own; `drivers` names
what is fitted, as the board file does:

    include("$(PORT_DIR)/boards/manifest.py")
    include("path/to/felinar/firmware/manifest.py", drivers="veml7700 sps30 ics43434")

/board.json and /config.json stay files: see docs/architecture.md.
"""

# What a manifest calls is put there by who runs it:
# pyright: reportUndefinedVariable=false

options.defaults(drivers="bh1750 sps30 scd41 sht4x ics43434 bl0937")

# What each driver loads beside itself.
_NEEDS = {
    "bh1750": (),
    "bl0937": (),
    "bme280": (),
    "frames": (),
    "gas_index": (),
    "hlw8012": ("bl0937",),
    "ics43434": ("microphone",),
    "inmp441": ("microphone",),
    "lora": (),
    "microphone": (),
    "pms5003": ("frames",),
    "pms7003": ("frames", "pms5003"),
    "scd41": ("sensirion",),
    "sds011": ("frames",),
    "sensirion": (),
    "sgp41": ("gas_index", "sensirion"),
    "sht4x": ("sensirion",),
    "sps30": ("sensirion",),
    "sx126x": ("lora",),
    "sx127x": ("lora",),
    "veml7700": (),
}

_drivers = {"__init__", "dimmer", "relay"}
for _name in options.drivers.split():
    _drivers |= {_name, *_NEEDS[_name]}

module("main.py", opt=2)
package(
    "node",
    files=(
        "__init__.py",
        "app.py",
        "board.py",
        "clock.py",
        "config.py",
        "console.py",
        "doubt.py",
        "health.py",
        "lamp.py",
        "led.py",
        "levels.py",
        "lighting.py",
        "line.py",
        "orders.py",
        "outbox.py",
        "past.py",
        "period.py",
        "prove.py",
        "ram.py",
        "sampler.py",
        "schedule.py",
        "settings.py",
        "sound.py",
        "sun.py",
        "uplink.py",
        "verdict.py",
    ),
    opt=2,
)
package("drivers", files=[_name + ".py" for _name in sorted(_drivers)], opt=2)
package(
    "felinar_wire",
    files=(
        "__init__.py",
        "aes.py",
        "bits.py",
        "clock.py",
        "codec.py",
        "errors.py",
        "frame.py",
        "join.py",
        "kept.py",
        "lms.py",
        "scale.py",
        "schema.py",
        "serial.py",
        "session.py",
        "tesla.py",
    ),
    base_path="../protocol",
    opt=2,
)
