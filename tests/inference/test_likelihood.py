"""The likelihood estimators against exact answers and against each other."""

import math
from collections.abc import Callable

import pytest
import scipy.stats
import torch
from differentiable import Differentiable
from linear_gaussian import LinearModel, example
from torch import Generator, Tensor

from aevb.inference.hmc import Joint
from aevb.inference.likelihood import (
    BANDWIDTHS,
    Bandwidth,
    Samples,
    appendix_d,
    importance_sampled,
    kernel_density,
    mispaired_rows,
    moments,
    pairwise_log_likelihood,
    quadrature,
    sample_posterior,
    starting_points,
    student_t_log_prob,
    whiten,
)
from aevb.model.distributions import standard_normal_log_prob
from aevb.model.networks import Architecture, Decoder, Initialisation, Model, initialised
from aevb.model.randomness import generator, normal

pytestmark = pytest.mark.usefixtures("double_precision")

ROWS = 300


def noise(seed: int = 0) -> Generator:
    return generator(seed, "evaluation")


def linear(nz: int, rows: int = ROWS) -> tuple[Decoder, Tensor, Tensor]:
    """A decoder, images `(rows, pixels)` and their exact log likelihood `(rows,)`."""
    truth = example(nz)
    decoder = LinearModel(5, nz, Generator()).decoder.requires_grad_(False)
    decoder.mean.weight.copy_(truth.weight.T)
    decoder.mean.bias.copy_(truth.bias)
    decoder.log_variance.copy_(truth.variance.log())
    x = truth.sample(rows, Generator().manual_seed(0))
    return decoder, x, truth.marginal_loglik(x)


def bernoulli(nz: int = 3, pixels: int = 12) -> Decoder:
    sizes = Architecture(pixels, 7, nz, "bernoulli")
    model = initialised(sizes, Initialisation(std=1.0), generator(0, "start"))
    return model.requires_grad_(False).decoder


def images(rows: int) -> Tensor:
    return torch.rand(rows, 12, generator=Generator().manual_seed(0))


def sampled(joint: Joint, nz: int, stream: Generator, n_samples: int = 50) -> Samples:
    start = starting_points(joint, stream, n_candidates=1024)
    return sample_posterior(joint, start, stream, n_samples=n_samples)


def exact_samples(nz: int, x: Tensor, joint: Joint, n: int = 50) -> Samples:
    """Independent draws from the exact posterior: an estimator's own bias, without that of HMC."""
    posterior = example(nz).posterior(x)
    epsilon = torch.randn(n, *posterior.mean.shape, generator=Generator().manual_seed(0))
    z = posterior.mean + epsilon @ posterior.scale_tril[0].T
    return Samples(z, torch.stack([joint.log_prob(draw) for draw in z]))


def bias(estimate: Tensor, exact: Tensor) -> tuple[float, float, float]:
    """Mean error over datapoints, its standard error, standard deviation of an error."""
    error = estimate - exact
    spread = error.std().item()
    return error.mean().item(), spread / len(error) ** 0.5, spread


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
    x = torch.cartesian_prod(*[torch.arange(2.0)] * 6)
    total = torch.logsumexp(quadrature(bernoulli(nz=2, pixels=6), x, points=40), 0)
    assert total.item() == pytest.approx(0, abs=1e-5)


def test_quadrature_refuses_more_than_three_latents() -> None:
    with pytest.raises(ValueError, match="at most 3"):
        quadrature(bernoulli(nz=4), images(2))


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_every_image_at_every_z_is_what_the_decoder_says(likelihood: str) -> None:
    """1500 z are two chunks."""
    decoder, x = (bernoulli(), images(4)) if likelihood == "bernoulli" else linear(3, rows=4)[:2]
    z = normal(noise(), 1500, 3)
    expected = torch.stack([decoder(z).log_prob(image.expand(1500, -1)) for image in x])
    torch.testing.assert_close(pairwise_log_likelihood(decoder, z, x), expected)


# -- Appendix D ----------------------------------------------------------------------------------


def test_the_papers_estimator_on_hmc_samples_of_the_linear_gaussian_model() -> None:
    """25 samples fit q, 25 enter the mean: off by less than 0.1 nats, 0.5 nats at one datapoint."""
    decoder, x, exact = linear(3)
    mean, error, spread = bias(appendix_d(sampled(Joint(decoder, x), 3, noise())), exact)
    assert abs(mean) < 0.1 + 3 * error
    assert 0.1 < spread < 1.0


