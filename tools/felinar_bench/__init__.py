"""Benchmarks, each a module with `figures()`: `python -m felinar_bench NAME [--json]`."""
