"""Benchmarks: programs, not tests. `python -m tests.performance [case …] [--json]`; see `__main__`."""