def test_the_papers_estimator_converges() -> None:
    decoder, x, exact = linear(2)
    joint = Joint(decoder, x)
    few, many = (bias(appendix_d(exact_samples(2, x, joint, n)), exact) for n in (20, 400))
    assert many[2] < 0.4 * few[2]
    assert abs(many[0]) < 0.01


def test_a_bandwidth_chosen_on_held_out_samples_overestimates_with_few_samples() -> None:
    """Chosen on 13 and 12 samples it is too narrow too often; Scott's rule is nearly unbiased."""
    decoder, x, exact = linear(3)
    samples = exact_samples(3, x, Joint(decoder, x))
    scott = bias(appendix_d(samples), exact)[0]
    assert abs(scott) < 0.08
    assert bias(appendix_d(samples, "held-out"), exact)[0] > scott + 0.03


def test_pairing_q_with_the_joint_density_of_another_sample_loses_a_nat() -> None:
    """The paper's curves start 0.9 to 1.1 nats below the likelihood of the untrained model.

    1 / p(x) is the mean of q(z) / p(x, z) only if both are taken at the same z. Taken at different
    draws from the posterior, the mean is too large, for any Gaussian posterior by the same factor.
    """
    decoder, x, exact = linear(3)
    samples = exact_samples(3, x, Joint(decoder, x))
    mispaired = samples._replace(log_joint=samples.log_joint.roll(1, 0))
    assert bias(appendix_d(mispaired), exact)[0] == pytest.approx(-1.2, abs=0.25)


def test_mispaired_rows_of_one_image_are_the_papers_estimator() -> None:
    decoder, x, _ = linear(3, rows=1)
    samples = exact_samples(3, x, Joint(decoder, x))
    torch.testing.assert_close(mispaired_rows(samples), appendix_d(samples))


@pytest.mark.parametrize("n", [50, 51])
def test_mispaired_rows_take_the_flattened_samples_apart_in_other_orders(n: int) -> None:
    """Written again as loops over flat lists."""
    rows, nz, half = 6, 3, n // 2
    z, log_joint = normal(noise(0), n, rows, nz), normal(noise(1), n, rows)
    found = mispaired_rows(Samples(z, log_joint))
    coordinates = [[s[i, c] for c in range(nz) for i in range(rows)] for s in z]
    values = [log_joint[m, i] for i in range(rows) for m in range(n)][half * rows :]
    for row in range(rows):
        drawn = torch.tensor([s[row * nz : (row + 1) * nz] for s in coordinates])
        log_q = kernel_density(drawn[:half], drawn[half:])
        met = torch.tensor(values[row * (n - half) : (row + 1) * (n - half)])
        expected = math.log(n - half) - torch.logsumexp(log_q - met, 0)
        torch.testing.assert_close(found[row], expected)


