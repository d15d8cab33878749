"""storage: files by URL, whole or not at all, whatever their names are; errors in one line."""

import errno
import gc
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PureWindowsPath
from typing import Any, ClassVar

import aiohttp
import fsspec
import httpx2
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from raydream.data import retries, storage, whole_files
from raydream.data.retries import StorageError
from raydream.data.storage import Folder
from raydream.errors import UsageError

ODD_NAMES = [
    "plain.jpg",
    "with space.jpg",
    "夢/ü é.png",
    "#1.jpg",
    "100%25.jpg",
    "a::b.jpg",
    "[x]*?.jpg",
    "[",
    ".hidden/.dot",
    "~tilde.jpg",
    "file:x.jpg",
    "back\\slash{0}$HOME.jpg",
    "deep/er/est/no-ending",
    "new\nline.jpg",
    " ",
]
NOT_UTF8 = os.fsdecode(b"caf\xe9/\xff\xfe.jpg")


@pytest.fixture(params=["local", "local with an odd name", "file://", "memory://"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Folder]:
    """An empty folder of each kind; itself not made yet."""
    if request.param == "memory://":
        yield Folder("memory://storage-tests/a b")
        memory = fsspec.filesystem("memory")
        for path in memory.find("/storage-tests"):
            memory.rm_file(path)
    else:
        name = "out" if request.param == "local" else "o u#%t::[x]*?"
        prefix = "file://" if request.param == "file://" else ""
        yield Folder(f"{prefix}{tmp_path / (name if not prefix else 'out')}")


@pytest.fixture
def locked() -> Iterator[Path]:
    """A folder with the file `open.jpg` and, readable and writable by nobody, the folder `shut` and file `shut.jpg`.

    Root may do everything everywhere, and is somebody else in these tests.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "open.jpg").touch()
        (folder / "shut.jpg").touch(mode=0o000)
        (folder / "shut").mkdir(mode=0o000)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)
        yield folder
        if root:
            os.seteuid(0)
        (folder / "shut").chmod(0o700)


def one_line(error: pytest.ExceptionInfo[UsageError]) -> str:
    message = str(error.value)
    assert message == " ".join(message.split())
    assert len(message) < 400
    return message


# ---- a folder


def test_writers_at_the_same_time_use_different_names(tmp_path: Path) -> None:
    names = [f"cat-{number}.png" for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        used = list(pool.map(lambda n: storage.write_first_free(str(tmp_path), names, bytes([n])), range(8)))
    assert sorted(used) == names
    assert [(tmp_path / name).read_bytes() for name in used] == [bytes([n]) for n in range(8)]
    with pytest.raises(UsageError, match="all names are in use"):
        storage.write_first_free(str(tmp_path), names, b"")
    assert sorted(path.name for path in tmp_path.iterdir()) == names  # no partial file is left


def test_a_new_file_on_a_file_system_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    folder = Folder(str(tmp_path))
    assert folder.write_new("a", b"1")
    assert not folder.write_new("a", b"2")
    assert folder.read("a") == b"1"
    assert list(folder.files()) == ["a"]


def test_every_name_comes_back_as_it_was_with_its_bytes_and_size(folder: Folder) -> None:
    wanted = {name: name.encode() * index for index, name in enumerate(ODD_NAMES)}
    for name, data in wanted.items():
        assert not folder.exists(name)
        folder.write(name, data)
    assert folder.files() == {name: len(data) for name, data in wanted.items()}
    for name, data in wanted.items():
        assert folder.exists(name)
        assert folder.read(name) == data


def test_local_names_that_are_no_text_are_files_too(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    folder.write(NOT_UTF8, b"picture")
    assert folder.files() == {NOT_UTF8: 7}
    assert folder.exists(NOT_UTF8)
    assert folder.read(NOT_UTF8) == b"picture"
    assert Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9/\xff\xfe.jpg")).read_bytes() == b"picture"


def test_a_pattern_in_a_name_reads_no_other_file(folder: Folder) -> None:
    folder.write("x.jpg", b"other")
    folder.write("deep/x.jpg", b"other")
    for name in ("[x].jpg", "*.jpg", "?.jpg", "**/x.jpg", "{x,y}.jpg"):
        assert not folder.exists(name)
        with pytest.raises(FileNotFoundError):
            folder.read(name)


def test_an_empty_place_has_no_files_and_reading_there_is_an_os_error(folder: Folder) -> None:
    assert folder.files() == {}
    assert folder.files("below") == {}
    assert not folder.exists("x")
    with pytest.raises(FileNotFoundError):
        folder.read("x")


def test_files_below_a_name_keep_their_whole_names(folder: Folder) -> None:
    for name in ("a/1", "a/b/2", "ab/3", "4"):
        folder.write(name, b"")
    assert set(folder.files("a")) == {"a/1", "a/b/2"}


def test_new_files_are_seen_by_a_folder_that_has_listed_before(folder: Folder) -> None:
    folder.write("1", b"")
    assert set(folder.files()) == {"1"}
    Folder(folder.url).write("2", b"")
    assert set(folder.files()) == {"1", "2"}


def test_writing_again_replaces_and_leaves_nothing_else(folder: Folder) -> None:
    folder.write("x/y.bin", b"long old content")
    folder.write("x/y.bin", b"new")
    assert folder.files() == {"x/y.bin": 3}
    assert folder.read("x/y.bin") == b"new"


def test_only_paths_of_this_machine_are_local(tmp_path: Path) -> None:
    assert Folder(str(tmp_path)).local
    assert Folder(f"file://{tmp_path}").local
    assert Folder("relative::name").local
    assert not Folder("memory://x").local


def test_a_relative_path_and_a_slash_at_the_end_mean_the_same_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    Folder("a::b/c/").write("x", b"1")
    for url in ("a::b/c", "./a::b/c//", "~/a::b/c", str(tmp_path / "a::b" / "c")):
        assert Folder(url).files() == {"x": 1}
    assert Folder("").files() == Folder(".").files() == {"a::b/c/x": 1}


def test_links_are_followed_but_not_in_circles_and_pipes_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "tom.jpg").write_bytes(b"12345")
    (tmp_path / "dogs").symlink_to("cats")
    (tmp_path / "cats" / "up").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "gone.jpg").symlink_to("nowhere")
    (tmp_path / "one.jpg").symlink_to("cats/tom.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    files = Folder(str(tmp_path)).files()
    assert files == {"cats/tom.jpg": 5, "dogs/tom.jpg": 5, "one.jpg": 5, "gone.jpg": 0, "self": 0}
    assert Folder(str(tmp_path)).read("dogs/tom.jpg") == b"12345"


def test_two_links_that_point_into_each_other_end(tmp_path: Path) -> None:
    for here, there in (("a", "b"), ("b", "a")):
        (tmp_path / here).mkdir()
        (tmp_path / here / f"{here}.jpg").touch()
        (tmp_path / here / "on").symlink_to(tmp_path / there)
    assert set(Folder(str(tmp_path)).files()) == {"a/a.jpg", "a/on/b.jpg", "b/b.jpg", "b/on/a.jpg"}


def test_an_absolute_path_is_the_same_folder_from_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for url in ("a::b", "./a::b/", "c/../a::b", "~/a::b", str(tmp_path / "a::b")):
        assert storage.absolute(url) == str(tmp_path / "a::b")
    for url in ("memory://x/../y", "gs://bucket/", "file://x"):
        assert storage.absolute(url) == url


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(b"1")
    with pytest.raises(UsageError) as error:
        Folder(str(tmp_path / "x.jpg")).files()
    assert "Not a directory" in one_line(error)
    Folder("memory://storage-file").write("x.jpg", b"1")
    assert Folder("memory://storage-file/x.jpg").files() == {}


def test_a_folder_that_must_not_be_listed_is_said_in_one_line(locked: Path) -> None:
    with pytest.raises(UsageError) as error:
        Folder(str(locked / "shut")).files()
    assert "cannot be listed" in one_line(error)
    assert "Permission denied" in one_line(error)


def test_a_folder_inside_that_must_not_be_listed_is_not_passed_over_in_silence(locked: Path) -> None:
    assert set(Folder(str(locked)).files()) == {"open.jpg", "shut.jpg", "shut"}


# ---- whole or not at all

WRITER = """
import sys
from raydream.data.storage import Folder
Folder(sys.argv[1]).write("sub/big.bin", bytes(2_000_000_000))
"""


def wait_for_partial(folder: Path, process: subprocess.Popen[bytes]) -> Path:
    """The file that the process is writing, as soon as a megabyte of it is there."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        for path in (folder / "sub").iterdir():
            if path.stat().st_size > 1_000_000:
                return path
        time.sleep(0.001)
    raise AssertionError("the writer never began, or ended by itself")


def test_a_killed_write_leaves_no_file_of_that_name_and_what_it_left_is_removed(tmp_path: Path) -> None:
    out = Folder(str(tmp_path / "out"))
    out.write("sub/other.bin", b"other")
    with subprocess.Popen([sys.executable, "-c", WRITER, out.url]) as process:
        left = wait_for_partial(tmp_path / "out", process)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert left.exists()  # else nothing was tested
    assert not out.exists("sub/big.bin")
    assert set(out.files()) == {"sub/other.bin", f"sub/{left.name}"}
    assert left.name.startswith(".")  # so that it is no image of a next job, nor part of an opened data set
    out.remove_partial()
    assert out.files() == {"sub/other.bin": 5}


def test_a_write_that_fails_keeps_the_old_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    out = Folder(str(tmp_path))
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="directory"):
        out.write("taken", b"1")
    out.write("x", b"old")
    with pytest.raises(TypeError):
        out.write("x", "no bytes")  # type: ignore[arg-type]
    assert out.files() == {"x": 3}
    assert out.read("x") == b"old"


