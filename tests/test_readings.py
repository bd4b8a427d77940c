"""The final models of Figure 3 under other readings than those of its curves."""

import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from aevb import data, paths
from aevb.comparison import compare, readings
from aevb.data import Dataset
from aevb.errors import DamagedFileError
from aevb.inference.hmc import Joint
from aevb.inference.likelihood import (
    appendix_d,
    importance_sampled,
    mispaired_rows,
    sample_posterior,
    starting_points,
)
from aevb.model.networks import Architecture, Initialisation, Model, initialised
from aevb.model.randomness import generator
from aevb.results import curves, models
from aevb.training import experiments, job


def small_model() -> Model:
    """A decoder of 12 pixels with weights large enough to say something."""
    sizes = Architecture(12, 7, 3, "bernoulli")
    return initialised(sizes, Initialisation(std=1.0), generator(0, "start")).requires_grad_(False)


def images(rows: int) -> Tensor:
    return torch.rand(rows, 12, generator=torch.Generator().manual_seed(0)).round()


def test_several_chains_never_read_lower_than_one_and_nothing_is_left_to_chance() -> None:
    decoder = small_model().decoder
    found = readings.of(decoder, images(8), "test")
    assert list(found) == [
        *("appendix_d", "appendix_d_last_half", "mispaired", "one_chain", "four_chains")
    ]
    assert found["four_chains"] >= found["one_chain"]
    assert found["appendix_d"] == pytest.approx(found["four_chains"], abs=0.5)
    assert readings.of(decoder, images(8), "test") == found
    assert readings.of(decoder, images(8), "another")["appendix_d"] != found["appendix_d"]


def test_of_one_image_every_reading_is_of_that_image() -> None:
    found = readings.of(small_model().decoder, images(1), "test")
    assert found["mispaired"] == pytest.approx(found["appendix_d"])
    assert found["appendix_d_last_half"] == found["appendix_d"]
    assert math.isfinite(found["one_chain"])


def test_without_models_or_a_table_it_says_so(project: object) -> None:
    with pytest.raises(FileNotFoundError, match=r"no models of Figure 3 .*: run this in a"):
        readings.write()
    said = r"no readings at .*: run this in a .*`aevb readings` makes it again"
    with pytest.raises(FileNotFoundError, match=said):
        readings.read()
    paths.readings().parent.mkdir(parents=True)
    paths.readings().write_text("")
    with pytest.raises(DamagedFileError, match=r"figure3\.csv cannot be read .*`aevb readings`"):
        readings.read()


def test_the_published_readings_are_of_every_run_and_of_the_models_that_are_there() -> None:
    table, files = readings.read(), readings.final_models()
    about = json.loads(paths.readings().with_suffix(".json").read_text())
    assert about["models_sha256"] == {
        file.stem: hashlib.sha256(file.read_bytes()).hexdigest() for file in files
    }
    seeds = {file.stem.rpartition("seed")[2] for file in files}
    assert len(seeds) == 1
    runs = [run.name for run in experiments.figure3(int(seeds.pop()))]
    assert sorted(zip(table.run, table.split, strict=True)) == sorted(
        (run, split) for run in runs for split in ("train", "test")
    )
    assert not about["commit"].endswith("-dirty")


def test_a_model_of_figure3_is_the_end_of_its_published_curve() -> None:
    for file in readings.final_models():
        curve = paths.curve(paths.published(), "figure3", file.stem)
        made_by = models.read(file)[1]
        today = {"configuration": curves.configuration(made_by)}
        assert made_by | today == curves.read_manifest(curve)


def test_the_published_readings_agree_with_the_curves() -> None:
    """Other chains, weights in half precision: half a nat apart at most, on average less."""
    table = readings.read()
    apart = []
    for row in table.itertuples():
        end = curves.read(paths.curve(paths.published(), "figure3", str(row.run))).iloc[-1]
        assert row.samples == end.samples
        apart += [
            row.appendix_d - end[str(row.split)],
            row.one_chain - end[f"{row.split}_accurate"],
        ]
    assert np.abs(apart).max() < 0.5
    assert np.abs(np.mean(apart)) < 0.1
    assert (table.four_chains >= table.one_chain).all()
    assert (table.mispaired - table.appendix_d_last_half).between(-1.2, -0.5).all()


