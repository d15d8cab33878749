"""What this machine can do for TensorFlow."""

from __future__ import annotations

import sys
from pathlib import Path

_CPU_FLAGS = {"avx512_bf16", "amx_bf16"}


def has_fast_bfloat16() -> bool:
    """Whether the CPU has instructions for bfloat16; without them it is slower than float32. False where unknown."""
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False
    return not _CPU_FLAGS.isdisjoint(flags)


def suggest_bfloat16(gpu: bool) -> None:
    """Says on stderr, where it is so, that bfloat16 would be faster; for recipes that name no precision."""
    if gpu or has_fast_bfloat16():
        text = "the network computes in float32; --set precision=bfloat16 would be about twice as fast on this device"
        print(text, file=sys.stderr, flush=True)
