"""The page that trains in the browser, against PyTorch and against the library's curves."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from playwright.sync_api import Browser, Page
from test_browser import BOOK, CHROMIUM, Visit, base, browser, html, visiting  # noqa: F401
from test_explorer import load, needs_chromium

from aevb.clinic.catalogue import CATALOGUE
from aevb.clinic.code import Code
from aevb.learners.backprop import BackpropAEVB
from aevb.learners.optimiser import Optimisation
from aevb.model.bound import kl_to_standard_normal
from aevb.model.networks import Architecture, Initialisation, Model, initialised
from aevb.model.randomness import generator
from aevb.results import curves

training = load("training")

BUILD = load("build")
SCRIPTS = training.FOLDER
HIDDEN, M, N = 100, 20, 1000
SETTINGS: dict[str, Any] = {
    "hidden": HIDDEN,
    "nz": 2,
    "seed": 0,
    "stepSize": 0.1,
    "minibatch": M,
    "samples": 1,
    "klWeight": 1,
    "mistake": "Code",
    "warmup": 2,
    "prior": 1,
    "nTrain": N,
}
MISTAKES = [
    "Code",
    "KlSummedOverBatch",
    "KlOverPixels",
    "KlSign",
    "SampleOfVariance",
    "SampleOfLogVariance",
    "NoGradientThroughZ",
    "EpsilonShared",
    "EpsilonFixed",
]

needs_curves = pytest.mark.skipif(
    set(training.published()) != set(training.RUNS), reason="needs results/curves/browser"
)

# ------------------------------------------------------------------------------------ the files


@pytest.mark.skipif(shutil.which("npm") is None, reason="needs npm (apt-get install npm)")
def test_the_binary_is_that_of_its_source(tmp_path: Path) -> None:
    BUILD.compile_kernels(tmp_path / "kernels.wasm")
    assert (tmp_path / "kernels.wasm").read_bytes() == training.KERNELS.read_bytes()


@needs_curves
@pytest.mark.data("mnist")
def test_the_scripts_are_the_same_bytes_every_time_and_small(tmp_path: Path) -> None:
    for place in ("here", "there"):
        training.write(tmp_path / place)
    files = [tmp_path / place / SCRIPTS for place in ("here", "there")]
    for name in ("curves.js", "digits.js"):
        assert (files[0] / name).read_bytes() == (files[1] / name).read_bytes()
    carried = [*(BOOK / "assets" / "train").iterdir(), *(BOOK / "assets" / "uplot").iterdir()]
    size = sum(file.stat().st_size for file in [*carried, *files[0].iterdir()])
    assert size < 3_000_000
    assert (files[0] / "curves.js").stat().st_size < 200_000, "all that is loaded before the start"


@needs_curves
@pytest.mark.parametrize("name", training.RUNS)
def test_the_published_curves_are_of_the_digits_of_the_page(name: str) -> None:
    for curve in curves.seeds(training.STUDY, f"{name}-seed0"):
        assert curve.configuration["measure"] == "lower_bound_by_subset"
        assert curve.configuration["dataset"] == "mnist"
        assert curve.configuration["n_hidden"] == HIDDEN
    assert len(training.published()[name]["curves"]) == 3


def test_uplot_brings_its_licence_and_names_no_other_host() -> None:
    uplot = BOOK / "assets" / "uplot"
    assert "MIT License" in (uplot / "LICENSE").read_text()
    assert "://" not in (uplot / "uPlot.iife.min.js").read_text().split("\n", 1)[1]


# ------------------------------------------------------------------------------------ the page


@pytest.fixture(scope="module")
def built(html: Path) -> Path:  # noqa: F811
    """The rendered book; with the scripts of this moment."""
    assert (html / SCRIPTS / "curves.js").exists(), "book/build.py html writes it"
    training.write(html)
    return html


@pytest.fixture
def visit(browser: Browser, built: Path) -> Iterator[Visit]:  # noqa: F811
    with visiting(browser, built.as_uri() + "/", "train.html") as visit:
        yield visit


@pytest.fixture(scope="module")
def tab(browser: Browser, built: Path) -> Iterator[Page]:  # noqa: F811
    """One page for all tests that only compute."""
    with visiting(browser, built.as_uri() + "/", "train.html") as visit:
        yield visit.page


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    """Grey levels of a few digits."""
    levels = torch.randint(0, 256, (M, 784), generator=torch.Generator().manual_seed(0))
    return levels * (torch.rand(levels.shape, generator=torch.Generator().manual_seed(1)) < 0.2)


def some_model(nz: int, hidden: int = HIDDEN) -> Model:
    """A model with larger weights than those of a start, so that every term counts."""
    sizes = Architecture(784, hidden, nz, "bernoulli")
    return initialised(sizes, Initialisation(0.1, 0.1, 0.1), generator(5, "initialisation"))


def numbers(model: Model) -> dict[str, list[float]]:
    return {name: p.detach().flatten().tolist() for name, p in model.named_parameters()}


# With the library's parameters: the bound of all images, and its gradient by name.
GRADIENTS = """([settings, images, parameters, epsilon, simd]) => {
    const learner = window.aevbTrain.learner(settings, images, simd);
    for (const [name, values] of Object.entries(parameters)) learner.set(name, values);
    const numbers = Array.from({ length: images.length / 784 }, (_, k) => k);
    const bound = learner.given(numbers, epsilon);
    const gradients = learner.names.map((name) => [name, learner.get(`gradient of ${name}`)]);
    return [bound, Object.fromEntries(gradients), Boolean(learner.fast)];
}"""


def assert_close(name: str, found: list[float], expected: torch.Tensor) -> None:
    """To 1e-4 of the value or of the largest of the tensor."""
    torch.testing.assert_close(
        torch.tensor(found).view_as(expected),
        expected,
        rtol=1e-4,
        atol=1e-4 * expected.abs().max().item(),
        msg=lambda message: f"{name}: {message}",
    )


def assert_same(found: dict[str, list[float]], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert_close(name, found[name], values)


@needs_chromium
@needs_curves
@pytest.mark.parametrize(
    ("mistake", "simd"), [("Code", False), *((mistake, True) for mistake in MISTAKES)]
)
def test_gradients_equal_pytorchs(
    mistake: str, simd: bool, tab: Page, images: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the right code and of each mistake of the clinic, whose code is its own reference."""
    entry = next(one for one in CATALOGUE if one.name == mistake)
    kind = entry.does
    assert isinstance(kind, type)
    assert issubclass(kind, Code)
    monkeypatch.setattr("aevb.clinic.code.HIDDEN", HIDDEN)
    monkeypatch.setattr("aevb.clinic.code.MINIBATCH", M)
    code = kind(2, 0, 0.1, N)
    with torch.no_grad():
        for p, q in zip(code.model.parameters(), some_model(2).parameters(), strict=True):
            p.copy_(q)
    epsilon = code.epsilon(M).expand(M, 2)
    monkeypatch.setattr(code, "epsilon", lambda rows: epsilon)
    bound = code.bound(*code.terms(images / 255))
    named = dict(code.model.named_parameters())
    expected = dict(zip(named, torch.autograd.grad(M * bound, list(named.values())), strict=True))
    given = [
        SETTINGS | {"mistake": mistake},
        images.flatten().tolist(),
        numbers(code.model),
        epsilon.flatten().tolist(),
        simd,
    ]
    value, found, fast = tab.evaluate(GRADIENTS, given)
    assert fast == simd
    assert value == pytest.approx(bound.item(), rel=1e-5)
    assert_same(found, expected)