def test_mispaired_rows_read_the_later_half_of_the_images() -> None:
    """Row i reads image (rows + i) // 2, and about a nat low."""
    decoder, x, exact = linear(3)
    samples = exact_samples(3, x, Joint(decoder, x))
    covered = exact[ROWS // 2 :].repeat_interleave(2)
    assert bias(mispaired_rows(samples), covered)[0] == pytest.approx(-1.2, abs=0.25)
    far = samples._replace(log_joint=samples.log_joint - 1000 * (torch.arange(ROWS) < ROWS // 2))
    torch.testing.assert_close(mispaired_rows(far), mispaired_rows(samples))


@pytest.mark.parametrize("estimator", [appendix_d, mispaired_rows])
def test_the_papers_estimator_needs_more_samples_than_twice_the_dimensions(
    estimator: Callable[[Samples], Tensor],
) -> None:
    with pytest.raises(ValueError, match="at least 8 samples of 3 dimensions, not 7"):
        estimator(Samples(torch.zeros(7, 2, 3), torch.zeros(7, 2)))
    with pytest.raises(ValueError, match="at least 4 samples of 1 dimensions, not 3"):
        estimator(Samples(torch.zeros(3, 2, 1), torch.zeros(3, 2)))


# -- Kernel density ------------------------------------------------------------------------------


@pytest.mark.parametrize("bandwidth", ["scott", "held-out"])
def test_the_kernel_density_integrates_to_one(bandwidth: Bandwidth) -> None:
    fit = normal(noise(), 40, 2) * torch.tensor([2.0, 0.1])
    x, y = torch.linspace(-12, 12, 241), torch.linspace(-0.6, 0.6, 241)
    density = kernel_density(fit, torch.cartesian_prod(x, y), bandwidth).exp()
    total = density.sum() * (x[1] - x[0]) * (y[1] - y[0])
    assert total.item() == pytest.approx(1, abs=1e-3)


def scipys(fit: Tensor, at: Tensor, bandwidth: float | None = None) -> Tensor:
    """The log density of `(n, nz)` samples at `(m, nz)`, by scipy's own rule or this bandwidth."""
    return torch.as_tensor(scipy.stats.gaussian_kde(fit.T.numpy(), bandwidth).logpdf(at.T.numpy()))


def test_kernel_density_is_scipys() -> None:
    fit, at = normal(noise(0), 25, 4, 3), normal(noise(1), 10, 4, 3)
    expected = torch.stack([scipys(fit[:, row], at[:, row]) for row in range(4)], 1)
    torch.testing.assert_close(kernel_density(fit, at), expected, rtol=1e-4, atol=1e-4)


def test_the_held_out_bandwidth_is_the_best_of_those_tried() -> None:
    fit, at = (normal(noise(seed), 20, 3, 2) * torch.tensor([1.0, 0.2]) for seed in (0, 1))
    for part in (fit, at):
        part[::2, :, 0] += 6  # two clusters, which the rule of thumb would bridge
    found = kernel_density(fit, at, "held-out")
    bandwidths = [m * 20 ** (-1 / 6) for m in BANDWIDTHS]
    for row in range(3):
        early, late = fit[:10, row], fit[10:, row]
        best = max(bandwidths, key=lambda h: scipys(late, early, h).sum().item())
        expected = scipys(fit[:, row], at[:, row], best)
        torch.testing.assert_close(found[:, row], expected, rtol=1e-3, atol=1e-3)


def test_a_chain_that_never_moved_does_not_stop_the_others() -> None:
    z = normal(noise(), 50, 2, 3)
    z[:, 1] = 0.5
    assert kernel_density(z[:25], z[25:]).isfinite().all()


# -- Importance sampling -------------------------------------------------------------------------


def test_importance_sampling_is_exact_to_a_hundredth_of_a_nat() -> None:
    decoder, x, exact = linear(3)
    joint, stream = Joint(decoder, x), noise()
    samples = sampled(joint, 3, stream)
    mean, error, spread = bias(importance_sampled(joint, samples, stream), exact)
    assert abs(mean) < 0.01 + 3 * error
    assert error < 0.006
    assert spread < 0.15


def test_importance_sampling_needs_a_draw_of_the_prior() -> None:
    decoder, x, _ = linear(2, rows=2)
    joint = Joint(decoder, x)
    with pytest.raises(ValueError, match="5 draws are too few"):
        importance_sampled(joint, exact_samples(2, x, joint), noise(), n_samples=5)


def test_importance_sampling_survives_a_poor_fit() -> None:
    """Every weight is unbiased, whatever the proposal: here one a prior's width off."""
    decoder, x, exact = linear(2)
    joint = Joint(decoder, x)
    samples = exact_samples(2, x, joint)
    shifted = samples._replace(z=samples.z + 1.0)
    mean, error, _ = bias(importance_sampled(joint, shifted, noise(), n_samples=2000), exact)
    assert abs(mean) < 0.05 + 3 * error


def test_a_wrong_decoder_is_noticed() -> None:
    decoder, x, exact = linear(3)
    joint, stream = Joint(decoder, x + 0.3), noise()
    samples = sampled(joint, 3, stream)
    mean, error, _ = bias(importance_sampled(joint, samples, stream), exact)
    assert abs(mean) > 5 * error


def test_a_tenth_of_the_draws_are_the_priors_and_the_others_wider_than_the_samples(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decoder, x, _ = linear(2)
    joint = Joint(decoder, x)
    samples, drawn, log_prob = exact_samples(2, x, joint), [], joint.log_prob

    def noted(z: Tensor) -> Tensor:
        drawn.append(z)
        return log_prob(z)

    monkeypatch.setattr(joint, "log_prob", noted)
    importance_sampled(joint, samples, noise())
    assert len(drawn) == 200
    of_prior, again = torch.stack(drawn[:20]), noise()
    assert torch.equal(of_prior, torch.stack([normal(again, ROWS, 2) for _ in range(20)]))
    mean, root = moments(samples.z)
    # Student's t with 5 degrees of freedom, 1.2 times as wide as the samples.
    squares = whiten(torch.stack(drawn[20:]) - mean, root).square().mean()
    assert squares.item() == pytest.approx(1.2**2 * 5 / 3, rel=0.05)


def test_the_student_t_is_torchs() -> None:
    z, mean = normal(noise(0), 10, 1), normal(noise(1), 10, 1)
    root = torch.full((10, 1, 1), 0.7)
    expected = torch.distributions.StudentT(5.0, mean, 0.7).log_prob(z)[:, 0]  # type: ignore[no-untyped-call]
    torch.testing.assert_close(student_t_log_prob(z, mean, root), expected)


def test_the_student_t_of_correlated_dimensions_is_scipys() -> None:
    z, root = normal(noise(), 10, 2), torch.tensor([[0.7, 0.0], [-0.4, 1.5]])
    reference = scipy.stats.multivariate_t([1.0, -2.0], (root @ root.T).numpy(), df=5)
    ours = student_t_log_prob(z, torch.tensor([1.0, -2.0]), root)
    torch.testing.assert_close(ours, torch.as_tensor(reference.logpdf(z.numpy())))


def test_all_three_agree_on_a_bernoulli_decoder() -> None:
    decoder, x = bernoulli(), images(200)
    truth = quadrature(decoder, x, points=40)
    torch.testing.assert_close(truth, quadrature(decoder, x, points=50), rtol=0, atol=1e-3)
    joint, stream = Joint(decoder, x), noise()
    samples = sampled(joint, 3, stream)
    mean, error, _ = bias(importance_sampled(joint, samples, stream), truth)
    assert abs(mean) < 0.01 + 3 * error
    mean, error, _ = bias(appendix_d(samples), truth)
    assert abs(mean) < 0.15 + 3 * error


# -- Samples -------------------------------------------------------------------------------------


def test_posterior_samples_have_the_posteriors_moments() -> None:
    decoder, x, _ = linear(2)
    joint, posterior = Joint(decoder, x), example(2).posterior(x)
    samples = sampled(joint, 2, noise(), n_samples=400)
    mean, root = moments(samples.z)
    assert ((mean - posterior.mean) / posterior.variance.sqrt()).abs().mean() < 0.15
    covariance = (root @ root.mT).mean(0)
    torch.testing.assert_close(covariance, posterior.covariance_matrix[0], rtol=0.1, atol=0.03)
    for z, log_joint in zip(samples.z[::100], samples.log_joint[::100], strict=True):
        torch.testing.assert_close(joint.log_prob(z), log_joint)


def test_the_burn_in_is_discarded() -> None:
    decoder, x, _ = linear(2)
    joint, start = Joint(decoder, x), normal(noise(1), len(x), 2)
    whole = sample_posterior(joint, start, noise(), n_samples=7, burn_in=0)
    later = sample_posterior(joint, start, noise(), n_samples=5, burn_in=2)
    assert torch.equal(later.z, whole.z[2:])


def test_each_chain_has_a_step_of_its_own() -> None:
    width = torch.tensor([0.01, 1.0]).repeat(50)[:, None]
    density = Differentiable(lambda z: -0.5 * (z / width).square().sum(-1))
    start = width * normal(noise(0), 100, 1)
    samples = sample_posterior(density, start, noise(1), n_samples=100, burn_in=30)
    jump = (samples.z.diff(dim=0) / width).abs().mean((0, 2))
    assert jump[1::2].mean() > 0.5 * jump[::2].mean()


def test_starting_points_are_rough_draws_from_the_posterior() -> None:
    """1500 images are two chunks."""
    decoder, x, _ = linear(1, rows=1500)
    z, posterior = starting_points(Joint(decoder, x), noise()), example(1).posterior(x)
    standardised = (z - posterior.mean) / posterior.variance.sqrt()
    assert abs(standardised.mean().item()) < 4 / math.sqrt(1500)
    assert standardised.std().item() == pytest.approx(1, abs=0.07)


def test_starting_points_of_an_untrained_decoder_are_draws_from_the_prior() -> None:
    decoder = Model(Architecture(12, 7, 3, "bernoulli")).requires_grad_(False).decoder
    z = starting_points(Joint(decoder, images(3000)), noise())
    assert z.mean().abs() < 0.05
    torch.testing.assert_close(torch.cov(z.T), torch.eye(3), rtol=0, atol=0.1)
    log_pz = standard_normal_log_prob(z)
    assert log_pz.mean().item() == pytest.approx(-1.5 * (1 + math.log(2 * math.pi)), abs=0.1)
