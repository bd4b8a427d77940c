"""Small wrong changes to the source, each of which some fast test should notice: `make mutants`.

A mutant is a copy of src with one change. It is killed if the tests named beside it fail.
results/reliability/mutants.json records each as it is tried, so a run goes on where the last one
ended. A mutant is tried again when it, the file that it changes or its tests have changed.
"""

import argparse
import contextlib
import hashlib
import importlib.util
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

# What the library imports, once for all mutants; not the library itself.
import pandas  # noqa: F401
import pydantic  # noqa: F401
import pytest
import safetensors.torch  # noqa: F401
import scipy.stats  # noqa: F401
import torch

ROOT = Path(__file__).parents[2]
RECORD = ROOT / "results" / "reliability" / "mutants.json"
LONGEST = 120.0  # seconds for the tests of a mutant; one that hangs is noticed too


class Mutant(NamedTuple):
    """A change of one line, and the tests that should notice it."""

    what: str
    file: str  # below src/aevb
    old: str
    new: str
    tests: str  # files below tests; several by spaces


LEARNERS, LOOP, JOB = "learners/test_learners.py", "training/test_loop.py", "training/test_job.py"
BACKPROP, CHECKPOINTS = "learners/test_backprop.py", "training/test_checkpoints.py"
DISTRIBUTIONS, BOUND = "model/test_distributions.py", "model/test_bound.py"
HMC, LIKELIHOOD = "inference/test_hmc.py", "inference/test_likelihood.py"
OPTIMISER, NETWORKS, MCEM = (
    "learners/test_optimiser.py",
    "model/test_networks.py",
    "learners/test_mcem.py",
)
CURVES, PUBLISHING = "results/test_curves.py", "results/test_publishing.py"
SAME_SEED, TABLES, CLAIMS = (f"comparison/test_{n}.py" for n in ("same_seed", "tables", "claims"))
EVALUATION, SELECTION = "training/test_evaluation.py", "training/test_selection.py"
PROMISES, INPUT = "reliability/test_promises.py", "reliability/test_bad_input.py"
_DIST, _LIKE = "model/distributions.py", "inference/likelihood.py"