def against_the_paper() -> pd.DataFrame:
    """Ours minus the paper's at the end of every curve of Figure 3, straight from the files.

    The mean over seeds, `mean`, and its `sd`; of the seed whose model was read, as it is (`proper`)
    and by the inferred reading (`inferred`).
    """
    paper, table = curves.paper_figure("figure3"), readings.read()
    table["curve"] = table.run.str.rpartition("-seed")[0]
    rows = []
    for run in experiments.figure3():
        name = run.name.removesuffix("-seed0")
        folder = paths.published() / "curves" / "figure3"
        ends = pd.DataFrame(
            [curves.read(file).iloc[-1] for file in folder.glob(f"{name}-seed*.csv")]
        )
        assert len(ends) == 3
        for split in ("train", "test"):
            theirs = paper[(paper.n_train == run.n_train) & (paper.algorithm == run.algorithm)]
            theirs = theirs[theirs.split == split].sort_values("samples")
            samples = np.log10([min(ends.samples.iloc[0], theirs.samples.max())])
            there = np.interp(samples, np.log10(theirs.samples), theirs.marginal_loglik)[0]
            model = table[(table.curve == name) & (table.split == split)].iloc[0]
            proper = curves.read(folder / f"{model.run}.csv")[split].iloc[-1] - there
            rows.append(
                {
                    "curve": name,
                    "mean": ends[split].mean() - there,
                    "sd": ends[split].std(),
                    "proper": proper,
                    "inferred": proper + model.mispaired - model.appendix_d,
                }
            )
    return pd.DataFrame(rows)


def test_the_chapter_on_the_offset_and_the_readme_say_what_the_files_say() -> None:
    notebook = (paths.root() / "book" / "notebooks" / "figure3-offset.ipynb").read_text()
    said = json.dumps(
        [cell.get("outputs") for cell in json.loads(notebook)["cells"]], ensure_ascii=False
    )
    table = against_the_paper()
    assert len(table) == 12
    for mean, sd, proper, inferred in table.drop(columns="curve").to_numpy():
        assert f" ± {sd:.1f} | {compare.signed(mean)} | " in said
        assert f" | {compare.signed(proper)} | " in said
        assert f" | {compare.signed(inferred)} | " in said
    within = {c: (table[c].abs() < 1.5).sum() for c in ("mean", "proper", "inferred")}
    assert f"as they are**: {within['proper']} of 12 curves" in said
    assert f"By the inferred reading**: {within['inferred']} of 12." in said
    assert (table["mean"] > 0).all()
    # "So the inferred reading takes away the offset that is common to the curves."
    assert abs(table.inferred[table.curve != "n50000-aevb"].mean()) < 0.5
    readme = (paths.root() / "README.md").read_text()
    one, ten = ({1: "one", 10: "ten"}[within[c]] for c in ("mean", "inferred"))
    assert f"all twelve curves end above the paper's, {one} of them within 1.5 nats" in readme
    assert f"{ten} of the twelve of the seed that was so read end within 1.5 nats" in readme


def test_every_reading_is_of_its_estimator_over_four_chains() -> None:
    decoder, x, chains = small_model().decoder, images(8), []
    for k in range(4):
        joint, noise = Joint(decoder, x), generator(k, "readings: test")
        samples = sample_posterior(joint, starting_points(joint, 3, noise), noise)
        values = (
            appendix_d(samples),
            mispaired_rows(samples),
            importance_sampled(joint, samples, noise, n_samples=50),
        )
        chains.append([value.double() for value in values])
    proper, mispaired, sampled = (torch.stack(of) for of in zip(*chains, strict=True))
    assert readings.of(decoder, x, "test") == pytest.approx(
        {
            "appendix_d": proper.mean().item(),
            "appendix_d_last_half": proper[:, 4:].mean().item(),
            "mispaired": mispaired.mean().item(),
            "one_chain": sampled.mean().item(),
            "four_chains": sampled.exp().mean(0).log().mean().item(),
        }
    )


def test_the_rows_of_a_model_are_of_its_training_and_of_the_test_images(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mnist = Dataset("mnist", images(9), images(0), 1 - images(6), (3, 4))
    monkeypatch.setattr(data, "load", lambda _: mnist)
    run = replace(experiments.figure3_run(9, "aevb"), n_hidden=4)
    parameters = job.start(run, mnist).state()["parameters"]
    model = paths.model(paths.published(), "figure3", run.name)
    models.write(model, parameters, {"samples": 100, "configuration": run.configuration})
    seen: dict[str, Tensor] = {}

    def of(_: Any, x: Tensor, purpose: str) -> dict[str, float]:
        seen[purpose] = x
        return {"appendix_d": x.sum().item()}

    monkeypatch.setattr(readings, "of", of)
    table = pd.read_csv(readings.write()).set_index("split").appendix_d
    assert set(seen) == {f"{run.name} train", f"{run.name} test"}
    assert table["train"] == pytest.approx(mnist.train.sum().item(), rel=1e-5)
    assert table["test"] == pytest.approx(mnist.test.sum().item(), rel=1e-5)
