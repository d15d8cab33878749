"""Benchmarks: `python -m tests.bench` (speed) and `python -m tests.bench.memory`; see README.md here."""