MUTANTS = [
    # ------------------------------------------------------------------------------ mathematics
    Mutant("KL without its half", "model/bound.py", "-0.5 * (1 + q.log", "-1.0 * (1 + q.log", BOUND),
    Mutant("KL without the mean", "model/bound.py", " - q.mean.square()", "", BOUND),
    Mutant("KL with the standard deviation", "model/bound.py", "torch.exp(q.log_variance))", "torch.exp(0.5 * q.log_variance))", BOUND),
    Mutant("estimator A without log q", "model/bound.py", "log_pz - log_qz_given_x).mean(0)", "log_pz).mean(0)", BOUND),
    Mutant("estimator B with the KL added", "model/bound.py", "mean(0) - kl", "mean(0) + kl", BOUND),
    Mutant("importance weights: the sum for the mean", "model/bound.py", " - math.log(log_weights.shape[0])", "", BOUND),
    Mutant("standard normal without 2 pi", _DIST, "-0.5 * (LOG_2PI + z.square())", "-0.5 * (z.square())", DISTRIBUTIONS),
    Mutant("Gaussian without its log variance", _DIST, "(LOG_2PI + self.log_variance + squared)", "(LOG_2PI + squared)", DISTRIBUTIONS),
    Mutant("reparameterisation with the variance", _DIST, "torch.exp(0.5 * self.log_variance) * noise", "torch.exp(self.log_variance) * noise", DISTRIBUTIONS),
    Mutant("Bernoulli draws inverted", _DIST, "(noise < self.mean)", "(noise > self.mean)", DISTRIBUTIONS),
    Mutant("Bernoulli without softplus of large logits", _DIST, "F.softplus(self.logits)", "torch.log1p(torch.exp(self.logits))", DISTRIBUTIONS),
    Mutant("Gaussian means outside (0, 1)", "model/networks.py", "DiagonalGaussian(torch.sigmoid(self.mean(h))", "DiagonalGaussian((self.mean(h))", NETWORKS),
    Mutant("decoder without tanh", "model/networks.py", "Bernoulli(self.logits(self.deeper(torch.tanh(self.hidden(z)))))", "Bernoulli(self.logits(self.deeper(self.hidden(z))))", NETWORKS),
    Mutant("log-variance factor ignored", "model/networks.py", "self.weight * self.factor", "self.weight", NETWORKS),
    Mutant("initialisation by the variance", "model/networks.py", "special.get(name, initialisation.std)", "special.get(name, initialisation.std**0.5)", NETWORKS),
    Mutant("fast AEVB: KL's gradient by the mean lost", "learners/backprop.py", "grad_z - mean,", "grad_z,", BACKPROP),
    Mutant("fast AEVB: KL's gradient by the variance lost", "learners/backprop.py", ".add_(1).sub_(variance).mul_(0.5),\n        )", ".mul_(0.5),\n        )", BACKPROP),
    Mutant("fast wake-sleep: ratio's sign", "learners/backprop.py", "0.5 * (noise.square() - z.square() + log_variance)", "0.5 * (noise.square() + z.square() + log_variance)", BACKPROP),
    Mutant("fast encoder: factor not in its gradient", "learners/backprop.py", "scaled = grad_log_variance * self.factor", "scaled = grad_log_variance", BACKPROP),
    Mutant("fast step for any decoder", "learners/backprop.py", "type(decoder) in (BernoulliDecoder, GaussianDecoder)", "isinstance(decoder, (BernoulliDecoder, GaussianDecoder))", BACKPROP),
    Mutant("fast step for any number of samples", "learners/backprop.py", ' and options == PAPERS_AEVB', "", BACKPROP + " " + LEARNERS),
    Mutant("AEVB maximises the mean", "learners/aevb.py", "maximise(bound.sum())", "maximise(bound.mean())", LEARNERS),
    Mutant("wake moves the encoder", "learners/wake_sleep.py", 'self.ascents["decoder"].maximise', 'self.ascents["encoder"].maximise', LEARNERS),
    Mutant("sleep comes first", "learners/wake_sleep.py", "if self.sleep_first:", "if not self.sleep_first:", LEARNERS),
    Mutant("dreams unclipped", "learners/wake_sleep.py", "dream.clamp_(0, 1)", "pass", LEARNERS),
    Mutant("HMC: half a step too much", "inference/hmc.py", "return end, momentum + 0.5 * step_size", "return end, momentum + 1.0 * step_size", HMC),
    Mutant("HMC accepts all", "inference/hmc.py", "accepted = uniform(noise, len(momentum)) < probability", "accepted = uniform(noise, len(momentum)) < 2.0", HMC),
    Mutant("HMC target acceptance of a half", "inference/hmc.py", "TARGET_ACCEPTANCE = 0.9", "TARGET_ACCEPTANCE = 0.5", HMC),
    Mutant("joint density without its prior's gradient", "inference/hmc.py", "log_prob, gradient = standard_normal_log_prob(z), -z", "log_prob, gradient = standard_normal_log_prob(z), -0 * z", HMC),
    Mutant("MCEM: four weight updates", "learners/mcem.py", "weight_updates = 5", "weight_updates = 4", MCEM),
    Mutant("Appendix D fits all samples", _LIKE, "kernel_density(samples.z[:half], samples.z[half:]", "kernel_density(samples.z, samples.z[half:]", LIKELIHOOD),
    Mutant("Scott's rule of another dimension", _LIKE, "n ** (-1 / (nz + 4))", "n ** (-1 / (nz + 2))", LIKELIHOOD),
    Mutant("burn-in kept", _LIKE, "if i >= burn_in:", "if i >= 0:", LIKELIHOOD + " " + EVALUATION),
    Mutant("importance sampling without the prior's share", _LIKE, "PRIOR_SHARE = 0.1", "PRIOR_SHARE = 0.2", LIKELIHOOD),
    Mutant("quadrature without the cell", _LIKE, "log_px + nz * math.log(spacing)", "log_px + math.log(spacing)", LIKELIHOOD),
    Mutant("Adagrad without its root", "learners/optimiser.py", 'memory["squares"].sqrt()', 'memory["squares"]', OPTIMISER),
    Mutant("Adagrad starts at zero", "learners/optimiser.py", '{"squares": 1e-8}', '{"squares": 1e-6}', OPTIMISER),
    Mutant("prior on biases", "learners/optimiser.py", '0.0 if name.endswith("bias") else decay', "decay", OPTIMISER),
    Mutant("warm-up one update short", "learners/optimiser.py", "self.updates > self.optimisation.warmup", "self.updates >= self.optimisation.warmup", OPTIMISER),
    # --------------------------------------------------------------------------------- protocol
    Mutant("seed ignored for initialisation", "training/job.py", 'generator(run.seed, "initialisation")', 'generator(0, "initialisation")', PROMISES),
    Mutant("seed ignored for minibatches", "training/job.py", 'generator(run.seed, "minibatches", device)', 'generator(0, "minibatches", device)', PROMISES),
    Mutant("seed ignored for noise", "training/job.py", 'generator(run.seed, "noise", device)', 'generator(0, "noise", device)', PROMISES),
    Mutant("seed ignored for evaluation", "training/evaluation.py", "generator(run.seed, f\"evaluation at", "generator(0, f\"evaluation at", JOB),
    Mutant("one stream for all purposes", "model/randomness.py", 'f"{purpose} {seed}"', 'f"{seed}"', "model/test_randomness.py"),
    Mutant("100,000 samples passed over", "training/evaluation.py", "training.samples < FIRST_MARGINAL_LOGLIK", "training.samples <= FIRST_MARGINAL_LOGLIK", PROMISES),
    Mutant("n_train ignored", "training/job.py", "points = dataset.train[: run.n_train]", "points = dataset.train", JOB),
    Mutant("prior not scaled by M / N", "training/run.py", "self.prior * share, share", "self.prior, share", JOB),
    Mutant("test images evaluated on train", "training/evaluation.py", '"test": _lower_bounds(model, dataset.test', '"test": _lower_bounds(model, dataset.train', EVALUATION),
    Mutant("ten log points a decade", "training/log_points.py", "LOG_POINTS_PER_DECADE = 20", "LOG_POINTS_PER_DECADE = 10", LOOP),
    Mutant("the running average never starts anew", "training/loop.py", "        self._running_sum, self._running_updates = 0.0, 0\n\n    def has", "\n    def has", LOOP),
    Mutant("standard error without its root", "training/evaluation.py", "len(per_point) ** 0.5", "len(per_point)", JOB),
    Mutant("divergence unnoticed", "training/loop.py", "not math.isfinite(bound) or", "False or", JOB),
    Mutant("step size chosen by the lowest bound", "training/selection.py", "return max(finite", "return min(finite", SELECTION),
    Mutant("denormals not flushed", "training/loop.py", "torch.set_flush_denormal(True)", "pass", PROMISES),
    # ----------------------------------------------------------------------------------- resume
    Mutant("order of minibatches not restored", "training/loop.py", 'self.order.set_state(state["order"])', "pass", LOOP),
    Mutant("noise not restored", "training/loop.py", 'self.learner.noise.set_state(state["noise"])', "pass", LOOP),
    Mutant("updates not restored", "training/loop.py", 'ascent.updates = int(state["ascents"][key]["updates"])', "pass", LOOP),
    Mutant("running sum not restored", "training/loop.py", 'self._running_sum = state["running_sum"]', "pass", LOOP),
    Mutant("chains not remembered", "training/loop.py", 'k: v.to(self.points.device) for k, v in state["memory"].items()', "", LOOP + " " + JOB),
    Mutant("curve written before checkpoint", "training/job.py", "        checkpoints.save(self.run, content)\n        rows = self.training.rows\n        if rows and rows[-1][\"samples\"] >= self._curve_ends:\n            curves.write(self.curve, rows, self._manifest())\n", "        rows = self.training.rows\n        if rows and rows[-1][\"samples\"] >= self._curve_ends:\n            curves.write(self.curve, rows, self._manifest())\n        checkpoints.save(self.run, content)\n", PROMISES),
    Mutant("fsync removed", "files.py", "os.fsync(file.fileno())", "pass", PROMISES),
    Mutant("written in place", "files.py", 'target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")', "target", CURVES),
    Mutant("safe loader switched off", "training/checkpoints.py", "weights_only=True", "weights_only=False", PROMISES),
    Mutant("checkpoint's digest unread", "training/checkpoints.py", "if sha256(saved).digest() != digest:", "if False:", CHECKPOINTS),
    Mutant("other settings continued", "training/checkpoints.py", "if made_with != provenance.digest(run.configuration):", "if False:", CHECKPOINTS),
    Mutant("parts not swept", "training/checkpoints.py", "            _sweep(run)\n", "", CHECKPOINTS),
    Mutant("a longer curve overwritten", "training/job.py", ">= self._curve_ends", ">= 0", CHECKPOINTS),
    # ------------------------------------------------------------------- results and comparison
    Mutant("curve's digest unread", "results/curves.py", "if digest and digest !=", "if False and digest !=", CURVES),
    Mutant("manifest's digest unread", "results/curves.py", "and told != provenance.digest(manifest)", "and False", INPUT),
    Mutant("model's digest unread", "results/models.py", "if digest and digest !=", "if False and digest !=", "training/test_export.py"),
    Mutant("the paper's digests unread", "results/curves.py", "if not sums.exists() or line not in", "if False and line not in", INPUT),
    Mutant("manifest of another curve taken", "results/curves.py", "if told != (self.study, self.name, self.samples):", "if False:", CURVES),
    Mutant("lines straight in samples, not their logarithm", "results/lines.py", "np.interp(np.log10(samples), np.log10(x), y, left", "np.interp(samples, x, y, left", CURVES),
    Mutant("window of another length", "results/lines.py", "np.maximum(self.samples - window, 0)", "np.maximum(self.samples - 2 * window, 0)", CURVES),
    Mutant("a shorter curve published", "results/publishing.py", "if curve.samples < published.samples:", "if False:", PUBLISHING),
    Mutant("difference of the wrong sign", "comparison/pairs.py", "ours.value_at(samples) - paper.value_at(samples)", "paper.value_at(samples) - ours.value_at(samples)", TABLES),
    Mutant("another machine taken for the same", "comparison/same_seed.py", "if same_hardware and len(torch)", "if len(torch)", SAME_SEED),
    Mutant("a diverged run passes", "comparison/same_seed.py", "nan=math.inf, posinf=math.inf", "nan=0.0, posinf=0.0", SAME_SEED),
]  # fmt: skip


