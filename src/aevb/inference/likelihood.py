"""Estimators of the marginal log likelihood log p(x) of a decoder (Appendix D).

The estimators return `(rows,)`, nats per datapoint. `appendix_d` is the paper's own estimator,
`mispaired_rows` what its code is inferred to have made of it, `importance_sampled` the more
accurate one, `quadrature` the brute force that they are checked against.
"""

import math
from typing import Literal, NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from aevb.inference.hmc import INITIAL_STEP_SIZE, STEP_FACTOR, Density, Joint, adapted, transition
from aevb.model.distributions import LOG_2PI, Bernoulli, Likelihood, standard_normal_log_prob
from aevb.model.networks import Decoder, Model
from aevb.model.randomness import normal, uniform


class Samples(NamedTuple):
    """Draws from the posterior p(z|x) of every datapoint, in the order of their chain.

    Attributes:
        z: `(n_samples, rows, nz)`.
        log_joint: log p(x, z) there, `(n_samples, rows)`, nats.
    """

    z: Tensor
    log_joint: Tensor


def sample_posterior(
    joint: Density,
    start: Tensor,
    noise: Generator,
    *,
    n_samples: int = 50,
    burn_in: int = 5,
    leapfrogs: int = 4,
    step_size: float = INITIAL_STEP_SIZE,
    factor: float = STEP_FACTOR,
) -> Samples:
    """Step 1 of Appendix D: one HMC chain per datapoint, with a step size of its own.

    Args:
        joint: log p(x, z) as a density of z.
        start: where the chains start, `(rows, nz)`.
        noise: of momenta and acceptances.
        n_samples: transitions that are kept.
        burn_in: transitions before those.
        leapfrogs: leapfrog steps per transition.
        step_size: of the first transition.
        factor: by which a step size changes after every transition, see `hmc.adapted`.

    Returns:
        The samples.
    """
    point = joint.at(start)
    step_sizes = torch.full_like(start[..., :1], step_size)
    kept = []
    for i in range(burn_in + n_samples):
        point, acceptance = transition(joint, point, step_sizes, leapfrogs, noise)
        step_sizes = adapted(step_sizes, acceptance, factor)
        if i >= burn_in:
            kept.append(point)
    return Samples(torch.stack([p.z for p in kept]), torch.stack([p.log_prob for p in kept]))


def starting_points(joint: Joint, noise: Generator, *, n_candidates: int = 8192) -> Tensor:
    """Rough draws from p(z|x), for chains to start from: draws from the prior, resampled.

    Every datapoint takes one of the same draws from p(z), with probability
    proportional to p(x|z). A chain that starts from the prior itself may stay in a mode that has no
    share in the posterior to speak of: on a trained decoder some then miss log p(x) by 100 nats.

    Args:
        joint: log p(x, z) as a density of z.
        noise: of the candidates, then of the choices.
        n_candidates: draws from the prior.

    Returns:
        `(rows, nz)`.
    """
    candidates = normal(noise, n_candidates, joint.decoder.nz)
    choice = uniform(noise, len(joint.x), 1)
    chosen = []
    for rows in joint.chunks():
        log_px_given_z = log_likelihood_of_all(joint.decoder, candidates, joint.x[rows])
        cumulative = torch.softmax(log_px_given_z, -1).cumsum(-1)
        index = torch.searchsorted(cumulative, choice[rows] * cumulative[..., -1:])
        chosen.append(index.clamp(max=n_candidates - 1))
    return candidates[torch.cat(chosen)[:, 0]]


Bandwidth = Literal["scott", "held-out"]
# Bandwidths tried, as multiples of Scott's rule.
BANDWIDTHS = tuple(math.exp((i - 5) / 2) for i in range(10))


