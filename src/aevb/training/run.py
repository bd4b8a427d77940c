"""A run as data: a validated configuration, which determines a curve."""

from dataclasses import asdict, fields
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from aevb import data
from aevb.learners import LEARNERS
from aevb.learners.aevb import Estimator
from aevb.learners.learner import Learner
from aevb.learners.optimiser import Optimisation
from aevb.model.networks import DECODERS, Architecture, Initialisation
from aevb.model.products import Products

# The study of candidates for a step size; the names of its runs end in the step size.
SELECTION = "step-size-selection"

# For an untrained model, whose log p(x) is −543.4 nats, Appendix D gives −543.4 nats with 5
# dimensions, −542.4 with 10 and +60 with 20.
MAX_NZ_OF_APPENDIX_D = 5

NZ_OF_FIGURE3 = 3  # a name leaves it out

# Settings of later editions: left out of a configuration where they have their defaults, so that
# the digests of older curves stay.
LATER_SETTINGS = ("beta",)

ENCODER_SETTINGS = ("encoder_log_variance_factor", "init_encoder_log_variance_std")

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class Run:
    """Everything that determines a curve. An ablation is a `Run` with another setting.

    Attributes:
        study: folder of the curve below results/curves.
        dataset: mnist or freyface.
        nz: latent dimensions.
        algorithm: a name in `learners.LEARNERS`.
        seed: of all random streams.
        n_train: number of training points, the first ones; None for all.
        measure: what is evaluated at log points, beside the running bound; see `evaluation`.
        likelihood: of the decoder, a name in `networks.DECODERS`.
        n_hidden: hidden units of encoder and decoder.
        minibatch: M, datapoints per update; all of them for MCEM.
        n_samples: L, samples of z per datapoint (AEVB, IWAE, reweighted wake-sleep).
        estimator: SGVB estimator (AEVB).
        encoder_log_variance_factor: fixed factor on the weights of the encoder's log-variance head.
        init_std: standard deviation of initial parameters.
        init_encoder_log_variance_std: the same for the encoder's log-variance head.
        init_decoder_output_bias_std: the same for the decoder's output biases.
        optimiser: adagrad or adam.
        warmup: number of first updates that change the accumulators alone; an iteration of MCEM
            has five updates.
        prior: precision of the Gaussian prior on weight matrices; 0 for none.
        step_size: of Adagrad or Adam.
        products: precision of large matrix products in training.
        hidden_layers: of encoder and decoder each.
        pixels: grey levels, or each pixel drawn once as black or white.
        sleep_first: sleep before waking in every step (wake-sleep).
        clip_dreams: clip Gaussian dreams to [0, 1] (wake-sleep).
        split: number of the random split of Frey Face; in the paper's runs that of the seed.
        beta: weight on the KL (AEVB).
    """

    study: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")] = "figure2"
    dataset: data.Name = "mnist"
    nz: Annotated[int, Field(ge=1)] = 20
    algorithm: str = "aevb"
    seed: Annotated[int, Field(ge=0)] = 0
    n_train: Annotated[int, Field(ge=1)] | None = None
    measure: Literal[
        "lower_bound",
        "lower_bound_by_subset",
        "marginal_loglik",
        "predictive_loglik",
        "rate_and_distortion",
    ] = "lower_bound"
    likelihood: str = "bernoulli"
    n_hidden: Annotated[int, Field(ge=1)] = 500
    minibatch: Annotated[int, Field(ge=1)] = 100
    n_samples: Annotated[int, Field(ge=1)] = 1
    estimator: Estimator = "B"
    encoder_log_variance_factor: Positive = 1.0
    init_std: NotNegative = 0.01
    init_encoder_log_variance_std: NotNegative = 0.0
    init_decoder_output_bias_std: NotNegative = 0.0
    optimiser: Literal["adagrad", "adam"] = "adagrad"
    warmup: Annotated[int, Field(ge=0)] = 100
    prior: NotNegative = 1.0
    step_size: Positive = 0.01
    products: Products = "float32"
    hidden_layers: Annotated[int, Field(ge=1)] = 1
    pixels: data.Pixels = "grey"
    sleep_first: bool = False
    clip_dreams: bool = False
    split: Annotated[int, Field(ge=0)] = 0
    beta: NotNegative = 1.0

    @model_validator(mode="after")
    def _consistent(self) -> "Run":
        """Settings must fit each other, and a setting that nothing reads must not be set."""
        if self.algorithm not in LEARNERS:
            raise ValueError(f"algorithm {self.algorithm!r}: expected {', '.join(LEARNERS)}")
        if self.likelihood not in DECODERS:
            raise ValueError(f"likelihood {self.likelihood!r}: expected {', '.join(DECODERS)}")
        for field in fields(self):
            readers = [name for name, kind in LEARNERS.items() if _is_read_by(kind, field.name)]
            if self.algorithm not in readers and getattr(self, field.name) != field.default:
                raise ValueError(
                    f"{field.name} is a setting of {' and '.join(readers)}, not {self.algorithm}"
                )
        if self.clip_dreams and self.likelihood != "gaussian":
            raise ValueError("clip_dreams is a setting of Gaussian pixels alone")
        if not self.learner.trains_encoder and self.measure != "marginal_loglik":
            raise ValueError(
                f"measure is marginal_loglik for {self.algorithm}, which trains no encoder"
            )
        if self.measure == "marginal_loglik" and self.nz > MAX_NZ_OF_APPENDIX_D:
            raise ValueError(
                f"measure marginal_loglik takes at most {MAX_NZ_OF_APPENDIX_D} latent dimensions, "
                f"not {self.nz}: beyond, the density of Appendix D is fitted to too few samples"
            )
        if self.algorithm == "full-vb" and not self.prior:
            raise ValueError("prior must be positive for full-vb, which infers the weights")
        if self.measure == "predictive_loglik" and self.algorithm != "full-vb":
            raise ValueError(
                f"measure predictive_loglik is of full-vb, not {self.algorithm}: it averages over "
                "a posterior of the weights"
            )
        if self.measure == "lower_bound_by_subset" and self.dataset != "mnist":
            raise ValueError("measure lower_bound_by_subset is for the 10,000 test images of mnist")
        if self.split and self.dataset != "freyface":
            raise ValueError("split is a setting of freyface; mnist has a split of its own")
        return self

    @property
    def learner(self) -> type[Learner]:
        """The class of the algorithm."""
        return LEARNERS[self.algorithm]

    @property
    def configuration(self) -> dict[str, Any]:
        """Every setting, as manifests and their hashes have it; see `LATER_SETTINGS`."""
        defaults = {field.name: field.default for field in fields(self)}
        return {
            name: value
            for name, value in asdict(self).items()
            if name not in LATER_SETTINGS or value != defaults[name]
        }

    @property
    def name(self) -> str:
        """Stable name of the curve within its study."""
        candidate = f"-step{self.step_size}" if self.study == SELECTION else ""
        return f"{self.name_without_seed}-seed{self.seed}{candidate}"

    @property
    def name_without_seed(self) -> str:
        """What the names of all seeds begin with."""
        if self.n_train is None:
            return f"{self.dataset}-nz{self.nz}-{self.algorithm}"
        nz = "" if self.nz == NZ_OF_FIGURE3 else f"-nz{self.nz}"
        return f"n{self.n_train}{nz}-{self.algorithm}"

    @property
    def samples_per_update(self) -> int:
        """Samples on the paper's axes for one update."""
        return self.minibatch * self.learner.samples_per_datapoint

    def architecture(self, n_pixels: int) -> Architecture:
        """Sizes of the run's networks."""
        return Architecture(
            n_pixels,
            self.n_hidden,
            self.nz,
            self.likelihood,
            self.encoder_log_variance_factor,
            self.hidden_layers,
        )

    @property
    def initialisation(self) -> Initialisation:
        """How the parameters are drawn."""
        return Initialisation(
            self.init_std, self.init_encoder_log_variance_std, self.init_decoder_output_bias_std
        )

    def optimisation(self, n_points: int) -> Optimisation:
        """How gradients move the parameters, for `n_points` training points."""
        share = self.minibatch / n_points
        return Optimisation(self.optimiser, self.step_size, self.warmup, self.prior * share, share)


def _is_read_by(learner: type[Learner], setting: str) -> bool:
    """Whether a learner, or one of its networks, reads a setting."""
    if setting in ENCODER_SETTINGS:
        return learner.trains_encoder
    owners = [other for other in LEARNERS.values() if setting in other.options]
    return not owners or learner in owners
