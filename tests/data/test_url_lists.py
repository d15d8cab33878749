"""url_lists: URLs and classes in text, tables and ImageNet's lists, read as a stream."""

import gzip
import io
import tarfile
import tracemalloc
from pathlib import Path

import pytest

from raydream.data.url_lists import Entry, no_entries, read_categories, read_list
from raydream.errors import UsageError


def listed(tmp_path: Path, name: str, text: str | bytes) -> str:
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


def test_text_with_and_without_classes(tmp_path: Path) -> None:
    text = (
        "\ufeff# a comment\n\nhttp://h/1.jpg\r\n  \ncat http://h/2.jpg\nhot-air balloon\thttps://h/a b.jpg\n"
        "n02129604_7\thttp://h/3.jpg\nn02129604\thttp://h/4.jpg\nbig cat   http://h/x:y://5.jpg\ncat\tnothing"
    )
    assert list(read_list(listed(tmp_path, "urls.txt", text))) == [
        Entry("http://h/1.jpg", ""),
        Entry("http://h/2.jpg", "cat"),
        Entry("https://h/a b.jpg", "hot-air balloon"),
        Entry("http://h/3.jpg", "n02129604"),
        Entry("http://h/4.jpg", "n02129604"),
        Entry("http://h/x:y://5.jpg", "big cat"),
        Entry("nothing", "cat"),
    ]


@pytest.mark.parametrize("label", ["class", "Label"])
def test_tables(label: str, tmp_path: Path) -> None:
    text = f'id,{label},URL\n1,cat,http://h/1.jpg\n2,"dog, small",http://h/2.jpg\n'
    found = [Entry("http://h/1.jpg", "cat"), Entry("http://h/2.jpg", "dog, small")]
    assert list(read_list(listed(tmp_path, "urls.csv", text))) == found
    assert list(read_list(listed(tmp_path, "urls.csv.gz", gzip.compress(text.encode())))) == found
    assert list(read_list(listed(tmp_path, "urls.tsv", "url\nhttp://h/1.jpg\n"))) == [Entry("http://h/1.jpg", "")]


def test_a_table_without_urls_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no column 'url': its columns are a, b"):
        list(read_list(listed(tmp_path, "urls.csv", "a,b\n1,2\n")))


@pytest.mark.parametrize("label", ["../up", "a/b", "a\\b", ".hidden", "x" * 101, "a:b", "tab\x07"])
def test_a_class_that_cannot_be_a_folder_is_one_line(label: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be a class"):
        list(read_list(listed(tmp_path, "urls.txt", f"ok\thttp://h/1\n{label}\thttp://h/2\n")))


def archive(text: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as packed:
        member = tarfile.TarInfo("fall11_urls.txt")
        member.size = len(text)
        packed.addfile(member, io.BytesIO(text.encode()))
    return file.getvalue()


IMAGENET = (
    "n00000001_1\thttp://h/1.jpg\nn02787622_2\thttp://h/2.jpg\nn02129604_3\thttp://h/3 a.jpg\nx\nn02787622_4\tno\n"
)
WANTED = {"n02787622": "banjo", "n02129604": "tiger"}


@pytest.mark.parametrize("name", ["fall11_urls.txt", "fall11_urls.txt.gz", "imagenet_fall11_urls.tgz"])
def test_categories_are_picked_from_imagenets_list(name: str, tmp_path: Path) -> None:
    data = {"txt": IMAGENET.encode(), "gz": gzip.compress(IMAGENET.encode()), "tgz": archive(IMAGENET)}
    found = list(read_categories(listed(tmp_path, name, data[name.rpartition(".")[2]]), WANTED))
    assert found == [Entry("http://h/2.jpg", "banjo"), Entry("http://h/3 a.jpg", "tiger"), Entry("no", "banjo")]


def test_categories_with_a_list_each(tmp_path: Path) -> None:
    listed(tmp_path, "n02787622.txt", "banjo_1.jpg\thttp://h/1.jpg\n")
    listed(tmp_path, "n02129604.txt", "http://h/2.jpg\n")
    found = list(read_categories(f"{tmp_path}/{{wnid}}.txt", WANTED))
    assert found == [Entry("http://h/1.jpg", "banjo"), Entry("http://h/2.jpg", "tiger")]
    with pytest.raises(UsageError, match=r"n00000009\.txt does not exist"):
        list(read_categories(f"{tmp_path}/{{wnid}}.txt", {"n00000009": "x"}))


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("none.txt", None, "does not exist"),
        ("urls.txt.gz", b"no gzip", "cannot be read"),
        ("urls.tgz", b"no archive", "cannot be read"),
        ("urls.gz", gzip.compress(b"x" * 1000)[:-20], "cannot be read"),
        ("image.jpg", b"\xff\xd8" * 2_000_000, "a line is longer than 1 MB"),
    ],
)
def test_a_list_that_cannot_be_read_is_one_line(name: str, data: bytes | None, said: str, tmp_path: Path) -> None:
    path = str(tmp_path / name) if data is None else listed(tmp_path, name, data)
    with pytest.raises(UsageError, match=said) as error:
        list(read_list(path))
    assert path in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_file_system_is_one_line() -> None:
    with pytest.raises(UsageError, match="list zzz://x cannot be read: Protocol not known"):
        list(read_list("zzz://x"))


def test_a_large_list_is_never_whole_in_memory(tmp_path: Path) -> None:
    line = "n00000001_1\thttp://host.example/photograph.jpg\n"
    path = listed(tmp_path, "large.txt", line * 100_000)
    tracemalloc.start()
    try:
        count = sum(1 for _ in read_list(path))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 100_000
    assert peak < 0.5 * 100_000 * len(line)


def test_entries_come_back_as_they_were() -> None:
    some = [Entry("http://h/ä b", "hot-air balloon"), Entry("http://h/2", "")]
    with no_entries() as entries:
        for entry in some:
            entries.add(entry)
        assert len(entries) == 2
        assert list(entries) == list(entries) == some
