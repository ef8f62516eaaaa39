"""The air: who may speak when, as a pure core that lamp node, host planner and simulator share.

`plan` is what both ends know: airtime, the layout of a superframe, sub-bands, the ledger of airtime; `node` is a lamp's
medium access; `host` plans slots, beacons and what goes down; `modem` is what a bridge does, on a chip or on a host, `duty` the
last word on its air time. docs/architecture.md, "The air", says why.
"""
