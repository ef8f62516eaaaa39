"""Turns the sources into what a board carries: board.json from the board file, firmware and protocol as .py or .mpy."""
