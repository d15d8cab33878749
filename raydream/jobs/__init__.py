"""Orchestration: the only modules that import Ray. Each is `run(...)` plus a command line."""
