"""The likelihood estimators against exact answers and against each other."""

import math
from collections.abc import Callable, Sequence
from typing import cast

import pytest
import scipy.stats
import torch
from linear_gaussian import LinearModel, example
from torch import Tensor, nn

from aevb.inference.hmc import Differentiable, Joint
from aevb.inference.likelihood import (
    BANDWIDTHS,
    Samples,
    appendix_d,
    importance_sampled,
    kernel_density,
    log_likelihood_of_all,
    mispaired_rows,
    moments,
    quadrature,
    sample_posterior,
    starting_points,
    student_t_log_prob,
    whiten,
)
from aevb.model.distributions import DiagonalGaussian, standard_normal_log_prob
from aevb.model.networks import (
    Architecture,
    Decoder,
    Initialisation,
    Model,
    initialised,
)
from aevb.model.randomness import Streams, generator

pytestmark = pytest.mark.usefixtures("double_precision")

ROWS = 300


def noise(seeds: Sequence[int], nz: int) -> Streams:
    return Streams([generator(seed, "evaluation") for seed in seeds], [nz] * len(seeds))


class Linear(nn.Module):
    """The exact example as a decoder; `hidden` is where its number of latents is read."""

    def __init__(self, nz: int) -> None:
        super().__init__()
        self.exact = example(nz)
        self.linear = LinearModel(1, 5, nz, torch.Generator()).decoder.requires_grad_(False)
        self.hidden = self.linear.mean
        self.linear.mean.weight[0] = self.exact.weight.T
        self.linear.mean.bias[0, 0] = self.exact.bias
        self.linear.log_variance.fill_(self.exact.variance.log().item())

    def forward(self, z: Tensor) -> DiagonalGaussian:
        p_x: DiagonalGaussian = self.linear(z)
        return p_x

    def as_decoder(self) -> Decoder:
        return cast(Decoder, self)


def linear(nz: int, rows: int = ROWS) -> tuple[Decoder, Tensor, Tensor]:
    """A decoder, images `(1, rows, pixels)` and their exact log likelihood `(1, rows)`."""
    model = Linear(nz)
    x = model.exact.sample(rows, torch.Generator().manual_seed(0))
    return model.as_decoder(), x[None], model.exact.marginal_loglik(x)[None]


def bernoulli(seeds: Sequence[int], nz: int = 3, pixels: int = 12) -> Model:
    architectures = [Architecture(pixels, 7, nz, "bernoulli")] * len(seeds)
    generators = [generator(seed, "start") for seed in seeds]
    return initialised(architectures, Initialisation(std=1.0), generators).requires_grad_(False)


def images(rows: int, pixels: int = 12) -> Tensor:
    return torch.rand(1, rows, pixels, generator=torch.Generator().manual_seed(0))


def sampled(joint: Joint, streams: Streams, n_samples: int = 50) -> Samples:
    start = starting_points(joint, streams, n_candidates=1024)
    return sample_posterior(joint, start, streams, n_samples=n_samples)


def exact_samples(nz: int, x: Tensor, joint: Joint, n: int, seed: int = 0) -> Samples:
    """Independent draws from the exact posterior: an estimator's own bias, without that of HMC."""
    posterior = example(nz).posterior(x[0])
    normal = torch.randn(n, *posterior.mean.shape, generator=torch.Generator().manual_seed(seed))
    z = (posterior.mean + normal @ posterior.scale_tril[0].T)[:, None]
    return Samples(z, torch.stack([joint.log_prob(one) for one in z]))


def bias(estimate: Tensor, exact: Tensor) -> tuple[float, float, float]:
    """Mean error over datapoints, its standard error, standard deviation of one error."""
    error = estimate - exact
    return (
        error.mean().item(),
        (error.std() / error.numel() ** 0.5).item(),
        error.std().item(),
    )


# -- Quadrature ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("nz", "points"), [(1, 60), (2, 60), (3, 48)])
def test_quadrature_is_exact_for_the_linear_gaussian_model(nz: int, points: int) -> None:
    decoder, x, exact = linear(nz, rows=20)
    estimate = quadrature(decoder, x, points=points, half_width=6.0)
    torch.testing.assert_close(estimate, exact, rtol=0, atol=1e-3)