WHY_SURVIVE: dict[str, str] = {}
"""Why no test needs to notice a mutant that survives, by what it changes."""


def first_failure(tests: str, source: Path | None = None) -> str | None:
    """The first test to fail, in a process of its own, with the library in `source`; None if none.

    Raises:
        RuntimeError: if pytest ran no test, or ended in another way of its own.
    """
    with tempfile.TemporaryFile("w+") as told:
        child = os.fork()
        if child == 0:
            _test(tests, source or ROOT / "src", told)
        end = time.monotonic() + LONGEST
        while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
            if time.monotonic() > end:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return f"none had ended after {LONGEST:.0f} s"
            time.sleep(0.05)
        told.seek(0)
        output = told.read()
    status = os.waitstatus_to_exitcode(ended[1])
    if status not in (0, 1, 2):  # 2: the tests cannot be imported
        raise RuntimeError(f"pytest {tests} ended with {status}: {output}")
    named = re.search(r"^(?:FAILED|ERROR) (?:tests/)?(\S+)", output, re.MULTILINE)
    return (named[1] if named else "an error") if status else None


def _test(tests: str, source: Path, told: Any) -> None:
    sys.path.insert(0, str(source))
    located = importlib.util.find_spec("aevb")
    assert located is not None
    assert str(located.origin).startswith(str(source))
    names = [str(ROOT / "tests" / test) for test in tests.split()]
    quiet = ["-x", "-q", "-m", "not data", "-p", "no:cacheprovider", "--no-header", "--tb=no"]
    with contextlib.redirect_stdout(told):
        status = pytest.main([*quiet, *names])
    told.flush()
    os._exit(int(status))


