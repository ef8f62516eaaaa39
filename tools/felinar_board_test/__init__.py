"""Runs the protocol's vectors and the drivers' conformance on a board: `make board-test PORT=…`, `python -m felinar_board_test --help`.

Works from a checkout: the vectors lie in tests/. Everything that the board runs is mounted over its line and stays in its RAM.
"""
