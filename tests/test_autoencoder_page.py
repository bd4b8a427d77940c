"""The page of the whole auto-encoder, against PyTorch, by mouse, touch and keyboard."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from playwright.sync_api import Browser, Page
from test_browser import CHROMIUM, Visit, base, browser, html, visiting  # noqa: F401
from test_explorer import MNIST, explorer, needs_chromium, needs_models

from aevb import data
from aevb.model.bound import importance_weighted, kl_to_standard_normal
from aevb.model.distributions import standard_normal_log_prob
from aevb.results import models

PAPER = "#autoencoder [data-part=paper]"
NOTHING: dict[str, Any] = {"model": None, "digits": None}


@pytest.fixture(scope="module")
def built(html: Path) -> Path:  # noqa: F811
    """The rendered book; with the model of this moment."""
    assert (html / explorer.AUTOENCODER).exists(), "book/build.py html writes it"
    explorer.write(html)
    return html


@pytest.fixture
def visit(browser: Browser, built: Path) -> Iterator[Visit]:  # noqa: F811
    with visiting(browser, built.as_uri() + "/", "autoencoder.html") as visit:
        yield visit


def x_of(page: Page) -> torch.Tensor:
    return torch.tensor(page.evaluate("window.aevbAutoencoder.x")).view(28, 28)


def z_of(page: Page) -> list[float]:
    z: list[float] = page.evaluate("window.aevbAutoencoder.z")
    return z


def assert_close(name: str, found: Any, expected: torch.Tensor) -> None:
    torch.testing.assert_close(
        torch.tensor(found),
        expected,
        rtol=1e-4,
        atol=1e-4,
        msg=lambda message: f"{name}: {message}",
    )


def middle(page: Page) -> tuple[float, float, float]:
    """The middle of the paper and the size of one of its pixels."""
    page.locator(PAPER).scroll_into_view_if_needed()
    box = page.locator(PAPER).bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, box["width"] / 28


def test_without_a_model_there_is_nothing(project: Path) -> None:
    assert explorer.autoencoder() == NOTHING


@needs_models
@pytest.mark.data("mnist")
def test_what_the_page_loads_is_small(tmp_path: Path) -> None:
    explorer.write(tmp_path)
    assert (tmp_path / explorer.AUTOENCODER).stat().st_size < 2_500_000


@needs_chromium
@needs_models
@pytest.mark.data("mnist")
def test_every_term_equals_pytorchs(visit: Visit) -> None:
    file = models.stored(MNIST, local=False)
    assert file is not None
    model = models.read(file)[0]
    images = data.load("mnist").test[:3]
    images = torch.cat([images, torch.zeros(1, 784)])
    epsilons = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
    for x in images:
        found = visit.page.evaluate(
            "([x, epsilons]) => window.aevbAutoencoder.terms(x, epsilons)",
            [x.tolist(), epsilons.tolist()],
        )
        with torch.no_grad():
            q = model.encoder(x)
            z = q.sample(epsilons)
            p = model.decoder(z)
            log_px_given_z = p.log_prob(x)
            expected = {
                "mean": q.mean,
                "sigma": torch.exp(0.5 * q.log_variance),
                "z": z[0],
                "image": p.mean[0],
                "reconstruction": log_px_given_z[0],
                "kl": kl_to_standard_normal(q),
                "bound": log_px_given_z[0] - kl_to_standard_normal(q),
                "weighted": importance_weighted(
                    log_px_given_z, standard_normal_log_prob(z), q.log_prob(z)
                ),
            }
        for name, value in expected.items():
            assert_close(name, found[name], value)


@needs_chromium
@needs_models
@pytest.mark.data("mnist")
def test_epsilon_is_held_while_a_digit_moves_and_redrawn_while_it_stays(visit: Visit) -> None:
    page = visit.page
    epsilon = "window.aevbAutoencoder.epsilon"
    before, held, z = x_of(page), page.evaluate(epsilon), z_of(page)
    page.locator(PAPER).focus()
    top = page.evaluate("scrollY")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert x_of(page).equal(before.roll((1, 1), (0, 1)))
    assert page.evaluate("scrollY") == top
    assert page.evaluate(epsilon) == held
    assert z_of(page) != z
    shifted, z = x_of(page), z_of(page)
    page.get_by_role("button", name="Redraw ε").click()
    assert x_of(page).equal(shifted)
    assert page.evaluate(epsilon) != held
    assert z_of(page) != z
    page.get_by_role("button", name="ε = 0").click()
    assert page.evaluate(epsilon) == [0, 0]
    page.get_by_label("hold ε").uncheck()
    page.locator(PAPER).focus()
    page.keyboard.press("ArrowLeft")
    assert page.evaluate(epsilon) != [0, 0]


@needs_chromium
@needs_models
@pytest.mark.data("mnist")
def test_drawing_by_mouse_moves_every_term(visit: Visit) -> None:
    page = visit.page
    terms = ["reconstruction", "kl", "bound", "weighted"]

    def told() -> list[str]:
        page.wait_for_function(
            "document.querySelector('#autoencoder [data-part=weighted]').textContent != '…'"
        )
        return [page.inner_text(f"#autoencoder [data-part={name}]") for name in terms]

    page.get_by_role("button", name="Clear").click()
    assert x_of(page).count_nonzero() == 0
    blank = told()
    x, y, pixel = middle(page)
    page.mouse.move(x - 3 * pixel, y - 8 * pixel)
    page.mouse.down()
    page.mouse.move(x - 3 * pixel, y + 8 * pixel, steps=8)
    page.mouse.up()
    drawn = x_of(page)
    assert drawn[10:18, 10].min() > 0.9, "ink along the stroke"
    assert drawn[:, 18:].count_nonzero() == 0
    assert all(a != b for a, b in zip(told(), blank, strict=True))
    page.mouse.move(x + 9 * pixel, y)
    assert x_of(page).equal(drawn), "only while the button is down"
    page.get_by_role("button", name="Centre").click()
    columns = torch.arange(28.0)
    assert float((x_of(page).sum(0) * columns).sum() / x_of(page).sum()) == pytest.approx(
        13.5, abs=0.51
    )
    weighted = told()[3]
    page.locator("#autoencoder-k").focus()
    page.keyboard.press("Home")
    assert page.inner_text("output[for=autoencoder-k]") == "1"
    assert told()[3] != weighted
    assert "bound" in page.inner_text("#autoencoder-says")


@needs_chromium
@needs_models
@pytest.mark.data("mnist")
def test_a_finger_draws_and_the_page_stays_and_fits(
    browser: Browser,  # noqa: F811
    built: Path,
) -> None:
    viewport: Any = {"width": 390, "height": 844}
    context = browser.new_context(viewport=viewport, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(f"{built.as_uri()}/autoencoder.html", wait_until="load")
    page.evaluate("window.MathJax.startup.promise.then(() => true)")
    page.get_by_role("button", name="Clear").click()
    x, y, pixel = middle(page)
    top = page.evaluate("scrollY")
    finger = context.new_cdp_session(page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        where = [{"x": a, "y": b} for a, b in points]
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": where})

    touch("touchStart", (x, y - 6 * pixel))
    for part in range(-5, 7):
        touch("touchMove", (x, y + part * pixel))
    touch("touchEnd")
    page.wait_for_function("window.aevbAutoencoder.x.filter((v) => v > 0.5).length > 15")
    assert page.evaluate("scrollY") == top
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    wide = """[...document.querySelectorAll('.autoencoder *')]
        .filter(e => e.getBoundingClientRect().right > 391).map(e => e.outerHTML)"""
    assert page.evaluate(wide) == []
    context.close()


@needs_chromium
def test_without_a_model_the_page_says_so(
    browser: Browser,  # noqa: F811
    built: Path,
    base: str,  # noqa: F811
) -> None:
    visit = Visit(browser, base)
    script = f"window.aevbAutoencoderData = {json.dumps(NOTHING)};"
    visit.page.route("**/autoencoder-data.js", lambda route: route.fulfill(body=script))
    page = visit.open("autoencoder.html")
    assert not page.is_visible("#autoencoder")
    assert page.get_by_text("it has nothing to show").is_visible()
    assert visit.complaints == []
    page.close()