def changed(mutant: Mutant) -> str:
    """The file of a mutant with its change.

    Raises:
        ValueError: if the text to be changed is not there, or not once.
    """
    text = (ROOT / "src" / "aevb" / mutant.file).read_text()
    if (found := text.count(mutant.old)) != 1:
        raise ValueError(f"{mutant.what}: {mutant.old!r} is {found} times in {mutant.file}")
    return text.replace(mutant.old, mutant.new)


def mutated(mutant: Mutant, folder: Path) -> Path:
    """A copy of src with the change."""
    source = folder / "src"
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
    (source / "aevb" / mutant.file).write_text(changed(mutant))
    return source


def digest(mutant: Mutant) -> str:
    """SHA-256 of the changed file and of the tests that should notice."""
    tests = [(ROOT / "tests" / test).read_text() for test in mutant.tests.split()]
    return hashlib.sha256("\0".join([changed(mutant), mutant.tests, *tests]).encode()).hexdigest()


def record(outcomes: dict[str, dict[str, Any]]) -> None:
    """Write what came of the mutants that were tried so far."""
    survivors = [what for what, outcome in outcomes.items() if not outcome["killed_by"]]
    about = {
        "made_by": "make mutants",
        "listed": len(MUTANTS),
        "tried": len(outcomes),
        "killed": len(outcomes) - len(survivors),
        "survivors": {what: WHY_SURVIVE.get(what, "") for what in survivors},
        "outcomes": outcomes,
    }
    part = RECORD.with_suffix(".part")
    part.write_text(json.dumps(about, indent=2) + "\n")
    part.replace(RECORD)


