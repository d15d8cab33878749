"""Names of dreams: unique on every kind of disk, and never changed once they are given."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import accumulate


class Names:
    """Gives each image the name of its dream.

    A name is the image's id with a new ending (`cats/tom.jpg` -> `cats/tom.png`); where that is taken, with one more
    ending (`cats/tom.jpg.png`); where that is taken, too, a digest of the id. No two names are equal, also where a disk
    takes upper and lower case or composed and decomposed letters for the same, and none is that of another's folder.

    What is taken is kept as 64-bit digests, to be small for millions of names. Should two of them be equal by chance,
    a dream has a longer name than it needs.
    """

    def __init__(self, ending: str, given: Iterable[str] = ()) -> None:
        """`ending` has its dot; `given` are names that are in use already."""
        self._ending = ending
        self._files: set[int] = set()
        self._folders: set[int] = set()
        for name in given:
            self._take(name)

    def give(self, ids: list[str]) -> Iterator[str]:
        """The names of new images, in their order. The folders of all of them are taken before the first name is."""
        for folder in {id.rpartition("/")[0] for id in ids}:
            self._folders.update(map(_key, _folders(f"{folder}/")))
        for id in ids:
            name = next(name for name in self._candidates(id) if self._free(name))
            self._take(name)
            yield name

    def _candidates(self, id: str) -> Iterator[str]:
        folder, slash, last = id.rpartition("/")
        stem, dot, _ = last.rpartition(".")
        yield f"{folder}{slash}{stem if stem and dot else last}{self._ending}"
        yield f"{id}{self._ending}"
        # At the top: its own folder may have the name of another's file.
        digest = hashlib.sha256(id.encode("utf-8", "surrogatepass")).hexdigest()
        yield from (f"{digest[:length]}{self._ending}" for length in (16, 64))

    def _free(self, name: str) -> bool:
        key = _key(name)
        return not (
            key in self._files or key in self._folders or any(_key(folder) in self._files for folder in _folders(name))
        )

    def _take(self, name: str) -> None:
        self._files.add(_key(name))
        self._folders.update(map(_key, _folders(name)))


def _folders(name: str) -> Iterator[str]:
    """All folders above a name: `a/b/c` has `a` and `a/b`."""
    parts = name.split("/")[:-1]
    return accumulate(parts, lambda above, part: f"{above}/{part}")


def _key(name: str) -> int:
    """A digest that is the same for names that some disk takes for the same."""
    if not name.isascii():
        name = unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())
    folded = name.casefold().encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(folded, digest_size=8).digest())
