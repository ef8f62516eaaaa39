"""What a technician types at the line, answered in text: loaded for each line that is typed, and let go of again."""

import micropython

from node import lamp, past


def _status(app, words):
    health = app.health
    clock = app.clock
    yield "boot %d reset %d safe %d crashes %d" % (app.boot, health.reset, health.safe, health.crashes)
    yield "up %d time %s made %d pending %d dropped %d" % (
        clock.up(),
        clock.now(),
        app.seq,
        app.outbox.pending,
        app.dropped,
    )
    yield "heap %d low %d stack %d" % (app.heap(), app.heap_low, micropython.stack_use())
    yield past.last().decode()


def _read(app, words):
    for sensor in app.sensors:
        yield "%s %s errors %d" % (sensor._entry["driver"], sensor.value, sensor.errors)


def _lamp(app, words):
    if words:
        word = words[0]
        mode = ("auto", "on", "off").index(word) if word.isalpha() else lamp.DIM
        app.override(
            mode, max(0, min(100, int(word))) if mode == lamp.DIM else 100, int(words[1]) if words[1:] else 60, 0
        )
    yield "level %d mode %d" % (app.policy.level, app.policy.mode)


def _selftest(app, words):
    found = [
        ("flash", not app.refused),
        ("config", not app.config.bad),
        ("host", not app.uplink.alone(app.clock.up())),
        ("lamp", not app.lamp.verdict.raised),
    ]
    for sensor in app.sensors:
        found.append((sensor._entry["driver"], sensor.value or (hasattr(sensor._device, "levels") and not sensor._row)))
    good = True
    for name, well in found:
        good = good and well
        yield ("ok " if well else "FAILED ") + name
    yield "PASS" if good else "FAIL"


def _prompt(app, words):
    micropython.kbd_intr(3)  # a frame with a byte 3 in it would end the node as well
    yield "Ctrl-C ends the node at its prompt"


def _config(app, words):
    yield "%04x trial %d bad %s" % (app.config_crc, app.settings[0], app.config.bad)
    yield app.config_text().decode()


def answer(app, line: str):
    """The lines that answer a line."""
    words = line.split() or [""]
    command = globals().get("_" + words[0])
    return (
        command(app, words[1:])
        if command
        else ("status, read, lamp [auto|on|off|LEVEL [SECONDS]], selftest, config, prompt",)
    )
