"""The host's side of the air: bridges on their lines, joins, what is heard, beacons, and what goes down.

`modem` is what is said on a bridge's line, `air` the plan with real keys over all bridges (both pure cores), `line` moves
bytes and time, `service` puts it together for the daemon.
"""