def appendix_d(samples: Samples, bandwidth: Bandwidth = "scott") -> Tensor:
    """The paper's estimator: 1 / p(x) ≈ mean of q(z) / p(x, z) over z ~ p(z|x) (Appendix D).

    The first half of the samples fits q, a kernel density estimate; the second half enters the
    mean. With 25 + 25 samples, nz = 3 and Scott's rule it is unbiased to 0.1 nats and errs by about
    0.5 nats at one datapoint; with the bandwidth chosen on 12 + 13 of them it reads 0.3 nats high.

    The paper's own curves start 0.9 to 1.1 nats *below* the likelihood of the untrained model. With
    Scott's rule about that comes out when q(z) and p(x, z) are not taken at the same z.

    Args:
        samples: from `sample_posterior`, at least 4 and at least 2 nz + 2.
        bandwidth: of the kernels, see `kernel_density`.

    Returns:
        Log p(x), `(rows,)`, nats.

    Raises:
        ValueError: with fewer samples than that: there is nothing left to choose the bandwidth on,
            or their covariance is singular.
    """
    n, nz = len(samples.z), samples.z.shape[-1]
    if n < 4 or n // 2 <= nz:
        raise ValueError(
            f"expected at least {max(4, 2 * nz + 2)} samples of {nz} dimensions, not {n}"
        )
    half = n // 2
    log_q = kernel_density(samples.z[:half], samples.z[half:], bandwidth)
    return math.log(n - half) - torch.logsumexp(log_q - samples.log_joint[half:], 0)


def mispaired_rows(samples: Samples, bandwidth: Bandwidth = "scott") -> Tensor:
    """Appendix D as a public library of the first author appears to compute it (`anglepy`).

    Its samples of all images are flattened, z image by image within each coordinate and p(x, z)
    sample by sample within each image, and are taken apart again in orders that match for a single
    image only. With more, one q is fitted to coordinates of nz images, meets the p(x, z) of yet
    another image, and only the later half of the images is read: row i holds p(x, z) of image
    (rows + i) // 2, if the samples are even in number. It reads about a nat low beside that.

    Args:
        samples: from `sample_posterior`, at least 4 and at least 2 nz + 2.
        bandwidth: of the kernels, see `kernel_density`.

    Returns:
        What stands for log p(x), `(rows,)`, nats. For one image it is `appendix_d`.

    Raises:
        ValueError: with fewer samples than that, as `appendix_d`.
    """
    n, rows, _ = samples.z.shape
    half = n // 2
    z = samples.z.mT.reshape(samples.z.shape)  # (coordinate, image) read as (image, coordinate)
    by_image = samples.log_joint.T.flatten()[half * rows :]
    log_joint = samples.log_joint.clone()
    log_joint[half:] = by_image.view(rows, n - half).T
    return appendix_d(Samples(z, log_joint), bandwidth)


