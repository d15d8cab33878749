"""splitting: class folders into train, validation and test, by content, continued after any end."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from raydream.data import codec, splitting
from raydream.data.splitting import Job, Plan
from raydream.data.storage import Folder
from raydream.errors import UsageError
from tests.data.web import jpeg


def nothing(done: int, failed: int) -> None:
    pass


def split(source: Path, output: Path, **options: Any) -> tuple[Plan, int]:
    job = Job(input=str(source), output=str(output), **options)
    plan = splitting.plan(job, splitting.check(job), nothing)
    return plan, splitting.copy(job, plan, nothing)


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Twenty images of each of two classes, one of them below a further folder."""
    folder = tmp_path / "in"
    for number, label in enumerate(("cat", "dog")):
        (folder / label / "more").mkdir(parents=True)
        for n in range(20):
            (folder / label / ("more" if n == 0 else ".") / f"{n}.jpg").write_bytes(jpeg(100 * number + n))
    return folder


def parts_of(output: Path) -> dict[bytes, set[str]]:
    """The splits of each file's content."""
    found = defaultdict(set)
    for path in output.glob("*/*/**/*.jpg"):
        found[path.read_bytes()].add(path.relative_to(output).parts[0])
    return found


def test_each_image_is_copied_once_and_each_class_is_in_each_split(photographs: Path, tmp_path: Path) -> None:
    plan, new = split(photographs, tmp_path / "out", shares=(0.6, 0.2, 0.2))
    assert new == 40
    assert plan.counts == {(part, label): n for part, n in SIZES.items() for label in ("cat", "dog")}
    found = parts_of(tmp_path / "out")
    assert found.keys() == {path.read_bytes() for path in photographs.rglob("*.jpg")}
    assert all(len(parts) == 1 for parts in found.values())
    assert any(path.parent.name == "more" for path in (tmp_path / "out").rglob("0.jpg"))


SIZES = {"train": 12, "validation": 4, "test": 4}


def test_names_do_not_matter_but_the_seed_does(photographs: Path, tmp_path: Path) -> None:
    split(photographs, tmp_path / "one")
    for path in list(photographs.rglob("*.jpg")):
        path.rename(path.with_name(f"renamed-{path.name}"))
    split(photographs, tmp_path / "two")
    split(photographs, tmp_path / "three", seed=1)
    assert parts_of(tmp_path / "one") == parts_of(tmp_path / "two") != parts_of(tmp_path / "three")


def test_duplicates_stay_together(photographs: Path, tmp_path: Path) -> None:
    for n in range(5):
        (photographs / "cat" / f"copy{n}.jpg").write_bytes((photographs / "cat" / f"{n + 1}.jpg").read_bytes())
    split(photographs, tmp_path / "out")
    assert all(len(parts) == 1 for parts in parts_of(tmp_path / "out").values())


def test_unreadable_images_are_named_and_left_out(photographs: Path, tmp_path: Path) -> None:
    (photographs / "cat" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    plan, new = split(photographs, tmp_path / "out")
    assert plan.unreadable.keys() == {"cat/broken.jpg"}
    assert new == 40
    assert not list((tmp_path / "out").rglob("broken.jpg"))


def test_resized_copies_are_jpegs_with_names_of_their_own(photographs: Path, tmp_path: Path) -> None:
    (photographs / "cat" / "1.png").write_bytes(codec.encode(codec.decode(jpeg(999, 60, 30))))
    _, new = split(photographs, tmp_path / "out", size=16)
    copies = [name for name in Folder(str(tmp_path / "out")).files() if name != "split.json"]
    assert len(copies) == new == 41
    for name in copies:
        data = (tmp_path / "out" / name).read_bytes()
        assert name.endswith(".jpg")
        assert min(codec.decode(data).shape[:2]) == 16


def test_the_same_command_copies_only_what_is_missing(photographs: Path, tmp_path: Path) -> None:
    split(photographs, tmp_path / "out")
    victims = list((tmp_path / "out").glob("train/*/*.jpg"))[:3]
    for path in victims:
        path.unlink()
    _, new = split(photographs, tmp_path / "out")
    assert new == 3
    assert all(path.exists() for path in victims)
    assert split(photographs, tmp_path / "out")[1] == 0


def test_two_splits_are_never_mixed(photographs: Path, tmp_path: Path) -> None:
    split(photographs, tmp_path / "out")
    before = Folder(str(tmp_path / "out")).files()
    for options in ({"seed": 1}, {"size": 20}, {"shares": (0.5, 0.25, 0.25)}):
        with pytest.raises(UsageError, match=r"was split with .* use another folder"):
            split(photographs, tmp_path / "out", **options)
    for n in range(30):
        (photographs / "cat" / f"new{n}.jpg").write_bytes(jpeg(1000 + n))
    with pytest.raises(UsageError, match="which is not in this split"):
        split(photographs, tmp_path / "out")
    assert Folder(str(tmp_path / "out")).files() == before


def test_an_output_in_the_input_is_refused(photographs: Path) -> None:
    with pytest.raises(UsageError, match="lies in the input: the next run would split the copies"):
        split(photographs, photographs / "out")


def test_a_split_input_stays_split(photographs: Path, tmp_path: Path) -> None:
    split(photographs, tmp_path / "one")
    split(tmp_path / "one", tmp_path / "two", size=10)
    one, two = (
        {name.rpartition(".")[0] for name in Folder(str(tmp_path / folder)).files()} for folder in ("one", "two")
    )
    assert one == two


def test_a_table_names_the_classes(photographs: Path, tmp_path: Path) -> None:
    rows = [(path.relative_to(photographs), path.parts[-2]) for path in sorted(photographs.glob("*/*.jpg"))]
    table = photographs / "labels.csv"
    table.write_text("image,label\n" + "".join(f"{name},the {label}\n" for name, label in rows))
    split(table, photographs / "out")  # a table says what the input is, so the output may lie beside the images
    assert {path.name for path in (photographs / "out" / "train").iterdir()} == {"the cat", "the dog"}
    assert split(table, photographs / "out")[1] == 0
    table.write_text(table.read_text() + "".join(f"../secret{n}.jpg,a\n" for n in range(3)))
    with pytest.raises(UsageError, match=r"'../secret0.jpg', which is not below its folder"):
        split(table, tmp_path / "out2")


def test_damaged_settings_are_one_line(photographs: Path, tmp_path: Path) -> None:
    split(photographs, tmp_path / "out")
    for text in ("{", "7", ""):
        (tmp_path / "out" / "split.json").write_text(text)
        with pytest.raises(UsageError, match=r"split\.json is damaged"):
            split(photographs, tmp_path / "out")


@pytest.mark.parametrize("text", ["1,0,0", "0.8,0.2", "a,b,c", "0.8,0.1,0.2", "-0.1,0.5,0.6", "nan,0.5,0.5"])
def test_shares_are_three_parts_of_one(text: str) -> None:
    assert splitting.parse_shares("0.8,0.1,0.1") == (0.8, 0.1, 0.1)
    with pytest.raises(UsageError, match="three positive numbers with the sum 1"):
        splitting.parse_shares(text)
