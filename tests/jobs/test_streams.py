"""streams: the seed fixes the batches, whatever the number of workers; on a real local Ray cluster."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raydream.data import codec
from raydream.jobs.train.streams import Arrays, Crops, Pictures, random_crop
from raydream.training.augmentation import Augmentation
from tests.common import RAY

pytestmark = RAY
SIDE = 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty-one pictures, each of its own grey and with a dark left half."""
    place = tmp_path_factory.mktemp("pictures")
    for n in range(21):
        image = np.full((20, 30, 3), n / 12 - 0.8, np.float32)
        image[:, :15] = -1
        (place / f"{n:02}.png").write_bytes(codec.encode(image))
    return place


def pictures(folder: Path, rank: int = 0, workers: int = 1, **changes: Any) -> Pictures:
    names = [f"{n:02}.png" for n in range(21)]
    common: dict[str, Any] = {"folder": str(folder), "names": names, "labels": list(range(21)), "side": SIDE}
    return Pictures(**common, batch_size=4, rank=rank, workers=workers, seed=3, **changes)


def joined(parts: list[list[Any]], key: str) -> list[np.ndarray]:
    """The batches of several workers as those of one: the examples of a batch are dealt out in turn."""
    batches = [np.stack([part[key] for part in batch], axis=1) for batch in zip(*parts, strict=True)]
    return [batch.reshape(-1, *batch.shape[2:]) for batch in batches]


def test_two_workers_see_the_batches_of_one_and_each_epoch_is_another(cluster: None, folder: Path) -> None:
    changes = {"augmentation": Augmentation(), "mixup": 0.4}
    one = list(pictures(folder, **changes).epoch(0))
    two = [list(pictures(folder, rank, 2, **changes).epoch(0)) for rank in (0, 1)]
    assert len(one) == 5
    assert one[0]["image"].shape == (4, SIDE, SIDE, 3)
    assert one[0]["image"].dtype == np.uint8
    for key in ("image", "label", "other", "share"):
        for batch, dealt in zip(one, joined(two, key), strict=True):
            np.testing.assert_array_equal(dealt, batch[key])
    labels = np.concatenate([batch["label"] for batch in one])
    assert len({*labels.tolist()}) == 20
    again = list(pictures(folder, **changes).epoch(1))
    assert (np.concatenate([batch["label"] for batch in again]) != labels).any()


def test_without_changes_each_picture_comes_once_in_order(cluster: None, folder: Path) -> None:
    batches = list(pictures(folder).all())
    labels = np.concatenate([batch["label"] for batch in batches])
    assert labels.tolist() == list(range(21))
    image = batches[2]["image"][1]
    expected = codec.to_uint8(codec.fit(codec.decode((folder / "09.png").read_bytes()), (SIDE, SIDE)))
    np.testing.assert_array_equal(image, expected)
    assert set(batches[0]) == {"image", "label"}


def test_arrays_are_dealt_out_in_the_same_way() -> None:
    data = {"x": np.arange(11), "label": np.arange(11) % 2}
    one, *two = (
        Arrays(arrays=data, batch_size=4, rank=rank, workers=workers, seed=1)
        for rank, workers in ((0, 1), (0, 2), (1, 2))
    )
    assert one.steps == 2
    for epoch in (0, 1):
        dealt = joined([list(part.epoch(epoch)) for part in two], "x")
        for batch, both in zip(one.epoch(epoch), dealt, strict=True):
            np.testing.assert_array_equal(batch["x"], both)
            np.testing.assert_array_equal(batch["x"] % 2, batch["label"])
    assert sorted(np.concatenate([batch["x"] for part in two for batch in part.all()]).tolist()) == list(range(11))


def test_fewer_examples_than_a_batch_come_more_than_once() -> None:
    few = Arrays(arrays={"x": np.arange(3)}, batch_size=8, rank=0, workers=1, seed=0)
    (batch,) = few.epoch(0)
    assert sorted(batch["x"].tolist())[:3] in ([0, 0, 0], [0, 0, 1])
    assert len(batch["x"]) == 8


def crops(folder: Path, rank: int = 0, workers: int = 1) -> Crops:
    names = [f"{n:02}.png" for n in range(21)]
    return Crops(folder=str(folder), names=names, side=8, steps=8, batch_size=4, rank=rank, workers=workers, seed=3)


def test_crops_are_those_of_one_worker_and_others_in_each_epoch(cluster: None, folder: Path) -> None:
    one = list(crops(folder).epoch(0))
    assert [batch["image"].shape for batch in one] == [(4, 8, 8, 3)] * 8, "more crops than pictures"
    two = [list(crops(folder, rank, 2).epoch(0)) for rank in (0, 1)]
    for batch, dealt in zip(one, joined(two, "image"), strict=True):
        np.testing.assert_array_equal(dealt, batch["image"])
    again = list(crops(folder).epoch(1))
    assert any((a["image"] != b["image"]).any() for a, b in zip(one, again, strict=True))


def test_a_crop_is_not_resized_and_lies_anywhere(folder: Path) -> None:
    pixels = codec.to_uint8(codec.decode((folder / "20.png").read_bytes()))
    parts = {pixels[0, left : left + 8].tobytes(): left for left in range(23)}
    found = [parts[random_crop(str(folder), "20.png", 8, np.random.default_rng(n))[0].tobytes()] for n in range(200)]
    assert len(set(found)) >= 8
    with pytest.raises(ValueError, match=r"low >= high|high <= 0"):
        random_crop(str(folder), "20.png", 21, np.random.default_rng(0))
