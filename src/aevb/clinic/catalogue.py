"""Every mistake: those in training, and those in how right training is reported."""

import inspect
import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from aevb.clinic.code import Code
from aevb.clinic.mistakes import MISTAKES

TERMS = ["train", "test", "reconstruction", "kl"]
Report = Callable[[pd.DataFrame], pd.DataFrame]


@dataclass(frozen=True)
class Mistake:
    """A mistake, the right code, or another setting.

    Attributes:
        name: of its class or function.
        mistake: what it is, a sentence without its full stop.
        check: what to look at, to tell it from others.
        met: where somebody met it, as GitHub writes it: `owner/repository#issue`; empty if that is
            not known.
        mistaken: False for the right code and for other settings.
        does: the class that trains it, or the function that reports the right code's curve wrongly.
    """

    name: str
    mistake: str
    check: str
    met: str
    mistaken: bool
    does: type[Code] | Report

    @property
    def label(self) -> str:
        """The name in words, such as KL sign."""
        words = re.sub(r"_|(?<=[a-z])(?=[A-Z0-9])", " ", self.name).lower()
        return re.sub(r"\bkl\b", "KL", words[0].upper() + words[1:], flags=re.IGNORECASE)


def without_kl(right: pd.DataFrame) -> pd.DataFrame:
    """The KL is left out of the bound that is reported."""
    return right.assign(train=right.train + right.kl, test=right.reconstruction, kl=0.0)


def in_bits(right: pd.DataFrame) -> pd.DataFrame:
    """The bound is in bits, not nats."""
    return right.assign(**{key: right[key] / math.log(2) for key in TERMS})


def ragged_batch(right: pd.DataFrame) -> pd.DataFrame:
    """The last minibatch of the test images, 16 of 128, is counted as a whole one."""
    share = 10_000 / (math.ceil(10_000 / 128) * 128)
    return right.assign(**{key: right[key] * share for key in TERMS[1:]})


def train_as_test(right: pd.DataFrame) -> pd.DataFrame:
    """The bound of the training images is reported as that of the test images."""
    return right.assign(test=right.train)


def epochs_of_60000(right: pd.DataFrame) -> pd.DataFrame:
    """Epochs of 60,000 images are counted as 50,000."""
    return right.assign(samples=right.samples / 1.2)


_REPORTS: dict[Report, tuple[str, str]] = {
    without_kl: ("", "that the bound is the reconstruction minus the KL"),
    in_bits: ("openai/vdvae#5", "the logarithm; 784 pixels of an untrained model are 543 nats"),
    ragged_batch: ("catalyst-team/catalyst#799", "the same with a minibatch that divides 10,000"),
    train_as_test: ("timsainb/tensorflow2-generative-models#9", "which images are evaluated"),
    epochs_of_60000: ("udacity/deep-learning-v2-pytorch#129", "the updates in an epoch"),
}


def _sentence(code: type[Code] | Report) -> str:
    return (inspect.getdoc(code) or "").splitlines()[0].removesuffix(".")


RIGHT = Mistake("Code", "Nothing is wrong", "", "", False, Code)
CATALOGUE = [
    RIGHT,
    *(Mistake(c.__name__, _sentence(c), c.check, c.met, c.mistaken, c) for c in MISTAKES),
    *(
        Mistake(report.__name__, _sentence(report), check, met, True, report)
        for report, (met, check) in _REPORTS.items()
    ),
]