def test_too_coarse_a_grid_is_noticed_by_a_second_one() -> None:
    decoder, x, exact = linear(1, rows=20)
    coarse, fine = (quadrature(decoder, x, points=n) for n in (6, 12))
    assert (coarse - exact).abs().max() > 0.1
    assert (coarse - fine).abs().max() > 0.1


def test_quadrature_of_a_bernoulli_decoder_is_the_sum_over_all_images() -> None:
    """Binary images of 6 pixels: their probabilities sum to 1."""
    model = bernoulli([0], nz=2, pixels=6)
    x = torch.cartesian_prod(*[torch.arange(2.0)] * 6)[None]
    total = torch.logsumexp(quadrature(model.decoder, x, points=40), 1)
    assert total.item() == pytest.approx(0, abs=1e-5)


def test_quadrature_refuses_more_than_three_latents() -> None:
    with pytest.raises(ValueError, match="at most 3"):
        quadrature(bernoulli([0], nz=4).decoder, images(2))


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_every_image_at_every_z_is_what_the_decoder_says(likelihood: str) -> None:
    if likelihood == "bernoulli":
        decoder, x = bernoulli([0, 1]).decoder, images(4).expand(2, 4, 12)
    else:
        decoder, x, _ = linear(3, rows=4)
    z = noise(range(len(x)), 3).latents(1500)
    table = log_likelihood_of_all(decoder, z, x)
    assert table.shape == (len(x), 4, 1500)
    for row in range(4):
        expected = decoder(z).log_prob(x[:, row : row + 1].expand(-1, 1500, -1))
        torch.testing.assert_close(table[:, row], expected)


# -- Appendix D ----------------------------------------------------------------------------------


def test_the_papers_estimator_on_hmc_samples_of_the_linear_gaussian_model() -> None:
    """25 samples fit q, 25 enter the mean: off by less than 0.1 nats, 0.5 nats at one datapoint."""
    decoder, x, exact = linear(3)
    joint, streams = Joint(decoder, x), noise([0], 3)
    mean, error, spread = bias(appendix_d(sampled(joint, streams)), exact)
    assert abs(mean) < 0.1 + 3 * error
    assert 0.1 < spread < 1.0


def test_the_papers_estimator_converges() -> None:
    decoder, x, exact = linear(2)
    joint = Joint(decoder, x)
    results = [bias(appendix_d(exact_samples(2, x, joint, n)), exact) for n in (20, 400)]
    assert results[1][2] < 0.4 * results[0][2]
    assert abs(results[1][0]) < 0.01


def test_a_bandwidth_chosen_on_held_out_samples_overestimates_with_few_samples() -> None:
    """Chosen on 13 and 12 samples it is too narrow too often; Scott's rule is nearly unbiased."""
    decoder, x, exact = linear(3)
    samples = exact_samples(3, x, Joint(decoder, x), 50)
    scott = bias(appendix_d(samples), exact)[0]
    held_out = bias(appendix_d(samples, "held-out"), exact)[0]
    assert abs(scott) < 0.08
    assert held_out > scott + 0.03


def test_pairing_q_with_the_joint_density_of_another_sample_loses_a_nat() -> None:
    """The paper's curves start 0.9 to 1.1 nats below the likelihood of the untrained model.

    1 / p(x) is the mean of q(z) / p(x, z) only if both are taken at the same z. Taken at different
    draws from the posterior, the mean is too large, for any Gaussian posterior by the same factor.
    """
    decoder, x, exact = linear(3)
    samples = exact_samples(3, x, Joint(decoder, x), 50)
    mispaired = samples._replace(log_joint=samples.log_joint.roll(1, 0))
    assert bias(appendix_d(mispaired), exact)[0] == pytest.approx(-1.2, abs=0.25)


def test_mispaired_rows_of_one_image_are_the_papers_estimator() -> None:
    decoder, x, _ = linear(3, rows=1)
    samples = exact_samples(3, x, Joint(decoder, x), 50)
    torch.testing.assert_close(mispaired_rows(samples), appendix_d(samples))