def kernel_density(fit: Tensor, at: Tensor, bandwidth: Bandwidth = "scott") -> Tensor:
    """Log of a Gaussian kernel density estimate.

    The kernel has the covariance of the samples times bandwidth². The bandwidth is Scott's rule,
    n^(−1 / (nz + 4)), or that multiple of it with which an estimate from the later half of the
    samples gives the earlier half the highest density.

    Args:
        fit: samples to place kernels on, `(n, ..., nz)`.
        at: where to evaluate, `(m, ..., nz)`.
        bandwidth: how it is chosen.

    Returns:
        `(m, ...)`, nats.
    """
    n, nz = len(fit), fit.shape[-1]
    scott = fit.new_tensor(n ** (-1 / (nz + 4)))
    if bandwidth == "scott":
        return _kernel_density(fit, at, scott)
    early, late = fit[: n // 2], fit[n // 2 :]
    bandwidths = fit.new_tensor(BANDWIDTHS) * scott
    scores = torch.stack([_kernel_density(late, early, h).sum(0) for h in bandwidths])
    return _kernel_density(fit, at, bandwidths[scores.argmax(0)])


def _kernel_density(fit: Tensor, at: Tensor, bandwidth: Tensor) -> Tensor:
    """The same with a given bandwidth, a scalar or `(...)`."""
    n, nz = len(fit), fit.shape[-1]
    _, root = moments(fit)
    kernels, points = whiten(fit, root), whiten(at, root)
    distances = torch.cdist(  # (..., m, n); by the difference itself, without cancellation
        points.movedim(0, -2),
        kernels.movedim(0, -2),
        compute_mode="donot_use_mm_for_euclid_dist",
    )
    sums = torch.logsumexp(-0.5 * (distances / bandwidth[..., None, None]).square(), -1)
    log_det = root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    log_scale = log_det + nz * (bandwidth.log() + 0.5 * LOG_2PI) + math.log(n)
    return sums.movedim(-1, 0) - log_scale


def moments(z: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and Cholesky root of the covariance of samples `(n, ..., nz)`.

    A variance of 1e-6, a millionth of the prior's, is added: a chain may not have moved at all.

    Returns:
        `(..., nz)` and `(..., nz, nz)`, lower triangular.
    """
    mean = z.mean(0)
    centred = (z - mean).movedim(0, -2)
    covariance = centred.mT @ centred / (len(z) - 1)
    floor = 1e-6 * torch.eye(z.shape[-1], dtype=z.dtype, device=z.device)
    return mean, torch.linalg.cholesky(covariance + floor)


def whiten(z: Tensor, root: Tensor) -> Tensor:
    """root⁻¹ z, for z `(n, ..., nz)` and root `(..., nz, nz)`."""
    whitened: Tensor = torch.linalg.solve_triangular(root, z.movedim(0, -1), upper=False)
    return whitened.movedim(-1, 0)


DEGREES_OF_FREEDOM = 5
PRIOR_SHARE = 0.1


def importance_sampled(
    joint: Joint,
    samples: Samples,
    noise: Generator,
    *,
    n_samples: int = 200,
    inflation: float = 1.2,
) -> Tensor:
    """Importance sampling: p(x) ≈ mean of p(x, z) / q(z) over z ~ q.

    q is a mixture: a Student t with the mean and the covariance of the posterior samples, wider
    than they are, and, for a tenth of the draws, the prior, so that no part of the posterior goes
    without. The mean of p(x, z) / q(z) is an unbiased estimate of p(x); the log of it is biased
    low, by half its variance: with 200 draws by less than 0.01 nats. A datapoint whose posterior
    has several far modes, and whose chain sat in a small one, can come out many nats too low; after
    60 million samples on 1000 images 2 % of training and 6 % of test points did by more than 1 nat
    (−0.5 nats on average; the mean of p(x) over several chains mends it), on 50,000 images 1 %.

    Args:
        joint: log p(x, z) as a density of z.
        samples: from `sample_posterior`, on the same images.
        noise: z is drawn from it.
        n_samples: draws of z per datapoint.
        inflation: by how much the scale of the Student t exceeds that of the samples.

    Returns:
        Log p(x), `(rows,)`, nats.

    Raises:
        ValueError: if the draws are too few for one of them to come from the prior.
    """
    n_prior = round(PRIOR_SHARE * n_samples)
    if n_prior == 0:
        raise ValueError(f"{n_samples} draws are too few: one in ten comes from the prior")
    mean, root = moments(samples.z)
    root = root * inflation
    rows, nz = mean.shape
    log_weights = []
    for i in range(n_samples):
        if i < n_prior:
            z = normal(noise, rows, nz)
        else:
            drawn = normal(noise, rows, nz + DEGREES_OF_FREEDOM)
            scale = drawn[..., nz:].square().mean(-1, keepdim=True).rsqrt()
            z = mean + (root @ (drawn[..., :nz] * scale)[..., None])[..., 0]
        log_q = torch.logaddexp(
            student_t_log_prob(z, mean, root) + math.log(1 - n_prior / n_samples),
            standard_normal_log_prob(z) + math.log(n_prior / n_samples),
        )
        log_weights.append(joint.log_prob(z) - log_q)
    return torch.logsumexp(torch.stack(log_weights), 0) - math.log(n_samples)


@torch.no_grad()
def marginal_loglik(
    model: Model, x: Tensor, noise: Generator, *, n_samples: int = 5000, chunk: int = 50
) -> Tensor:
    """Importance sampling from the encoder: p(x) ≈ mean of p(x, z) / q(z|x) over z ~ q(z|x).

    An unbiased estimate of p(x), whose log is biased low; it is the importance-weighted bound
    (Burda et al. 2015) with this number of samples, so it lies above the paper's bound.

        >>> file = "results/models/figure2/mnist-nz20-aevb-seed0.safetensors"
        >>> model, manifest = aevb.read_model(Path(file))
        >>> noise = torch.Generator().manual_seed(0)
        >>> aevb.marginal_loglik(model, aevb.load("mnist").test[:100], noise).mean()

    Args:
        model: encoder and decoder.
        x: images, `(rows, pixels)`.
        noise: z is drawn from it.
        n_samples: draws of z per datapoint.
        chunk: draws at a time.

    Returns:
        Log p(x), `(rows,)`, nats.
    """
    q = model.encoder(x)
    total = x.new_full((len(x),), -math.inf)
    for start in range(0, n_samples, chunk):
        z = q.sample(normal(noise, min(chunk, n_samples - start), *q.mean.shape))
        log_weights = model.decoder(z).log_prob(x) + standard_normal_log_prob(z) - q.log_prob(z)
        total = torch.logaddexp(total, torch.logsumexp(log_weights, 0))
    return total - math.log(n_samples)


def student_t_log_prob(z: Tensor, mean: Tensor, root: Tensor) -> Tensor:
    """Log density of the multivariate t with 5 degrees of freedom, scale root rootᵀ.

    Args:
        z: `(..., nz)`.
        mean: `(..., nz)`.
        root: `(..., nz, nz)`, lower triangular.

    Returns:
        `(...)`, nats.
    """
    nz, nu = z.shape[-1], DEGREES_OF_FREEDOM
    squares = whiten((z - mean)[None], root)[0].square().sum(-1)
    log_det = root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    constant = math.lgamma((nu + nz) / 2) - math.lgamma(nu / 2) - nz / 2 * math.log(nu * math.pi)
    return constant - log_det - (nu + nz) / 2 * torch.log1p(squares / nu)


CHUNK = 1000  # of z: they and their logits stay in a core's cache


def quadrature(decoder: Decoder, x: Tensor, *, points: int = 64, half_width: float = 5.0) -> Tensor:
    """Brute force: p(x) as a sum over a grid of z, the same for all datapoints.

    The error falls faster than any power of the spacing 2 · half_width / points, once that is below
    the posterior's standard deviation; a second grid tells whether it is.

    Args:
        decoder: p(x|z), with nz up to 3.
        x: images, `(rows, pixels)`.
        points: grid points per latent dimension.
        half_width: the grid covers [−half_width, half_width] in every dimension.

    Returns:
        Log p(x), `(rows,)`, nats.

    Raises:
        ValueError: for more than 3 latent dimensions.
    """
    nz = decoder.nz
    if nz > 3:
        raise ValueError(f"a grid in {nz} dimensions has too many points; at most 3")
    spacing = 2 * half_width / points
    # Midpoints of equal cells.
    axis = (torch.arange(points, dtype=x.dtype, device=x.device) + 0.5) * spacing - half_width
    grid = torch.cartesian_prod(*[axis] * nz).view(-1, nz)
    log_px = x.new_full((len(x),), -math.inf)
    for z in grid.split(CHUNK):  # type: ignore[no-untyped-call]
        log_joint = standard_normal_log_prob(z) + log_likelihood_of_all(decoder, z, x)
        log_px = torch.logaddexp(log_px, torch.logsumexp(log_joint, -1))
    return log_px + nz * math.log(spacing)


def log_likelihood_of_all(decoder: Decoder, z: Tensor, x: Tensor) -> Tensor:
    """Log p(x|z) of every image at every z.

    Args:
        decoder: p(x|z).
        z: `(n, nz)`, the same for all images.
        x: images, `(rows, pixels)`.

    Returns:
        `(rows, n)`, nats.
    """

    def part(p_x: Likelihood) -> Tensor:
        if isinstance(p_x, Bernoulli):
            # x·l − softplus(l): the first is one matrix product, the second knows no image.
            return x @ p_x.logits.mT - F.softplus(p_x.logits).sum(-1)
        return torch.stack([p_x.log_prob(image) for image in x])

    with torch.no_grad():
        chunks = z.split(CHUNK)  # type: ignore[no-untyped-call]
        return torch.cat([part(decoder(chunk)) for chunk in chunks], -1)
