"""class_stats: how many images each class has, how large they are, and what is wrong with them."""

from pathlib import Path

from raydream.data.class_stats import Stats, measure
from raydream.data.labelled import find_labelled
from tests.data.web import jpeg


def stats(folder: Path) -> Stats:
    seen = []
    found = find_labelled(str(folder))
    result = measure(str(folder), found, lambda done, failed: seen.append((done, failed)))
    assert sum(done for done, _ in seen) == len(found.names)
    return result


def fill(folder: Path, count: int, seed: int = 0, size: tuple[int, int] = (20, 30)) -> None:
    folder.mkdir(parents=True)
    for n in range(count):
        (folder / f"{n}.jpg").write_bytes(jpeg(seed + n, *size))


def test_figures_of_each_class_and_of_all(tmp_path: Path) -> None:
    fill(tmp_path / "cat", 4)
    fill(tmp_path / "dog", 3, seed=100, size=(10, 10))
    (tmp_path / "cat" / "large.jpg").write_bytes(jpeg(50, 60, 90))
    (tmp_path / "cat" / "twin.jpg").write_bytes(jpeg(50, 60, 90))
    (tmp_path / "dog" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    found = stats(tmp_path)
    cat, dog = found.classes["cat"], found.classes["dog"]
    assert (cat.images, cat.median, cat.smallest, cat.unreadable, cat.duplicates) == (6, (30, 20), (30, 20), 0, 1)
    assert (dog.images, dog.median, dog.smallest, dog.unreadable, dog.duplicates) == (4, (10, 10), (10, 10), 1, 0)
    assert cat.bytes == sum(path.stat().st_size for path in (tmp_path / "cat").iterdir())
    assert found.total.images == 10
    assert (found.total.smallest, found.total.unreadable, found.total.duplicates) == ((10, 10), 1, 1)
    assert found.total.bytes == cat.bytes + dog.bytes
    assert found.warnings == ["unreadable images (1): dog/broken.jpg"]


def test_warnings(tmp_path: Path) -> None:
    fill(tmp_path / "cat", 20)
    fill(tmp_path / "dog", 20, seed=100)
    fill(tmp_path / "owl", 2, seed=200)
    (tmp_path / "dog" / "x.jpg").write_bytes(jpeg(3, 20, 30))
    found = stats(tmp_path).warnings
    assert any("class 'owl' has 2 images" in line for line in found)
    assert any("much smaller" in line and "owl (2)" in line for line in found)
    assert any("images in several classes (1): cat/3.jpg = dog/x.jpg" in line for line in found)
    assert len(found) == 3
    assert all("\n" not in line for line in found)


def test_a_split_folder_has_figures_for_each_split_and_shows_leaks(tmp_path: Path) -> None:
    for part, count in (("train", 5), ("validation", 2), ("test", 1)):
        fill(tmp_path / part / "cat", count, seed=10 * count)
        fill(tmp_path / part / "dog", count, seed=1000 + 10 * count)
    (tmp_path / "test" / "cat" / "x.jpg").write_bytes(jpeg(50, 20, 30))
    found = stats(tmp_path)
    assert found.classes["cat"].parts == {"train": 5, "validation": 2, "test": 2}
    assert found.classes["cat"].duplicates == 1
    assert found.warnings == ["images in several splits (1): test/cat/x.jpg = train/cat/0.jpg"]


def test_a_folder_with_one_class_is_counted_all_the_same(tmp_path: Path) -> None:
    fill(tmp_path / "cat", 3)
    found = stats(tmp_path)
    assert found.total.images == 3
    assert ["1 class" in line for line in found.warnings] == [True]