@pytest.mark.parametrize("n", [50, 51])
def test_mispaired_rows_take_the_flattened_samples_apart_in_other_orders(n: int) -> None:
    """Written again as loops over flat lists, of two replicates."""
    rows, nz, half = 6, 3, n // 2
    streams = noise([0, 1], nz)
    z = streams.normal(n * rows, nz).view(2, n, rows, nz).movedim(1, 0)
    log_joint = streams.normal(n, rows).movedim(1, 0)
    found = mispaired_rows(Samples(z, log_joint))
    assert found.shape == (2, rows)
    for r in range(2):
        coordinates = [[s[i, c] for c in range(nz) for i in range(rows)] for s in z[:, r]]
        values = [log_joint[m, r, i] for i in range(rows) for m in range(n)][half * rows :]
        for row in range(rows):
            drawn = torch.tensor([s[row * nz : (row + 1) * nz] for s in coordinates])
            log_q = kernel_density(drawn[:half], drawn[half:])
            met = torch.tensor(values[row * (n - half) : (row + 1) * (n - half)])
            expected = math.log(n - half) - torch.logsumexp(log_q - met, 0)
            torch.testing.assert_close(found[r, row], expected)


def test_mispaired_rows_read_the_later_half_of_the_images() -> None:
    """Row i reads image (rows + i) // 2, and about a nat low."""
    decoder, x, exact = linear(3)
    samples = exact_samples(3, x, Joint(decoder, x), 50)
    covered = exact[:, ROWS // 2 :].repeat_interleave(2, 1)
    assert bias(mispaired_rows(samples), covered)[0] == pytest.approx(-1.2, abs=0.25)
    far = samples._replace(log_joint=samples.log_joint - 1000 * (torch.arange(ROWS) < ROWS // 2))
    torch.testing.assert_close(mispaired_rows(far), mispaired_rows(samples))


@pytest.mark.parametrize("estimator", [appendix_d, mispaired_rows])
def test_the_papers_estimator_needs_more_samples_than_twice_the_dimensions(
    estimator: Callable[[Samples], Tensor],
) -> None:
    with pytest.raises(ValueError, match="at least 8 samples of 3 dimensions, not 7"):
        estimator(Samples(torch.zeros(7, 1, 2, 3), torch.zeros(7, 1, 2)))
    with pytest.raises(ValueError, match="at least 4 samples of 1 dimensions, not 3"):
        estimator(Samples(torch.zeros(3, 1, 2, 1), torch.zeros(3, 1, 2)))


@pytest.mark.parametrize("bandwidth", ["scott", "held-out"])
def test_the_kernel_density_integrates_to_one_and_follows_the_samples(bandwidth: str) -> None:
    fit = noise([0], 2).normal(40, 1, 2)[0] * torch.tensor([2.0, 0.1])  # (40, 1, 2)
    axes = torch.linspace(-12, 12, 241), torch.linspace(-0.6, 0.6, 241)
    grid = torch.cartesian_prod(*axes)[:, None]
    assert bandwidth in ("scott", "held-out")
    log_q = kernel_density(fit, grid, "scott" if bandwidth == "scott" else "held-out")
    total = log_q.exp().sum() * (axes[0][1] - axes[0][0]) * (axes[1][1] - axes[1][0])
    assert total.item() == pytest.approx(1, abs=1e-3)


def test_kernel_density_is_scipys() -> None:
    fit, at = noise([0], 3).normal(25, 4, 3)[0], noise([1], 3).normal(10, 4, 3)[0]
    log_q = kernel_density(fit, at)
    for row in range(4):
        expected = scipy.stats.gaussian_kde(fit[:, row].T.numpy()).logpdf(at[:, row].T.numpy())
        torch.testing.assert_close(log_q[:, row], torch.as_tensor(expected), rtol=1e-4, atol=1e-4)


def test_a_chain_that_never_moved_does_not_stop_the_others() -> None:
    z = noise([0], 3).normal(50, 1, 2, 3)[0]
    z[:, :, 1] = 0.5
    log_q = kernel_density(z[:25], z[25:])
    assert log_q.isfinite().all()


# -- Importance sampling -------------------------------------------------------------------------


def test_importance_sampling_is_exact_to_a_hundredth_of_a_nat() -> None:
    decoder, x, exact = linear(3)
    joint, streams = Joint(decoder, x), noise([0], 3)
    mean, error, spread = bias(importance_sampled(joint, sampled(joint, streams), streams), exact)
    assert abs(mean) < 0.01 + 3 * error
    assert error < 0.006
    assert spread < 0.15


def test_importance_sampling_needs_a_draw_of_the_prior() -> None:
    decoder, x, _ = linear(2)
    joint = Joint(decoder, x)
    samples = exact_samples(2, x, joint, 50)
    with pytest.raises(ValueError, match="5 draws are too few"):
        importance_sampled(joint, samples, noise([0], 2), n_samples=5)


def test_importance_sampling_survives_a_poor_fit() -> None:
    """Every weight is unbiased, whatever the proposal: here one a prior's width off."""
    decoder, x, exact = linear(2)
    joint = Joint(decoder, x)
    samples = exact_samples(2, x, joint, 50)
    shifted = samples._replace(z=samples.z + 1.0)
    estimate = importance_sampled(joint, shifted, noise([0], 2), n_samples=2000)
    mean, error, _ = bias(estimate, exact)
    assert abs(mean) < 0.05 + 3 * error


def test_a_wrong_decoder_is_noticed() -> None:
    decoder, x, exact = linear(3)
    joint = Joint(decoder, x + 0.3)
    streams = noise([0], 3)
    mean, error, _ = bias(importance_sampled(joint, sampled(joint, streams), streams), exact)
    assert abs(mean) > 5 * error


def test_the_student_t_is_torchs() -> None:
    z, mean = noise([0], 1).normal(10, 1)[0], noise([1], 1).normal(10, 1)[0]
    root = torch.full((10, 1, 1), 0.7)
    expected = torch.distributions.StudentT(5.0, mean, 0.7).log_prob(z)[:, 0]  # type: ignore[no-untyped-call]
    torch.testing.assert_close(student_t_log_prob(z, mean, root), expected)


def test_all_three_agree_on_a_bernoulli_decoder() -> None:
    decoder, x = bernoulli([0]).decoder, images(200)
    truth = quadrature(decoder, x, points=40)
    finer = quadrature(decoder, x, points=50)
    torch.testing.assert_close(truth, finer, rtol=0, atol=1e-3)
    joint, streams = Joint(decoder, x), noise([0], 3)
    samples = sampled(joint, streams)
    mean, error, _ = bias(importance_sampled(joint, samples, streams), truth)
    assert abs(mean) < 0.01 + 3 * error
    mean, error, _ = bias(appendix_d(samples), truth)
    assert abs(mean) < 0.15 + 3 * error


# -- Samples -------------------------------------------------------------------------------------


def test_posterior_samples_have_the_posteriors_moments() -> None:
    decoder, x, _ = linear(2)
    joint, streams = Joint(decoder, x), noise([0], 2)
    samples = sampled(joint, streams, n_samples=400)
    posterior = example(2).posterior(x[0])
    mean, root = moments(samples.z)
    scale = posterior.variance.sqrt()
    assert ((mean[0] - posterior.mean) / scale).abs().mean() < 0.15
    torch.testing.assert_close(
        (root @ root.mT)[0].mean(0), posterior.covariance_matrix[0], rtol=0.1, atol=0.03
    )
    for z, log_joint in zip(samples.z[::100], samples.log_joint[::100], strict=True):
        torch.testing.assert_close(joint.log_prob(z), log_joint)


def test_replicates_with_other_nz_are_refused() -> None:
    joint = Joint(bernoulli([0, 1]).decoder, images(2).expand(2, 2, 12))
    streams = Streams([generator(seed, "evaluation") for seed in (0, 1)], [2, 3])
    with pytest.raises(ValueError, match="one nz"):
        sample_posterior(joint, streams.latents(2), streams)


def test_starting_points_are_rough_draws_from_the_posterior() -> None:
    decoder, x, _ = linear(1, rows=1000)
    z = starting_points(Joint(decoder, x), noise([0], 1))
    posterior = example(1).posterior(x[0])
    standardised = ((z[0] - posterior.mean) / posterior.variance.sqrt())[:, 0]
    assert abs(standardised.mean().item()) < 4 / math.sqrt(1000)
    assert standardised.std().item() == pytest.approx(1, abs=0.07)


def test_starting_points_of_an_untrained_decoder_are_draws_from_the_prior() -> None:
    model = Model([Architecture(12, 7, 3, "bernoulli")]).requires_grad_(False)
    z = starting_points(Joint(model.decoder, images(3000)), noise([0], 3))
    assert z.mean().abs() < 0.05
    torch.testing.assert_close(torch.cov(z[0].T), torch.eye(3), rtol=0, atol=0.1)
    log_pz = standard_normal_log_prob(z)
    assert log_pz.mean().item() == pytest.approx(-1.5 * (1 + math.log(2 * math.pi)), abs=0.1)


def test_two_seeds_are_evaluated_together_as_they_are_alone() -> None:
    def estimates(seeds: Sequence[int]) -> list[Tensor]:
        decoder, x = bernoulli(seeds).decoder, images(20).expand(len(seeds), 20, 12)
        joint, streams = Joint(decoder, x), noise(seeds, 3)
        samples = sampled(joint, streams)
        return [
            appendix_d(samples),
            importance_sampled(joint, samples, streams, n_samples=50),
            quadrature(decoder, x, points=20),
        ]

    together = estimates([0, 1])
    for r in range(2):
        for both, one in zip(together, estimates([r]), strict=True):
            assert both.shape == (2, 20)
            torch.testing.assert_close(both[r], one[0])


def test_the_held_out_bandwidth_is_the_best_of_those_tried() -> None:
    fit, at = (noise([k], 2).normal(20, 3, 2)[0] * torch.tensor([1.0, 0.2]) for k in (0, 1))
    for part in (fit, at):
        part[::2, :, 0] += 6  # two clusters, which the rule of thumb would bridge
    found = kernel_density(fit, at, "held-out")
    factors = [m * 20 ** (-1 / 6) for m in BANDWIDTHS]
    for row in range(3):
        early, late = (half[:, row].T.numpy() for half in (fit[:10], fit[10:]))
        scores = [scipy.stats.gaussian_kde(late, h).logpdf(early).sum() for h in factors]
        best = factors[scores.index(max(scores))]
        expected = scipy.stats.gaussian_kde(fit[:, row].T.numpy(), best).logpdf(
            at[:, row].T.numpy()
        )
        torch.testing.assert_close(found[:, row], torch.as_tensor(expected), rtol=1e-3, atol=1e-3)


def test_each_chain_has_a_step_of_its_own() -> None:
    width = torch.tensor([0.01, 1.0]).repeat(50)[None, :, None]
    density = Differentiable(lambda z: -0.5 * (z / width).square().sum(-1))
    start = width * noise([0], 1).latents(100)
    samples = sample_posterior(density, start, noise([1], 1), n_samples=100, burn_in=30)
    jump = samples.z.diff(dim=0).abs().mean((0, 1, 3)) / width[0, :, 0]
    assert jump[1::2].mean() > 0.5 * jump[::2].mean()


def test_a_tenth_of_the_draws_are_the_priors_and_the_others_wider_than_the_samples(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decoder, x, _ = linear(2)
    joint, streams = Joint(decoder, x), noise([0], 2)
    samples = exact_samples(2, x, joint, 50)
    drawn: list[Tensor] = []
    of_prior: list[int] = []
    log_prob, latents = joint.log_prob, streams.latents

    def noted_log_prob(z: Tensor) -> Tensor:
        drawn.append(z)
        return log_prob(z)

    def noted_latents(rows: int) -> Tensor:
        of_prior.append(rows)
        return latents(rows)

    monkeypatch.setattr(joint, "log_prob", noted_log_prob)
    monkeypatch.setattr(streams, "latents", noted_latents)
    importance_sampled(joint, samples, streams)
    assert (len(drawn), len(of_prior)) == (200, 20)
    mean, root = moments(samples.z)
    # Student's t with 5 degrees of freedom, 1.2 times as wide as the samples.
    squares = whiten(torch.stack(drawn[20:]) - mean, root).square().mean()
    assert squares.item() == pytest.approx(1.2**2 * 5 / 3, rel=0.05)