@needs_chromium
@needs_curves
def test_gradients_of_many_samples_of_z_equal_pytorchs(tab: Page, images: torch.Tensor) -> None:
    """And with another weight on the KL, and a number of digits that four does not divide."""
    few, model, L = images[:7], some_model(3), 3
    epsilon = torch.randn(L, 7, 3, generator=torch.Generator().manual_seed(2))
    q = model.encoder(few / 255)
    log_px_given_z = model.decoder(q.sample(epsilon)).log_prob(few / 255)
    bound = (log_px_given_z.mean(0) - 0.3 * kl_to_standard_normal(q)).sum()
    named = dict(model.named_parameters())
    expected = dict(zip(named, torch.autograd.grad(bound, list(named.values())), strict=True))
    given = [
        SETTINGS | {"nz": 3, "samples": L, "minibatch": 7, "klWeight": 0.3},
        few.flatten().tolist(),
        numbers(model),
        epsilon.flatten().tolist(),
        True,
    ]
    value, found, _ = tab.evaluate(GRADIENTS, given)
    assert value == pytest.approx(bound.item() / 7, rel=1e-5)
    assert_same(found, expected)


UPDATES = """([settings, images, parameters, epsilons]) => {
    const learner = window.aevbTrain.learner(settings, images);
    for (const [name, values] of Object.entries(parameters)) learner.set(name, values);
    const numbers = Array.from({ length: settings.minibatch }, (_, k) => k);
    for (const epsilon of epsilons) {
        learner.given(numbers, epsilon);
        learner.update();
    }
    return Object.fromEntries(learner.names.map((name) => [name, learner.get(name)]));
}"""