def test_through_arrow_a_file_is_whole_or_as_it_was_too(tmp_path: Path) -> None:
    """As Ray Train writes its list of checkpoints, again and again over the same file."""
    out = Folder(str(tmp_path / "a folder"))
    filesystem, root = pickle.loads(pickle.dumps(out.arrow()))
    assert root == out.url
    filesystem.create_dir(f"{root}/deep")
    with filesystem.open_output_stream(f"{root}/deep/x") as stream:
        stream.write(b"old")
    stream = filesystem.open_output_stream(f"{root}/deep/x")
    stream.write(b"new")
    stream.flush()
    assert out.read("deep/x") == b"old"
    del stream  # let go of, not closed
    gc.collect()
    assert out.files() == {"deep/x": 3}
    assert out.read("deep/x") == b"old"
    with filesystem.open_output_stream(f"{root}/deep/x") as stream:
        stream.write(b"new")
    with filesystem.open_input_stream(f"{root}/deep/x") as read:
        assert read.read() == b"new"


def test_remove_partial_has_nothing_to_do_elsewhere_and_does_nothing_here(tmp_path: Path) -> None:
    out = Folder(f"memory:/{tmp_path}")
    for folder in (out, Folder(str(tmp_path))):
        folder.write("x.partial", b"an object is whole: this one is somebody's")
    out.remove_partial()
    assert out.exists("x.partial")
    assert (tmp_path / "x.partial").exists()


