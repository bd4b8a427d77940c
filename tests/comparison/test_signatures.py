"""Mistakes recognised by the curves that they give."""

import math

import numpy as np
import pytest

from aevb.clinic import runs
from aevb.clinic.catalogue import CATALOGUE
from aevb.comparison import confusion, judge, reference, signatures
from aevb.results.lines import Line

RIGHT = signatures.signatures()[0]
HELD_OUT = (10, 2)


def right(samples: float) -> float:
    return RIGHT.line("test").value_at(samples)


def test_the_packages_signatures_are_those_of_the_runs() -> None:
    assert signatures.SIGNATURES.read_text() == reference.signatures_as_text(), (
        "run `aevb reference`"
    )
    names = [s.name for s in signatures.signatures()]
    assert names == [*(e.name for e in CATALOGUE), "step_size_0.01", "step_size_0.1"]


def test_a_signature_is_nearest_to_itself() -> None:
    for signature in signatures.signatures():
        if np.isfinite(signature.values["test"]).all():
            (nearest, *others) = signatures.matches(signature.line("test"), right, "test")
            assert nearest.gap < 1e-9
            same = [m.signature.name for m in (nearest, *others) if m.gap < 1e-9]
            assert signature.name in same


def test_a_gap_is_the_distance_in_inverse_hyperbolic_sines() -> None:
    (match,) = (
        m
        for m in signatures.matches(Line(RIGHT.samples, RIGHT.values["test"] - 10), right, "test")
        if m.signature.name == "Code"
    )
    assert match.gap == match.widest == pytest.approx(np.arcsinh(1))  # 10 nats at every point


def test_terms_tell_apart_what_the_bound_does_not() -> None:
    table = runs.read(20, 0).query("mistake == 'NoGradientThroughZ'")
    bound, reconstruction, kl = (
        Line(table.samples.to_numpy(float), table[key].to_numpy(float))
        for key in ("test", "reconstruction", "kl")
    )
    matches = signatures.matches(bound, right, "test", reconstruction, kl)
    assert matches[0].signature.name == "NoGradientThroughZ"


def test_too_short_a_curve_is_not_compared() -> None:
    short = Line(np.array([100.0, 60_000.0]), np.array([-543.0, -190.0]))
    assert signatures.matches(short, right, "test") == []


def test_a_curve_with_a_plain_mistake_is_recognised_by_the_judge() -> None:
    named = {d.mistake: d.named for d in confusion.diagnoses(*HELD_OUT)}
    for plain in ("PixelMean", "SecondSigmoid", "SquaredError", "Pixels255", "in_bits"):
        assert named[plain][0] == plain
    assert named["Code"] == named["Adam"] == []


def test_suspects_have_numbers_for_and_a_check() -> None:
    table = runs.read(*HELD_OUT).query("mistake == 'SecondSigmoid'")
    found = judge.judge(table.samples, table.test, like="mnist-nz10-aevb", split="test")
    first = found.suspects[0]
    assert "at 251,200 samples yours is" in first.evidence_for
    assert first.check == next(e.check for e in CATALOGUE if e.name == "SecondSigmoid")


def test_the_confusion_table_counts_what_was_named(monkeypatch: pytest.MonkeyPatch) -> None:
    said = [
        confusion.Diagnosis("KlSign", inside=False, named=["KlSign", "in_bits"]),
        confusion.Diagnosis("KlSign", inside=False, named=["in_bits", "KlSign"]),
        confusion.Diagnosis("KlSign", inside=True, named=[]),
    ]
    monkeypatch.setattr(confusion, "diagnoses", lambda *_, **__: said)
    (row,) = confusion.table([(1, 1)]).to_dict("records")
    assert row == {
        "mistake": "KlSign",
        "runs": 3,
        "outside": 2,
        "silent": 0,
        "first": 1,
        "among three": 2,
        "instead": "in_bits",
    }


def test_symptoms_and_descriptions_are_of_the_numbers() -> None:
    shown = {
        signatures.symptom(signatures.Signature("", "", "", True, RIGHT.samples, v))
        for v in (
            {"test": np.array([math.nan])},
            {"test": RIGHT.values["test"] + 1e4},
            {"test": np.array([-0.3])},
            {"test": RIGHT.values["test"] + 20},
            {"test": RIGHT.values["test"] - 20},
            {"test": RIGHT.values["test"]},
        )
    }
    assert shown == set(signatures.SYMPTOMS)
    double = {key: 2 * series for key, series in RIGHT.values.items()}
    said = signatures.describe(signatures.Signature("", "", "", True, RIGHT.samples, double))
    assert said.startswith("Begins at −1,086.9, not −543.4")
