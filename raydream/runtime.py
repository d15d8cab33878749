"""Configures TensorFlow: environment, quiet import, threads, GPUs, determinism. No other module does."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

_CPU_FLAGS = {"avx512_bf16", "amx_bf16"}


def set_environment() -> None:
    """Sets the environment variables that TensorFlow reads on import, unless the user has set them."""
    # Without AVX-512, TensorFlow does not use oneDNN's convolutions by default, and is a quarter slower.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    # oneDNN's own memory pool never releases the memory of a large image.
    os.environ.setdefault("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # real errors are exceptions
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    # Ray gives each worker its share of the cores in OMP_NUM_THREADS, which TensorFlow's own pools ignore.
    if threads := os.environ.get("OMP_NUM_THREADS"):
        os.environ.setdefault("TF_NUM_INTRAOP_THREADS", threads)
        os.environ.setdefault("TF_NUM_INTEROP_THREADS", threads)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Drops the messages that C++ libraries print to stderr when they start, before their log level can be set."""
    sys.stderr.flush()
    stderr, devnull = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(devnull, 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(devnull)


def import_tensorflow() -> None:
    """Imports TensorFlow without the messages that it prints on import; changes no setting."""
    if "tensorflow" in sys.modules:
        return
    with quiet():
        import tensorflow as tf

        tf.config.list_physical_devices("GPU")


def driver() -> None:
    """Configures a process that only inspects networks: imports TensorFlow and leaves the GPUs to the workers.

    If TensorFlow has already been used, its devices can no longer be changed, and this has no effect.
    """
    import_tensorflow()
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):
        tf.config.set_visible_devices([], "GPU")


def worker(cores: float | None = None, deterministic: bool = True) -> None:
    """Configures a process that computes: threads, GPU memory that grows on demand, and deterministic results.

    If TensorFlow has already been used, its threads and memory can no longer be changed, and they stay as they are.

    Args:
        cores: number of threads, rounded down, at least one; None for all cores. (The environment is not enough: Ray
            Data imports raydream before Ray sets OMP_NUM_THREADS.)
        deterministic: whether operations on GPUs must give the same bytes each time.
    """
    import_tensorflow()
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    with contextlib.suppress(RuntimeError):
        if cores is not None:
            tf.config.threading.set_intra_op_parallelism_threads(max(1, int(cores)))
            tf.config.threading.set_inter_op_parallelism_threads(max(1, int(cores)))
        for gpu in gpus:
            tf.config.experimental.set_memory_growth(gpu, True)
    if gpus and deterministic:
        tf.config.experimental.enable_op_determinism()


def has_gpu() -> bool:
    """Whether TensorFlow finds a GPU on this machine."""
    import_tensorflow()
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def device() -> str:
    """Name of the device that TensorFlow computes on, such as `NVIDIA H100` or `CPU (x86_64)`."""
    import_tensorflow()
    import tensorflow as tf

    if gpus := tf.config.get_visible_devices("GPU"):
        return str(tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU"))
    return f"CPU ({platform.machine()})"


def has_fast_bfloat16() -> bool:
    """Whether the CPU has bfloat16 instructions; without them, bfloat16 is slower than float32. False if unknown."""
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False
    return not _CPU_FLAGS.isdisjoint(flags)


def advise_precision(precision: str | None, gpu: bool) -> None:
    """Prints on stderr if another precision would be much faster on this device.

    Args:
        precision: that of the recipe; None if the user has not chosen one.
        gpu: whether a GPU computes.
    """
    fast = gpu or has_fast_bfloat16()
    text = None
    if precision is None and fast:
        text = "the network computes in float32; --set precision=bfloat16 would be about twice as fast on this device"
    if precision == "bfloat16" and not fast:
        text = "this CPU has no bfloat16 instructions: float32 would be about ten times as fast"
    if text:
        print(text, file=sys.stderr, flush=True)
