"""How the files are read, scaled and split."""

import gzip
import hashlib
import importlib
import itertools
import types

import pytest
import scipy.io
import torch

from aevb import data
from aevb.data import freyface, mnist

MNIST = [file.name for file in mnist.FILES]
FREY = freyface.FILES[0].name


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


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
    _, found = failing_import(monkeypatch, "operator torchvision::nms does not exist")
    assert mnist.torchvision_mnist() is found


def test_any_other_error_is_let_through(monkeypatch: pytest.MonkeyPatch) -> None:
    declared, _ = failing_import(monkeypatch, "operator torchvision::roi_align does not exist")
    with pytest.raises(RuntimeError, match="roi_align"):
        mnist.torchvision_mnist()
    assert declared == []


def test_torchvision_itself() -> None:
    first = mnist.torchvision_mnist()
    assert first is mnist.torchvision_mnist()
    assert first is importlib.import_module("torchvision.datasets").MNIST


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


# ------------------------------------------------------------------------------ loading


def digest(images: torch.Tensor, levels: int) -> str:
    """SHA-256 of the images' bytes, once their grey levels are integers again."""
    whole = (images * levels).round()
    torch.testing.assert_close(whole / levels, images, rtol=0, atol=0)
    return sha256(whole.to(torch.uint8).numpy().tobytes())


@pytest.mark.data("mnist")
def test_mnist() -> None:
    assert "mnist" in data.available()
    loaded = data.load("mnist")
    assert loaded.checksums == {file.name: file.sha256 for file in mnist.FILES}
    assert loaded.split == 0
    assert (loaded.train.shape, loaded.validation.shape, loaded.test.shape) == (
        (50_000, 784),
        (10_000, 784),
        (10_000, 784),
    )
    for images in (loaded.train, loaded.validation, loaded.test):
        assert images.dtype == torch.float32
        assert images.is_contiguous()
        assert (images.min().item(), images.max().item()) == (0, 1)
        # not thresholded: about a fifth of a digit's pixels carry ink, most of them some grey
        grey = ((images > 0) & (images < 1)).double().mean()
        assert 0.15 < grey < 0.20
    # the canonical order: 5 0 4 1 9 opens the training set, 7 2 1 0 4 the test set
    assert loaded.train_labels is not None
    assert loaded.validation_labels is not None
    assert loaded.test_labels is not None
    assert loaded.train_labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert loaded.test_labels[:5].tolist() == [7, 2, 1, 0, 4]
    labels = torch.cat([loaded.train_labels, loaded.validation_labels])
    assert labels.bincount().tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949,
    ]  # fmt: skip
    assert loaded.test_labels.bincount().tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip
    # the very bytes of the idx files, after their 16 bytes of header
    for parts, file in [((loaded.train, loaded.validation), MNIST[0]), ((loaded.test,), MNIST[2])]:
        (path,) = [path for path in data.fetch("mnist") if path.name == file]
        assert digest(torch.cat(parts), 255) == sha256(gzip.decompress(path.read_bytes())[16:])


@pytest.mark.data("freyface")
def test_freyface() -> None:
    assert "freyface" in data.available()
    frey = data.load("freyface")
    assert frey.checksums == {FREY: freyface.FILES[0].sha256}
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
    torch.manual_seed(7)
    state = torch.get_rng_state()
    assert torch.equal(data.load("freyface").test, frey.test)
    assert torch.equal(torch.get_rng_state(), state), "a caller's random numbers are left alone"
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