@needs_chromium
@needs_curves
def test_updates_equal_the_librarys(tab: Page, images: torch.Tensor) -> None:
    """Adagrad, the warm-up and the prior, over several updates."""
    model, noise = some_model(2), generator(0, "noise")
    before = numbers(model)
    optimisation = Optimisation("adagrad", 0.1, warmup=2, weight_decay=M / N)
    learner = BackpropAEVB(model, optimisation, noise)
    state = noise.get_state()
    epsilons = [torch.randn(M, 2, generator=noise).flatten().tolist() for _ in range(6)]
    noise.set_state(state)
    for _ in range(6):
        learner.step(images / 255)
    found = tab.evaluate(UPDATES, [SETTINGS, images.flatten().tolist(), before, epsilons])
    for name, p in model.named_parameters():
        # Adagrad divides by the size of a gradient: where that is all rounding, so is the step.
        wrong = (torch.tensor(found[name]).view_as(p) - p.detach()).abs() > 1e-3
        assert float(wrong.float().mean()) < 1e-3, name


def wait_for(page: Page, samples: int) -> None:
    page.wait_for_function(
        f"window.aevbTrain.points.some((point) => point.samples >= {samples})", timeout=240_000
    )


@needs_chromium
@needs_curves
@pytest.mark.data("mnist")
def test_a_curve_stays_with_those_of_the_library(visit: Visit) -> None:
    """With a fixed seed: as far from the published seeds as they are from each other, or nearer."""
    page = visit.page
    page.get_by_role("button", name="Start").click()
    wait_for(page, 150_000)
    points = page.evaluate("window.aevbTrain.points")
    published = curves.seeds(training.STUDY, f"{training.RUNS[0]}-seed0")
    for column, split in (("train", "train"), ("test_first1000", "test")):
        ours = {point["samples"]: point[split]["bound"] for point in points}
        checked = 0
        for samples in published[0].table.samples[published[0].table.samples >= 40_000]:
            if samples not in ours:
                continue
            theirs = [one.value_at(samples, column) for one in published]
            room = max(theirs) - min(theirs) + 1
            assert min(theirs) - room < ours[samples] < max(theirs) + room, (split, samples)
            checked += 1
        assert checked >= 10
    assert page.inner_text("#train [data-part=differences]").startswith("The settings of")
    assert page.evaluate("window.aevbTrain.rate") > 0


