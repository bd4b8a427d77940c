"""What the paper's curves and ours say of its claims."""

from pathlib import Path

import pandas as pd
import pytest
from published import change, publish

from aevb import paths
from aevb.comparison import claims
from aevb.results import curves
from aevb.training import experiments, names
from aevb.training.run import Run


def pair(dataset: str, nz: int) -> tuple[Run, Run]:
    aevb, wake_sleep = (
        names.parse(f"{dataset}-nz{nz}-{name}-seed0") for name in experiments.ALGORITHMS["figure2"]
    )
    return aevb, wake_sleep


def publish_every_pair(aevb: dict[float, float], wake_sleep: dict[float, float]) -> None:
    for dataset, latents in experiments.NZ.items():
        for nz in latents:
            for run, values in zip(pair(dataset, nz), (aevb, wake_sleep), strict=True):
                publish(run, values)


def table(study: str, name: str) -> pd.DataFrame:
    return curves.published(study, name).table


def ours() -> list[claims.Finding]:
    return [verdict.ours for verdict in claims.verdicts()]


def test_short_curves_decide_nothing(project: Path) -> None:
    assert [(finding.holds, finding.so_far) for finding in ours()] == [(None, None)] * 6
    publish_every_pair({1e5: -300, 1e6: -110}, {1e5: -300, 1e6: -120})
    found = ours()
    assert [finding.holds for finding in found] == [None] * 6
    assert [finding.so_far for finding in found] == [True, True, True, None, None, None]
    assert "not decided" in found[0].verdict
    assert "9 of 9 panels, of which 0 are read at the edge" in found[0].evidence


def test_curves_to_the_edge_decide_and_one_panel_is_enough_to_refute(project: Path) -> None:
    publish_every_pair({1e5: -300, 1e6: -110, 6e8: -100}, {1e5: -300, 6e8: -120})
    assert [finding.holds for finding in ours()[:4]] == [True, True, True, True]
    assert ours()[0].effect == "MNIST: +36.7 nats; Frey Face: +54.3 nats"
    # The end of wake-sleep is enough for the speed, if AEVB has reached it, but not for the height.
    publish(pair("mnist", 3)[0], {1e5: -300, 1e6: -110})
    assert [finding.holds for finding in ours()[:2]] == [None, True]
    publish(pair("mnist", 5)[0], {1e5: -300, 6e8: -200})
    assert [finding.holds for finding in ours()[:2]] == [False, False]


def test_more_latent_variables_overfit_if_their_test_bound_is_lower(project: Path) -> None:
    publish(pair("mnist", 20)[0], {1e5: -300, 2.5e8: -100})
    publish(pair("mnist", 200)[0], {1e5: -300, 2.5e8: -103})
    found = ours()[2]
    assert found.holds is False
    assert "−3.0 nats" in found.evidence
    assert found.effect == "−3.0 nats at 250\u00a0M"


def test_train_is_held_against_the_images_of_the_papers_test_curve(project: Path) -> None:
    found = {nz: publish(pair("mnist", nz)[0], {1e5: -100, 1e6: -100}) for nz in (20, 200)}
    for nz, gap in ((20, 1.0), (200, 2.0)):
        change(found[nz], test=-90.0, validation=-100.0 - gap)
    assert "train minus validation is +2.0 and +1.0 nats with 200 and 20" in ours()[2].evidence
    for nz in (20, 200):
        change(found[nz], validation=None)
    assert "train minus validation is – and – nats with 200 and 20" in ours()[2].evidence


def test_a_fall_beyond_the_axis_refutes(project: Path) -> None:
    publish(pair("freyface", 5)[0], {1e5: 0, 1.01e8: 1100})
    assert ours()[3].so_far is None
    publish(pair("freyface", 5)[0], {1e5: 0, 1e8: 1100, 3e8: 1090})
    found = ours()[3]
    assert (found.holds, found.so_far) == (None, True)
    publish(pair("freyface", 5)[0], {1e5: 0, 1e8: 1100, 3e8: 1000})
    assert ours()[3].holds is False


def test_beyond_the_axis_the_seed_that_goes_furthest_is_read(project: Path) -> None:
    publish(pair("freyface", 5)[0], {1e5: 0, 1e8: 1100, 3e8: 1090})
    publish(names.parse("freyface-nz5-aevb-seed2"), {1e5: 0, 1e8: 1110, 4e8: 900})
    found = ours()[3]
    assert found.holds is False
    assert "Nz = 5 from 1,110.0 to 900.0 nats at 400\xa0M" in found.evidence


