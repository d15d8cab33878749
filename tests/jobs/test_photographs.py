"""photographs: which are learnt from, and what a crop is."""

from pathlib import Path

import numpy as np
import pytest

from raydream.data import codec
from raydream.errors import UsageError
from raydream.jobs.train.photographs import Photographs, crop, readable


def test_the_crop_is_from_anywhere_and_never_too_small() -> None:
    random = np.random.default_rng(0)
    ramp = np.broadcast_to(np.linspace(-1, 1, 300, dtype=np.float32)[None, :, None], (200, 300, 3))
    crops = [crop(ramp, 100, random) for _ in range(40)]
    assert {c.shape for c in crops} == {(100, 100, 3)}
    means = [c.mean() for c in crops]
    assert min(means) < 80
    assert max(means) > 170
    assert crop(ramp[:40, :50], 100, random).shape == (100, 100, 3)


def test_every_eighth_is_held_out_and_broken_ones_are_skipped(tmp_path: Path) -> None:
    for number in range(16):
        (tmp_path / f"{number:02}.png").write_bytes(codec.encode(np.zeros((9, 9, 3), np.float32)))
    (tmp_path / "00.png").write_bytes(b"no picture")
    found = Photographs.of(str(tmp_path))
    assert found.held_out == ["00.png", "08.png"]
    assert len(found.learnt) == 14
    assert [image.shape for image in readable(str(tmp_path), found.held_out, 12, most=5)] == [(12, 12, 3)]
    with pytest.raises(UsageError, match="none of the 1 images"):
        readable(str(tmp_path), ["00.png"], 12, most=5)
    with pytest.raises(UsageError, match="has 0 images: too few"):
        Photographs.of(str(tmp_path / "none"))