# ---- errors that pass, and errors that do not


class HttpError(Exception):
    """As gcsfs has it: no OSError."""

    def __init__(self, code: int) -> None:
        super().__init__(f"{code}: the server\n says so")
        self.code = code


class Flaky(MemoryFileSystem):  # type: ignore[misc]
    """A file system whose calls raise the errors in `errors`, one each, before they work."""

    protocol = "flaky"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    errors: ClassVar[list[Exception]] = []

    def _fail(self) -> None:
        if Flaky.errors:
            raise Flaky.errors.pop(0)

    def cat_file(self, *arguments: Any, **options: Any) -> Any:
        self._fail()
        return super().cat_file(*arguments, **options)

    def pipe_file(self, *arguments: Any, **options: Any) -> Any:
        self._fail()
        return super().pipe_file(*arguments, **options)

    def put_file(self, *arguments: Any, **options: Any) -> Any:
        self._fail()
        return super().put_file(*arguments, **options)

    def cp_file(self, *arguments: Any, **options: Any) -> Any:
        self._fail()
        return super().cp_file(*arguments, **options)

    def info(self, *arguments: Any, **options: Any) -> Any:
        self._fail()
        return super().info(*arguments, **options)

    def find(self, *arguments: Any, **options: Any) -> Any:
        self._fail()
        return super().find(*arguments, **options)