def test_verdicts_on_the_papers_own_curves() -> None:
    """What holds in the paper's own data, computed anew from its files."""
    two, three = (pd.read_csv(paths.paper() / f"figure{k}.csv") for k in (2, 3))
    whole = two[(two.algorithm == "aevb") & (two.split == "test")].sort_values("samples")
    two, three = (t[t.visible & (t.split == "test")].sort_values("samples") for t in (two, three))
    panels = [(dataset, nz) for dataset, latents in experiments.NZ.items() for nz in latents]
    end = {}
    for dataset, nz in panels:
        here = two[(two.dataset == dataset) & (two.nz == nz)]
        aevb, wake_sleep = (here[here.algorithm == a] for a in ("aevb", "wake-sleep"))
        end[dataset, nz] = aevb.lower_bound.iloc[-1]
        level = wake_sleep.lower_bound.iloc[-1]
        assert end[dataset, nz] > level
        first = [c[c.lower_bound >= level].samples.min() for c in (aevb, wake_sleep)]
        assert first[0] < first[1]
    assert end["mnist", 200] > end["mnist", 20] - 1
    by_nz = whole[whole.dataset == "freyface"].groupby("nz").lower_bound
    highest, last = by_nz.max(), by_nz.last()
    assert [nz for nz in highest.index if last[nz] < 0.98 * highest[nz]] == [5, 10, 20]
    gain = {}
    for n_train in experiments.N_TRAIN:
        ends = three[three.n_train == n_train].groupby("algorithm").marginal_loglik.last()
        assert ends["aevb"] > ends["wake-sleep"]
        gain[n_train] = ends["mcem"] - ends["aevb"]
    assert gain[1000] > -1.5 > gain[50_000]

    found = claims.verdicts()
    assert [v.paper.holds for v in found] == [True, True, True, False, True, True]
    for nz in highest.index:
        assert f"from {highest[nz]:,.1f} to {last[nz]:,.1f} nats" in found[3].paper.evidence


def test_verdicts_on_our_curves() -> None:
    """The same from our files, as far as both algorithms of a panel go."""
    ahead, sooner, to_edge = [], [], []
    for dataset, latents in experiments.NZ.items():
        for nz in latents:
            aevb, sleep = (table("figure2", run.name) for run in pair(dataset, nz))
            edge = experiments.PAPER_BUDGET[dataset]
            common = aevb.merge(sleep, on="samples", suffixes=("", "_other"))
            last = common[common.samples <= edge].iloc[-1]
            ahead.append(
                last.train_running > last.train_running_other and last.test > last.test_other
            )
            level = sleep[sleep.samples <= edge].test.iloc[-1]
            needs = [curve[curve.test >= level].samples.min() for curve in (aevb, sleep)]
            sooner.append(needs[0] < needs[1])
            to_edge.append(sleep.samples.max() >= edge)
    found = ours()
    above = found[0]
    assert f"ahead on train and test in {sum(ahead)} of {len(ahead)} panels" in above.evidence
    assert above.so_far is all(ahead)
    faster = found[1]
    assert f"needs fewer in {sum(sooner)} of {len(sooner)} panels" in faster.evidence
    assert f"to the edge of the axis in {sum(to_edge)} of them" in faster.evidence
    assert (faster.so_far, faster.holds) == (all(sooner), all(sooner) if all(to_edge) else None)
    few, many = (table("figure2", pair("mnist", nz)[0].name) for nz in (20, 200))
    common = few.merge(many, on="samples")
    last = common[common.samples <= experiments.PAPER_BUDGET["mnist"]].iloc[-1]
    gain = last.test_y - last.test_x
    assert found[2].so_far is bool(gain > -1)
    assert f"minus that with 20 is {gain:+.1f} nats".replace("-", "−") in found[2].evidence
    beyond = [
        max(curves.seeds("figure2", f"freyface-nz{nz}-aevb-seed0"), key=lambda c: c.samples)
        for nz in experiments.NZ["freyface"]
    ]
    stays = [
        curve.table.test.iloc[-1] > 0.98 * curve.table.test.max()
        for curve in beyond
        if curve.samples >= 1.2e8
    ]
    assert found[3].so_far is (all(stays) if stays else None)
    ends = {run.name: table("figure3", run.name).iloc[-1] for run in experiments.figure3()}
    assert found[4].holds is all(
        ends[f"n{n}-aevb-seed0"][split] > ends[f"n{n}-wake-sleep-seed0"][split]
        for n in experiments.N_TRAIN
        for split in ("train", "test")
    )
    gains = [ends[f"n{n}-mcem-seed0"].test - ends[f"n{n}-aevb-seed0"].test for n in (1000, 50_000)]
    assert found[5].so_far is bool(gains[0] > -1.5 >= gains[1])


def test_ahead_on_one_split_alone_is_not_ahead(project: Path) -> None:
    publish_every_pair({1e5: -300, 6e8: -100}, {1e5: -300, 6e8: -120})
    assert ours()[0].holds is True
    change(curves.published("figure2", pair("mnist", 3)[0].name), train_running=-200.0)
    assert ours()[0].holds is False


@pytest.mark.parametrize(("end", "holds"), [(-100.9, True), (-101.1, False)])
def test_one_nat_is_overfitting(project: Path, end: float, holds: bool) -> None:
    publish(pair("mnist", 20)[0], {1e5: -300, 2.5e8: -100})
    publish(pair("mnist", 200)[0], {1e5: -300, 2.5e8: end})
    assert ours()[2].holds is holds


@pytest.mark.parametrize(("last", "stays"), [(981, True), (979, False)])
def test_two_per_cent_is_a_fall(project: Path, last: float, stays: bool) -> None:
    publish(pair("freyface", 5)[0], {1e5: 0, 1e8: 1000, 3e8: last})
    assert ours()[3].so_far is stays


@pytest.mark.parametrize(
    ("few", "many", "holds"), [(-101, -102, True), (-102, -102, False), (-101, -101, False)]
)
def test_monte_carlo_em_falls_behind_on_many_points_only(
    project: Path, few: float, many: float, holds: bool
) -> None:
    for n_train, end in ((1000, few), (50_000, many)):
        publish(experiments.figure3_run(n_train, "aevb"), {1e5: -300, 7e7: -100})
        publish(experiments.figure3_run(n_train, "mcem"), {1e5: -300, 7e7: end})
    assert ours()[5].holds is holds
