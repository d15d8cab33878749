"""labelled: tables that name images and their classes; what is wrong with them is one line."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raydream.data.labelled import Labelled, list_labelled, split
from raydream.errors import UsageError

NAMES = [f"{label}/{n}.jpg" for label in ("cat", "dog") for n in range(3)]
LABELS: list[Any] = ["cat"] * 3 + ["dog"] * 3


def test_a_table_names_images_and_classes(tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("image,label\n" + "".join(f"{n},{c}\n" for n, c in zip(NAMES, LABELS, strict=True)))
    found = list_labelled(str(table))
    assert (found.folder, found.names, found.classes) == (str(tmp_path), tuple(NAMES), ("cat", "dog"))
    assert found.labels == (0, 0, 0, 1, 1, 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no rows: it must hold a row for each image"),
        ("image,label\n", "has no rows: it must hold a row for each image"),
        ("image,kind\na.jpg,cat\n", "has no column 'label': valid: image, kind"),
        ("image,label\n/home/me/a.jpg,cat\n", "image of row 1 is '/home/me/a.jpg': it must be a path below"),
        ("image,label\na.jpg,cat\nhttp://host/b.jpg,cat\n", "image of row 2 is 'http://host/b.jpg': it must be"),
        ("image,label\na.jpg\n", "label of row 1 is None: it must be a class"),
        ("image,label\na.jpg,cat\na.jpg,dog\n", "names a.jpg in 2 rows: each image has one class"),
    ],
)
def test_a_bad_table_is_one_line(text: str, said: str, tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text(text)
    with pytest.raises(UsageError) as error:
        list_labelled(str(table))
    assert said in str(error.value)
    assert str(table) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("label", [1.5, ["cat"], b"cat", True, None])
def test_a_label_of_a_wrong_type_is_one_line(label: Any, tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": NAMES, "label": [label] * 6}), tmp_path / "labels.parquet")
    with pytest.raises(UsageError, match=r"label of row 1 is .*: it must be a class, as text or a whole number"):
        list_labelled(str(tmp_path / "labels.parquet"))


@pytest.mark.parametrize("given", [(), ("train", "validation", "test") * 2])
def test_a_class_whose_images_are_all_unreadable_is_not_trained(given: tuple[str, ...]) -> None:
    labels = (0, 0, 0, 1, 1, 1)
    found = Labelled(folder="in", names=tuple(NAMES), labels=labels, classes=("cat", "dog"), given=given)
    digests = {name: str(n) for n, name in enumerate(NAMES)}
    assert sorted({*split(found, digests, (0.8, 0.1, 0.1))}) == ["test", "train", "validation"]
    for left in (NAMES[:3], []):
        with pytest.raises(UsageError, match=r"in: class '(dog|cat)' has 0 "):
            split(found.only(left), digests, (0.8, 0.1, 0.1))
