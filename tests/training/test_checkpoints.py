"""What a run goes on from, and what it refuses to write over."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny import IMAGES, TINY, checkpoint, curve, manifest, table

from aevb import paths
from aevb.errors import ConfigurationError, DamagedFileError
from aevb.results import curves, provenance
from aevb.training import checkpoints
from aevb.training.job import Job
from aevb.training.loop import Stopped, Training

OTHER_IMAGES = replace(IMAGES, checksums={"a file": "another digest"})


@contextmanager
def edited_checkpoint() -> Iterator[dict[str, Any]]:
    """The content of the checkpoint, written back as it was left."""
    content = checkpoints.read(checkpoint())
    yield content
    checkpoints.write(checkpoint(), content)


def trained(budget: float) -> bytes:
    """The curve's file after a run to this budget in a process of its own."""
    Job(TINY, IMAGES).train(budget)
    return curve().read_bytes()


def interrupted(budget: float, samples: int) -> None:
    """A run that is asked to stop after so many samples."""
    stopped = Job(TINY, IMAGES)
    with pytest.raises(Stopped):
        stopped.train(budget, stop_requested=lambda: stopped.training.samples >= samples)


def with_a_smaller_budget(_: pytest.MonkeyPatch) -> None:
    assert len(trained(500)) < len(trained(1000))


def stopped_before_its_first_log_point(_: pytest.MonkeyPatch) -> None:
    interrupted(2000, 10)
    assert checkpoint().exists()
    assert not curve().exists()


def stopped_between_log_points(_: pytest.MonkeyPatch) -> None:
    interrupted(2000, 1700)
    assert table().samples.iloc[-1] == 1580


def failed(_: pytest.MonkeyPatch) -> None:
    def fail(_: int, training: Training) -> None:
        if training.samples > 1700:
            raise MemoryError

    with pytest.raises(MemoryError):
        Job(TINY, IMAGES).train(2000, report=fail, seconds_between_checkpoints=0)
    with edited_checkpoint() as content:
        assert content["training"]["samples"] == 1680
        assert content["training"]["rows"][-1]["samples"] == 1580


def on_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(curves, "write", full)
        with pytest.raises(OSError, match="No space left"):
            trained(2000)
    assert not curve().exists()


@pytest.mark.parametrize(
    "interrupt",
    [
        with_a_smaller_budget,
        stopped_before_its_first_log_point,
        stopped_between_log_points,
        failed,
        on_a_full_disk,
    ],
)
def test_a_run_in_parts_gives_the_curve_of_one_that_is_not(
    project: Path, monkeypatch: pytest.MonkeyPatch, interrupt: Any
) -> None:
    monkeypatch.setattr("aevb.training.loop.SAMPLES_BETWEEN_REPORTS", 100)
    whole = trained(2000)
    shutil.rmtree(paths.local())
    interrupt(monkeypatch)
    assert trained(2000) == whole
    assert manifest()["samples"] == 2000


def test_a_budget_that_is_reached_changes_nothing(project: Path) -> None:
    assert trained(1000) == trained(500)


def test_two_processes_do_not_train_the_same_run(project: Path) -> None:
    """The second would write its checkpoint over that of the first, which may be further."""
    refused = []

    def meanwhile(*_: object) -> None:
        with pytest.raises(ConfigurationError, match=rf"{TINY.name} .*{TINY.name}\.lock") as error:
            trained(1000)
        refused.append(error)
        Job(replace(TINY, seed=9), IMAGES).train(100)  # another run may train

    Job(TINY, IMAGES).train(200, report=meanwhile)
    assert refused
    assert table().samples.iloc[-1] == 200
    trained(300)


def test_a_checkpoint_is_not_continued_on_another_kind_of_device(project: Path) -> None:
    trained(100)
    with edited_checkpoint() as content:
        content["makers"][-1]["hardware"]["device"] = "cuda"
    with pytest.raises(ConfigurationError, match="--device cuda"):
        trained(200)


def test_a_checkpoint_of_other_settings_is_not_continued(project: Path) -> None:
    trained(500)
    other = Job(replace(TINY, warmup=7), IMAGES)
    with pytest.raises(ConfigurationError, match=rf"`aevb run {TINY.name} .*warmup is 7, not 5"):
        other.train(1000)
    curve().unlink()
    with pytest.raises(ConfigurationError, match=rf"{checkpoint()} .*--set .*--study"):
        other.train(1000)


