"""runtime: TensorFlow is configured in one place, quietly, and whatever state it is in."""

import os
import subprocess
import sys

import pytest

from raydream import runtime


def printed(code: str) -> str:
    """What a fresh Python prints; stderr must stay empty."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout


def test_quiet_drops_what_is_printed_below_python_and_only_meanwhile(capfd: pytest.CaptureFixture[str]) -> None:
    os.write(2, b"before ")
    with runtime.quiet():
        os.write(2, b"noise")
    os.write(2, b"after")
    assert capfd.readouterr().err == "before after"
    with pytest.raises(KeyError), runtime.quiet():
        raise KeyError
    os.write(2, b"still there")
    assert capfd.readouterr().err == "still there"


def test_a_worker_has_as_many_threads_as_cores_and_imports_quietly() -> None:
    code = (
        "from raydream import runtime; runtime.worker(2.5); import tensorflow as tf\n"
        "print(tf.config.threading.get_intra_op_parallelism_threads())\n"
        "print(tf.config.threading.get_inter_op_parallelism_threads())\n"
    )
    assert printed(code).split() == ["2", "2"]


@pytest.mark.parametrize("configure", [runtime.driver, lambda: runtime.worker(1)])
def test_tensorflow_that_has_been_used_stays_as_it_is(configure, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    import tensorflow as tf

    assert float(tf.constant(1.0) + 1.0) == 2.0

    def refuse(*_: object) -> None:
        raise RuntimeError("cannot be modified after being initialized")

    monkeypatch.setattr(tf.config, "set_visible_devices", refuse)
    monkeypatch.setattr(tf.config.threading, "set_intra_op_parallelism_threads", refuse)
    configure()


class Gpus:
    """TensorFlow's settings of a machine with two GPUs, and the calls that were made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import tensorflow as tf

        self.calls: list[tuple[object, ...]] = []
        for holder, name in (
            (tf.config, "set_visible_devices"),
            (tf.config.experimental, "set_memory_growth"),
            (tf.config.experimental, "enable_op_determinism"),
        ):
            monkeypatch.setattr(holder, name, lambda *args, name=name: self.calls.append((name, *args)))
        for name in ("list_physical_devices", "get_visible_devices"):
            monkeypatch.setattr(tf.config, name, lambda kind: ["gpu:0", "gpu:1"])
        monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: {"device_name": f"Fine {gpu}"})


def test_a_driver_leaves_the_gpus_to_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = Gpus(monkeypatch)
    runtime.driver()
    assert gpus.calls == [("set_visible_devices", [], "GPU")]


def test_a_worker_on_gpus_is_deterministic_and_takes_memory_as_it_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = Gpus(monkeypatch)
    growth = [("set_memory_growth", f"gpu:{n}", True) for n in range(2)]
    runtime.worker()
    assert gpus.calls == [*growth, ("enable_op_determinism",)]
    gpus.calls.clear()
    runtime.worker(deterministic=False)
    assert gpus.calls == growth
    assert runtime.device() == "Fine gpu:0"


def test_without_a_gpu_the_device_is_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: [])
    assert runtime.device().startswith("CPU (")


def test_the_environment_is_set_before_tensorflow_and_the_users_values_stay() -> None:
    code = "import os, raydream; print(*map(os.environ.get, ('TF_ENABLE_ONEDNN_OPTS', 'TF_NUM_INTRAOP_THREADS')))"
    forget = "import os; [os.environ.pop(name, 0) for name in list(os.environ) if name.startswith(('TF_', 'OMP_'))]\n"
    assert printed(forget + code) == "1 None\n"
    assert printed(forget + "os.environ['OMP_NUM_THREADS'] = '3'\n" + code) == "1 3\n"
    assert printed(forget + "os.environ['TF_ENABLE_ONEDNN_OPTS'] = '0'\n" + code) == "0 None\n"