@pytest.fixture
def flaky(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The URL `flaky://` works; the waits between attempts take no time and are in this list."""
    fsspec.register_implementation("flaky", Flaky, clobber=True)
    waits: list[float] = []
    monkeypatch.setattr(retries.time, "sleep", waits.append)
    Flaky.errors.clear()
    yield waits
    Flaky.errors.clear()


PASSING = [
    ConnectionResetError("reset"),
    TimeoutError("too slow"),
    OSError(errno.EIO, "Input/output error"),
    HttpError(429),
    HttpError(503),
    aiohttp.ServerDisconnectedError(),
    httpx2.ConnectError("[Errno -2] Name or service not known"),
]
ACTS: dict[str, Callable[[Folder], Any]] = {
    "read": lambda f: f.read("x"),
    "write": lambda f: f.write("y", b"2"),
    "list": lambda f: f.files(),
    "exists": lambda f: f.exists("x"),
    "create": lambda f: _create(f),
    "move": lambda f: f.move("x", "z"),
}


def _create(folder: Folder) -> None:
    with folder.create("y") as file:
        file.write(b"2")


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_errors_that_pass_are_waited_out_longer_and_longer(
    act: Callable[[Folder], Any], flaky: list[float], tmp_path: Path
) -> None:
    folder = Folder(f"flaky:/{tmp_path}")
    folder.write("x", b"1")
    for error in PASSING:
        flaky.clear()
        Flaky.errors += [error] * 3
        act(folder)
        assert not Flaky.errors
        assert len(flaky) == 3
        assert flaky[0] < flaky[1] < flaky[2]
        folder.write("x", b"1")


def test_an_error_that_never_passes_is_one_line_with_the_file(flaky: list[float]) -> None:
    folder = Folder("flaky://bucket/out")
    for act in ACTS.values():
        for error in PASSING:
            Flaky.errors[:] = [error] * 99
            with pytest.raises(StorageError, match="flaky://bucket/out") as caught:
                act(folder)
            assert "\n" not in str(caught.value)
            assert len(Flaky.errors) == 99 - 5


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), HttpError(403), PermissionError(13, "Permission denied")],
)
def test_an_error_that_stays_is_not_retried(error: Exception, flaky: list[float]) -> None:
    Flaky.errors[:] = [error] * 2
    with pytest.raises(OSError, match=r": flaky://bucket/out/data/x$"):
        Folder("flaky://bucket/out").write("data/x", b"1")
    assert flaky == []
    assert len(Flaky.errors) == 1


def test_exists_is_no_no_while_the_server_does_not_answer(flaky: list[float]) -> None:
    Flaky.errors[:] = [HttpError(503)] * 99
    with pytest.raises(StorageError, match="503"):
        Folder("flaky://bucket").exists("x")


def test_a_full_disk_says_which_file_and_is_not_retried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(retries.time, "sleep", lambda _: pytest.fail("waited"))
    monkeypatch.setattr(whole_files.WholeFile, "flush", full)
    out = Folder(str(tmp_path))
    for act in (ACTS["write"], ACTS["create"]):
        with pytest.raises(StorageError) as caught:
            act(out)
        assert str(caught.value) == f"No space left on device: {tmp_path}/y"
        assert caught.value.errno == errno.ENOSPC
    assert out.files() == {}


def test_a_file_system_that_is_not_reached_is_one_line_for_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], flaky: list[float]
) -> None:
    from raydream.cli import app, commands

    Flaky.errors[:] = [httpx2.ConnectError("[Errno -2] Name or\nservice not known")] * 99
    with pytest.raises(SystemExit):
        commands.run(app.app, "raydream", ["inspect", "flaky://datasets/x"])
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "Name or service not known: flaky://datasets/x/_raydream/sweep.json" in said


# ---- parts of files, files written piece by piece, new names


def test_a_part_of_a_file_is_read(folder: Folder) -> None:
    folder.write("digits", b"0123456789")
    assert folder.read("digits", 2, 5) == b"234"
    assert folder.read("digits", 8, 99) == b"89"
    assert folder.size("digits") == 10


def test_a_file_written_piece_by_piece_is_there_at_the_end_or_not_at_all(folder: Folder) -> None:
    with folder.create("a/x") as file:
        file.write(b"one ")
        assert not folder.exists("a/x")
        file.write(b"two")
    assert folder.read("a/x") == b"one two"
    with pytest.raises(TypeError), folder.create("a/x") as file:
        file.writelines([b"half", "no bytes"])  # type: ignore[list-item]
    assert folder.read("a/x") == b"one two"
    assert folder.files() == {"a/x": 7}


def test_a_file_takes_a_new_name_over_any_that_has_it(folder: Folder) -> None:
    folder.write("a/x", b"1")
    folder.write("b/y", b"2")
    folder.move("a/x", "b/y")
    folder.remove("nothing")
    assert folder.files() == {"b/y": 1}
    assert folder.read("b/y") == b"1"
    folder.remove("b/y")
    assert folder.files() == {}


# ---- the output apart from the input


@pytest.mark.parametrize(
    "output",
    ["{in}", "{in}/out", "file://{in}/out", "{in}/../in/deep/er", "{link}/out", "file://{link}", "{in}/deep/../x/"],
)
def test_an_output_below_the_input_is_refused_however_it_is_written(output: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "link").symlink_to("in")
    output = output.replace("{in}", str(tmp_path / "in")).replace("{link}", str(tmp_path / "link"))
    for source in (f"{tmp_path}/in", f"file://{tmp_path}/in", f"{tmp_path}/link/"):
        with pytest.raises(UsageError, match="lies in the input"):
            storage.check_apart(source, output)


def test_an_output_beside_the_input_or_above_it_is_fine(tmp_path: Path) -> None:
    for output in (f"{tmp_path}/input2", f"{tmp_path}", f"memory:/{tmp_path}/in/out", "memory://bucket/in2"):
        storage.check_apart(f"{tmp_path}/in", output)
    storage.check_apart("memory://bucket/in", "memory://bucket/in2")
    with pytest.raises(UsageError, match="lies in the input"):
        storage.check_apart("memory://bucket/in/", "memory://bucket/in/out")


# ---- one file by URL


def test_read_takes_odd_local_paths_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (*ODD_NAMES, NOT_UTF8):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"here")
        assert storage.read(name) == b"here"
        assert storage.read(str(tmp_path / name)) == b"here"


def test_write_and_read_by_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for url in ("x.png", "new/er/x.png", str(tmp_path / "y.png"), "memory://storage-write/x.png", "a::b.png"):
        storage.write(url, url.encode())
        assert storage.read(url) == url.encode()
    assert (tmp_path / "new" / "er" / "x.png").read_bytes() == b"new/er/x.png"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("{tmp}/none.jpg", "does not exist"),
        ("memory://none.jpg", "does not exist"),
        ("{tmp}", "Is a directory"),
        ("zzz://x/y.jpg", "Protocol not known: zzz"),
        ("s3://x/y.jpg", "s3fs"),
        ("http://127.0.0.1:1/y.jpg", "Cannot connect"),
        ("zip://x::{tmp}/none.zip", "does not exist"),
        ("github://x", "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line_with_what_it_was_to_be(url: str, said: str, tmp_path: Path) -> None:
    url = url.replace("{tmp}", str(tmp_path))
    with pytest.raises(UsageError) as error:
        storage.read(url, what="photograph")
    assert one_line(error).startswith(f"photograph {url} ")
    assert said in one_line(error)


@pytest.mark.parametrize("url", ["zzz://x", "s3://bucket/x", "github://x", "zip://x::{tmp}/none.zip"])
def test_a_folder_that_cannot_be_reached_is_said_in_one_line(url: str, tmp_path: Path) -> None:
    for act in (lambda f: f.files(), lambda f: f.exists("x"), lambda f: f.write("x", b""), lambda f: f.local):
        with pytest.raises(UsageError) as error:
            act(Folder(url.replace("{tmp}", str(tmp_path))))
        assert one_line(error).startswith("URL ")


def test_what_must_not_be_read_or_written_is_said_in_one_line(locked: Path) -> None:
    with pytest.raises(UsageError) as error:
        storage.read(str(locked / "shut.jpg"))
    assert "Permission denied" in one_line(error)
    with pytest.raises(UsageError) as error:
        storage.write(str(locked / "shut" / "x.jpg"), b"")
    assert one_line(error) == f"{locked}/shut/x.jpg cannot be written: Permission denied"


def test_where_a_picture_cannot_be_written_shows_before_it_is_made(tmp_path: Path) -> None:
    storage.check_writable(str(tmp_path / "new" / "folder" / "x.png"))
    storage.check_writable("memory://anywhere/x.png")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="not a folder"):
        storage.check_writable(str(tmp_path / "file" / "x.png"))


def test_a_missing_drive_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A path none of whose folders exist: the root of a drive has itself as its parent."""
    monkeypatch.setattr(Path, "exists", lambda self: False)
    with pytest.raises(UsageError, match="is not a folder"):
        storage.check_writable("/none/x.png")


def test_a_path_is_split_by_this_systems_separators_and_a_url_by_slashes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert storage.split("a/b.png") == ("a", "b.png")
    assert storage.split("b\\c.png") == (".", "b\\c.png")
    assert storage.split("gs://bucket/a/b.png") == ("gs://bucket/a/", "b.png")
    monkeypatch.setattr(storage, "PurePath", PureWindowsPath)
    assert storage.split("C:\\photos\\cat.jpg") == ("C:\\photos", "cat.jpg")
    assert storage.split("C:/photos/cat.jpg") == ("C:\\photos", "cat.jpg")
    assert storage.split("gs://bucket/a/b.png") == ("gs://bucket/a/", "b.png")


def test_join_keeps_a_name_that_begins_with_a_tilde_in_its_folder() -> None:
    assert storage.join(".", "~root/x.png") == "./~root/x.png"
    assert storage.join("gs://bucket", "x.png") == "gs://bucket/x.png"
    assert storage.join("memory://", "x.png") == "memory://x.png"


def test_exists_asks_any_file_system(tmp_path: Path) -> None:
    storage.write(str(tmp_path / "x.png"), b"1")
    storage.write("memory://storage-exists/x.png", b"1")
    for folder in (str(tmp_path), "memory://storage-exists"):
        assert storage.exists(f"{folder}/x.png")
        assert not storage.exists(f"{folder}/y.png")
    with pytest.raises(UsageError, match="Protocol not known"):
        storage.exists("zzz://x.png")