def test_a_checkpoint_of_another_format_is_named_with_its_remedy(project: Path) -> None:
    trained(100)
    with edited_checkpoint() as content:
        del content["format"]  # as in the first ones
    with pytest.raises(
        DamagedFileError, match=rf"^{checkpoint()} .*version.* delete it.*$"
    ) as error:
        trained(200)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("bytes_left", [0, 1000])
def test_a_checkpoint_that_is_damaged_is_named_with_its_remedy(
    project: Path, bytes_left: int
) -> None:
    trained(100)
    checkpoint().write_bytes(checkpoint().read_bytes()[:bytes_left])
    with pytest.raises(DamagedFileError, match=rf"{checkpoint()} .* delete it"):
        trained(200)


def test_a_flipped_bit_in_a_checkpoint_is_noticed(project: Path) -> None:
    trained(100)
    whole = checkpoint().read_bytes()
    for place in range(0, len(whole), len(whole) // 50):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        checkpoint().write_bytes(damaged)
        with pytest.raises(DamagedFileError, match=f"{checkpoint()} .* delete it"):
            checkpoints.read(checkpoint())


def test_what_a_killed_process_left_half_written_is_swept(project: Path) -> None:
    trained(100)
    left = [f.with_name(f".{f.name}.0123.part") for f in (checkpoint(), curve())]
    others = checkpoint().with_name(".another-run.pt.0123.part")
    for file in (*left, others):
        file.write_text("half")
    trained(200)
    assert not any(file.exists() for file in left)
    assert others.exists()


@pytest.mark.parametrize("lost", ["nothing", "curve", "checkpoint"])
def test_a_run_is_not_continued_on_other_data(project: Path, lost: str) -> None:
    trained(500)
    for file in {"nothing": [], "curve": [curve()], "checkpoint": [checkpoint()]}[lost]:
        file.unlink()
    with pytest.raises(ConfigurationError, match=r"other data.*another digest.*its digest"):
        Job(TINY, OTHER_IMAGES).train(1000)
    assert not curve().exists() or table().samples.iloc[-1] < 1000


def test_a_curve_that_was_lost_is_written_again(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, before = trained(1000), manifest()
    curve().unlink()
    monkeypatch.setattr(provenance, "commit", lambda: "of other code")
    assert trained(1000) == whole
    assert manifest()["commit"] == before["commit"]


def test_a_curve_that_is_damaged_is_written_again(project: Path) -> None:
    whole = trained(1000)
    without_its_end = b"".join(whole.splitlines(keepends=True)[:-1])
    for content in (without_its_end, whole[:-4], b"", b"samples\n", b"\x00\x01", b"{}", b"[]"):
        for file in (curve(), curve().with_suffix(".json")):
            file.write_bytes(content)
            assert trained(1000) == whole
            assert manifest()["samples"] == 1000


def test_a_curve_without_its_checkpoint_is_not_shortened(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aevb.training.loop.SAMPLES_BETWEEN_REPORTS", 50)
    whole = trained(1000)
    checkpoint().unlink()
    with pytest.raises(ConfigurationError, match=rf"{curve()} .*budget of 1000 or more"):
        trained(500)
    for samples in (200, 400):  # through any number of stops
        interrupted(1000, samples)
        assert checkpoint().exists()
        assert curve().read_bytes() == whole
    assert trained(500) == whole
    assert trained(1000) == whole


def test_a_curve_without_its_checkpoint_and_manifest_is_not_shortened(project: Path) -> None:
    """Deleting a damaged manifest is what its error asks for."""
    whole, beside = trained(1000), curve().with_suffix(".json")
    checkpoint().unlink()
    beside.write_text("{}")
    with pytest.raises(DamagedFileError, match=rf"{beside} .*delete it"):
        trained(1000)
    beside.unlink()
    with pytest.raises(ConfigurationError, match="budget of 1000 or more"):
        trained(500)
    assert curve().read_bytes() == whole
    assert trained(1000) == whole


def test_a_curve_without_its_checkpoint_is_not_replaced_by_other_settings(project: Path) -> None:
    whole = trained(500)
    checkpoint().unlink()
    with pytest.raises(ConfigurationError, match=rf"{curve()} .*warmup is 7, not 5.*--study"):
        Job(replace(TINY, warmup=7), IMAGES).train(1000)
    assert curve().read_bytes() == whole
