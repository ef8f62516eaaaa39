"""The radio bridge: a modem with a clock. No keys, no plan of its own."""
