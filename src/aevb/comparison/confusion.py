"""How often the judge names the mistake that was made."""

import math
from dataclasses import dataclass

import pandas as pd

from aevb.clinic import runs
from aevb.comparison import signatures
from aevb.comparison.judge import judge


@dataclass(frozen=True)
class Diagnosis:
    """What the judge says of a run of the clinic.

    Attributes:
        mistake: what was trained, its name in the clinic's catalogue.
        inside: whether its curve lies inside the band, so that no mistake shows.
        named: names of the suspects, the likeliest first.
    """

    mistake: str
    inside: bool
    named: list[str]


def diagnoses(nz: int, seed: int, *, terms: bool = False) -> list[Diagnosis]:
    """What the judge says of every curve of one configuration, on the test images.

    Args:
        nz: of the clinic's runs (`runs.read`).
        seed: of the clinic's runs.
        terms: whether the judge also gets the reconstruction and the KL.
    """
    found = []
    for name, curve in runs.read(nz, seed).groupby("mistake", sort=False):
        if not curve.test.map(math.isfinite).all():  # the judge names the causes, and stops
            diverging = [signature.name for signature in signatures.diverging()]
            found.append(Diagnosis(str(name), inside=False, named=diverging))
            continue
        judgement = judge(
            curve.samples,
            curve.test,
            like=f"mnist-nz{nz}-aevb",
            split="test",
            reconstruction=curve.reconstruction if terms else None,
            kl=curve.kl if terms else None,
        )
        named = [suspect.name for suspect in judgement.suspects]
        found.append(Diagnosis(str(name), judgement.inside, named))
    return found


def table(configurations: list[tuple[int, int]], *, terms: bool = False) -> pd.DataFrame:
    """A row for each mistake: in how many configurations it was seen, and named.

    Returns:
        Columns `mistake`; the number of `runs`; how many are `outside` the band; `silent`, outside
        with no suspect; `first`, named as the first suspect; `among three`, among the suspects;
        and `instead`, the other mistakes that were named first.
    """
    every = [d for nz, seed in configurations for d in diagnoses(nz, seed, terms=terms)]
    rows = []
    for name in dict.fromkeys(d.mistake for d in every):
        mine = [d for d in every if d.mistake == name]
        first = [d.named[0] for d in mine if d.named]
        rows.append(
            {
                "mistake": name,
                "runs": len(mine),
                "outside": sum(not d.inside for d in mine),
                "silent": sum(not d.inside and not d.named for d in mine),
                "first": first.count(name),
                "among three": sum(name in d.named for d in mine),
                "instead": ", ".join(sorted({other for other in first if other != name})),
            }
        )
    return pd.DataFrame(rows)
