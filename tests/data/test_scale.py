"""Many images: the driver's work stays small. tests/bench/scale.py measures the same for a million."""

import pytest

from tests.bench import scale


@pytest.mark.slow
def test_twenty_thousand_images_are_planned_resumed_finished_and_extended_in_little_time_and_memory() -> None:
    found = scale.run(20_000)
    assert set(found) == {"plan", "resume", "finish", "append"}
    assert max(figures["cpu"] for figures in found.values()) < 20
    assert max(figures["megabytes"] for figures in found.values()) < 600
