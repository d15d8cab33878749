"""Names of dreams: unique on every file system, and never changed later."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import accumulate

from raydream.data.rows import printable
from raydream.errors import UsageError


class Names:
    """Gives each image the name of its dream.

    A name is the image's id with a new ending (`cats/tom.jpg` -> `cats/tom.png`). If that name is taken, the ending is
    appended (`cats/tom.jpg.png`). If that is taken, too, the name is a digest of the id. Names also differ on file
    systems that do not distinguish upper and lower case, or composed and decomposed letters. No name is equal to a
    folder of another dream.

    Used names are stored as 64-bit digests, which saves memory for millions of names. If two digests are equal by
    chance, a dream only gets a longer name than necessary.
    """

    def __init__(self, ending: str, given: Iterable[str] = ()) -> None:
        """`ending` includes the dot; `given` are names that are already in use."""
        self._ending = ending
        self._files: set[int] = set()
        self._folders: set[int] = set()
        for name in given:
            self._take(name)

    def give(self, ids: list[str]) -> Iterator[str]:
        """The names of new images, in order. The folders of all images are reserved before the first name is given."""
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
        # In the top folder, since the image's own folder may have the same name as another dream.
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


def check_folder_name(name: str, where: str) -> None:
    """Raises a `UsageError` if a class cannot be the name of a folder; `where` the class is named, for the message."""
    if not name or name.startswith(".") or set(name) & {*'/\\:*?"<>|'} or not name.isprintable() or len(name) > 100:
        raise UsageError(
            f"{where}: {name[:120]!r} cannot be a class, since it is the name of a folder: "
            'it has at most 100 characters, none of / \\ : * ? " < > |, and does not begin with a dot'
        )


def _folders(name: str) -> Iterator[str]:
    """All folders above a name: `a` and `a/b` for `a/b/c`."""
    parts = name.split("/")[:-1]
    return accumulate(parts, lambda above, part: f"{above}/{part}")


def _key(name: str) -> int:
    """A digest that is equal for names that are equal on some file system, or in the columns of a data set."""
    name = printable(name)
    if not name.isascii():
        name = unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())
    folded = name.casefold().encode()
    return int.from_bytes(hashlib.blake2b(folded, digest_size=8).digest())
