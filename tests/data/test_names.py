"""names: unique on every kind of disk, no file where another's folder is, and never changed again."""

import unicodedata
from itertools import permutations

import pytest

from raydream.data.names import Names
from raydream.data.rows import printable

CASES = [
    ["A.jpg", "a.jpg"],
    ["a.jpg", "a.jpg.png/b.jpg", "a.png"],
    ["a.jpg", "a.png", "a.jpg.png", "a.jpg.png.png", "a.jpg.png.gif"],
    ["a", "a.png", "a.png.png"],
    ["A.jpg", "a.png"],
    ["a.jpg", "a.png/b.jpg", "a.png/b.png"],
    ["x/a.png/b.jpg", "X/A.jpg"],
    ["caf\u00e9.jpg", "cafe\u0301.jpg", "CAF\u00c9.jpg"],
    ["z\udcff.jpg", "z\\udcff.jpg"],
    [".hidden/a.jpg", "..jpg", "no ending", "\udce9.jpg", "stra\u00dfe.jpg", "STRASSE.jpg"],
]


def folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", printable(name)).casefold())


def assert_apart(names: list[str]) -> None:
    files = [folded(name) for name in names]
    folders = {"/".join(name.split("/")[:depth]) for name in files for depth in range(1, name.count("/") + 1)}
    assert len({*files}) == len(files)
    assert not folders & {*files}


def test_a_dream_has_its_photographs_name_with_its_own_ending() -> None:
    ids = ["cats/tom.jpg", "rex", "x.tar.gz.jpg", "x/.jpg"]
    assert list(Names(".webp").give(ids)) == ["cats/tom.webp", "rex.webp", "x.tar.gz.webp", "x/.jpg.webp"]


def test_of_photographs_that_differ_only_in_their_ending_the_later_keeps_it() -> None:
    assert list(Names(".png").give(["x.jpg", "x.png", "sub/x.jpg"])) == ["x.png", "x.png.png", "sub/x.png"]


@pytest.mark.parametrize("ids", CASES, ids=range(len(CASES)))
def test_names_are_unique_on_every_kind_of_disk(ids: list[str]) -> None:
    names = list(Names(".png").give(ids))
    assert_apart(names)
    assert names == list(Names(".png").give(ids))


@pytest.mark.parametrize("ids", CASES, ids=range(len(CASES)))
def test_names_that_are_given_stay_whatever_comes_later(ids: list[str]) -> None:
    for order in list(permutations(ids))[:24]:
        given: list[str] = []
        for id in order:
            given += Names(".png", given).give([id])
        assert_apart(given)