def main() -> None:
    """Try every mutant that is not recorded, and end with 1 if fewer than 95 % of all are killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="mutants whose description has this")
    parser.add_argument("--again", action="store_true", help="also those that are recorded")
    options = parser.parse_args()
    os.chdir(ROOT)
    torch.set_num_threads(1)
    sys.dont_write_bytecode = True
    known = json.loads(RECORD.read_text())["outcomes"] if RECORD.exists() else {}
    of = {mutant.what: digest(mutant) for mutant in MUTANTS}
    tried = {what: known[what] for what in of if what in known}
    due = [
        mutant
        for mutant in MUTANTS
        if options.only in mutant.what
        and (options.again or tried.get(mutant.what, {}).get("of") != of[mutant.what])
    ]
    passing = set()
    with tempfile.TemporaryDirectory() as folder:
        for mutant in due:
            if mutant.tests not in passing and (failure := first_failure(mutant.tests)):
                raise SystemExit(f"{failure} fails without any mutant, so it kills none")
            passing.add(mutant.tests)
            began = time.monotonic()
            killer = first_failure(mutant.tests, mutated(mutant, Path(folder)))
            seconds = round(time.monotonic() - began, 1)
            tried[mutant.what] = {"killed_by": killer, "seconds": seconds, "of": of[mutant.what]}
            record({what: tried[what] for what in of if what in tried})
            print(f"{mutant.what}: {'killed by ' + killer if killer else 'survives'}", flush=True)
    survivors = [what for what, outcome in tried.items() if not outcome["killed_by"]]
    print(f"{len(tried) - len(survivors)} of {len(tried)} killed; survivors: {survivors}")
    unexplained = [what for what in survivors if what not in WHY_SURVIVE]
    raise SystemExit(bool(unexplained) or len(survivors) > 0.05 * len(tried))


if __name__ == "__main__":
    main()