@needs_chromium
@needs_curves
@pytest.mark.data("mnist")
def test_it_pauses_goes_on_and_starts_anew(visit: Visit) -> None:
    page = visit.page
    scripts = "[...document.scripts].map((one) => one.src).filter((one) => one.includes('digits'))"
    assert page.evaluate(scripts) == [], "nothing is loaded before it is needed"
    options = "[...document.querySelector('[name=mistake]').options].map((one) => one.value)"
    assert page.evaluate(options) == MISTAKES
    page.get_by_label("Seed").fill("3")
    page.get_by_label("Mistake").select_option("KL added")
    page.get_by_role("button", name="Start").focus()
    page.keyboard.press("Enter")
    wait_for(page, 1000)
    assert page.get_by_label("Seed").is_disabled()
    assert "KL added" in page.inner_text("#train [data-part=differences]")
    page.keyboard.press("Enter")
    assert page.evaluate("window.aevbTrain.state") == "paused"
    page.wait_for_timeout(300)
    rate = page.inner_text("#train [data-part=rate]")
    page.wait_for_timeout(300)
    assert page.inner_text("#train [data-part=rate]") == rate
    page.get_by_role("button", name="Continue").click()
    page.wait_for_function(
        "text => document.querySelector('#train [data-part=rate]').textContent != text", arg=rate
    )
    page.evaluate("""() => {
        Object.defineProperty(document, "hidden", { get: () => true });
        document.dispatchEvent(new Event("visibilitychange"));
    }""")
    assert page.evaluate("window.aevbTrain.state") == "paused"
    assert "hidden" in page.inner_text("#train [data-part=says]")
    page.get_by_role("button", name="Reset").click()
    assert page.evaluate("[window.aevbTrain.state, window.aevbTrain.points.length]") == ["new", 0]
    assert page.get_by_label("Seed").is_enabled()


@needs_chromium
@needs_curves
@pytest.mark.data("mnist")
def test_without_simd_it_trains_too_and_more_slowly(visit: Visit) -> None:
    page = visit.page
    rates = []
    for simd in (True, False):
        page.get_by_label("SIMD").set_checked(simd)
        page.get_by_role("button", name="Start").click()
        wait_for(page, 3000)
        rates.append(page.evaluate("window.aevbTrain.rate"))
        assert ("without SIMD" in page.inner_text("#train [data-part=rate]")) != simd
        page.get_by_role("button", name="Reset").click()
    assert rates[0] > rates[1]


@needs_chromium
@needs_curves
@pytest.mark.data("mnist")
def test_the_pictures_are_drawn_and_it_fits_a_phone(browser: Browser, built: Path) -> None:  # noqa: F811
    visit = Visit(browser, built.as_uri() + "/")
    page = visit.open("train.html")
    page.set_viewport_size({"width": 390, "height": 844})
    drawn = """part => {
        const canvas = document.querySelector(`#train [data-part=${part}]`);
        return canvas.toDataURL();
    }"""
    parts = ("manifold", "cloud")
    blank = [page.evaluate(drawn, part) for part in parts]
    page.get_by_label("Run").select_option("5,000 digits, two dimensions")
    page.get_by_role("button", name="Start").click()
    wait_for(page, 2000)
    for part, before in zip(parts, blank, strict=True):
        page.wait_for_function(f"([part, before]) => ({drawn})(part) != before", arg=[part, before])
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    wide = """[...document.querySelectorAll('.train *')]
        .filter(e => e.getBoundingClientRect().right > 391).map(e => e.outerHTML)"""
    assert page.evaluate(wide) == []
    assert visit.complaints == []
    page.close()


@needs_chromium
def test_without_curves_the_page_says_so(browser: Browser, built: Path, base: str) -> None:  # noqa: F811
    visit = Visit(browser, base)
    script = f"window.aevbTraining = {json.dumps({'runs': {}, 'wasm': ''})};"
    visit.page.route("**/curves.js", lambda route: route.fulfill(body=script))
    page = visit.open("train.html")
    assert not page.is_visible("#train")
    assert page.get_by_text("there is nothing to train").is_visible()
    assert visit.complaints == []
    page.close()
