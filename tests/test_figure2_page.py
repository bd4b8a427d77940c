"""The page on which Figure 2 answers, by mouse, touch and keyboard, against the library."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page
from test_browser import CHROMIUM, Visit, base, browser, html, visiting  # noqa: F401
from test_explorer import load, needs_chromium

from aevb.comparison import judge, pairs
from aevb.results import citing, curves
from aevb.training import experiments

figure2 = load("figure2")

RUN = experiments.figure2_run("mnist", 20, "aevb")
CHART = "#figure2-answers [data-part=chart]"
SAYS = "#figure2-says"
VERDICT = "#figure2-answers [data-part=verdict]"


@pytest.fixture(scope="module")
def built(html: Path) -> Path:  # noqa: F811
    """The rendered book; with the curves of this moment."""
    assert (html / figure2.SCRIPT).exists(), "book/build.py html writes it"
    figure2.write(html)
    return html


@pytest.fixture
def visit(browser: Browser, built: Path) -> Iterator[Visit]:  # noqa: F811
    with visiting(browser, built.as_uri() + "/", "figure2-answers.html") as visit:
        visit.page.get_by_label("MNIST, Nz = 20", exact=True).check()
        yield visit


def test_the_data_are_small_and_of_every_panel() -> None:
    found = figure2.content()
    assert len(found["panels"]) == sum(map(len, experiments.NZ.values()))
    for panel in found["panels"]:
        sources = {(line["algorithm"], line["source"]) for line in panel["lines"]}
        assert {(name, "the paper") for name in experiments.ALGORITHMS["figure2"]} < sources
        assert {(name, "seed 0") for name in experiments.ALGORITHMS["figure2"]} < sources


def test_what_the_page_loads_is_small(tmp_path: Path) -> None:
    assert figure2.write(tmp_path).stat().st_size < 1_500_000


def line_of(page: Page, **wanted: str) -> int:
    """The place among the shown lines of the one that is wanted."""
    index: int = page.evaluate(
        """wanted => window.aevbFigure2.shown().findIndex(
            (line) => Object.entries(wanted).every(([key, value]) => line[key] === value))""",
        wanted,
    )
    assert index >= 0, wanted
    return index


@needs_chromium
def test_pointing_tells_what_is_there(visit: Visit) -> None:
    page = visit.page
    k = line_of(page, algorithm="aevb", split="train", source="seed 0")
    x, y, samples = page.evaluate(
        """k => {
            const line = window.aevbFigure2.shown()[k];
            const index = line.samples.length - 1;
            return [...window.aevbFigure2.place(line, index), line.samples[index]];
        }""",
        k,
    )
    page.locator(CHART).scroll_into_view_if_needed()
    box = page.locator(f"{CHART} .u-over").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + x, box["y"] + y)
    curve = curves.published("figure2", RUN.name)
    assert samples == curve.samples
    line = pairs.our_line(curve, RUN, "train_running")
    assert line is not None
    ours = line.value_at(samples)
    paper = pairs.paper_line(RUN, "train").value_at(samples)
    told = page.inner_text(SAYS).replace("−", "-")
    assert told.startswith(f"MNIST, Nz = 20, AEVB, train, {samples:,} samples, seed 0: ours is ")
    assert f"ours is {ours:.1f} nats, the paper's {paper:.1f}" in told
    assert f"the difference {ours - paper:+.1f}" in told


@needs_chromium
def test_a_finger_asks_too(browser: Browser, built: Path) -> None:  # noqa: F811
    viewport: Any = {"width": 390, "height": 844}
    context = browser.new_context(viewport=viewport, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(f"{built.as_uri()}/figure2-answers.html", wait_until="load")
    page.evaluate("window.MathJax.startup.promise.then(() => true)")
    page.locator(CHART).scroll_into_view_if_needed()
    box = page.locator(f"{CHART} .u-over").bounding_box()
    assert box is not None
    page.touchscreen.tap(box["x"] + 0.8 * box["width"], box["y"] + 0.6 * box["height"])
    page.wait_for_function(f"document.querySelector('{SAYS}').textContent.includes('samples')")
    context.close()


@needs_chromium
def test_keys_move_along_the_curves_and_between_them(visit: Visit) -> None:
    page = visit.page
    page.evaluate("document.documentElement.style.scrollBehavior = 'auto'")
    page.locator(CHART).focus()
    page.keyboard.press("ArrowRight")  # from here on the focus is the keyboard's
    top = page.evaluate("scrollY")
    told = []
    for key in ("ArrowRight", "ArrowLeft", "ArrowDown", "ArrowDown", "Home", "End"):
        page.keyboard.press(key)
        told.append(page.inner_text(SAYS))
    assert len(set(told)) >= 5
    assert page.evaluate("scrollY") == top
    assert page.get_attribute(SAYS, "aria-live") == "polite"
    page.keyboard.press("Tab")
    assert "Download" in page.evaluate("document.activeElement.textContent")


@needs_chromium
def test_lines_are_switched_on_and_off(visit: Visit) -> None:
    page = visit.page

    def sources(key: str) -> set[str]:
        return set(page.evaluate(f"window.aevbFigure2.shown().map((line) => line.{key})"))

    assert sources("split") == {"train", "validation", "test"}, "test is the paper's"
    assert sources("source") == {"the paper", "seed 0", "seed 1", "seed 2"}
    page.get_by_role("checkbox", name="the paper").uncheck()
    page.get_by_role("checkbox", name="seed 1").uncheck()
    page.get_by_role("checkbox", name="wake-sleep").uncheck()
    assert sources("source") == {"seed 0", "seed 2"}
    assert sources("split") == {"train", "validation"}
    assert sources("algorithm") == {"aevb"}
    page.get_by_role("checkbox", name="other step sizes").check()
    assert any("step size" in one for one in sources("source"))
    page.get_by_label("Frey Face, Nz = 2", exact=True).check()
    assert sources("split") == {"train"}
    assert not page.is_visible("[name=split][value=validation]")


@needs_chromium
@pytest.mark.parametrize("split", ["validation", "train"])
@pytest.mark.parametrize("shift", [0.0, -9.0])
def test_the_verdict_on_a_dropped_curve_is_the_judges(
    split: str, shift: float, visit: Visit
) -> None:
    page = visit.page
    table = curves.published("figure2", RUN.name).table
    column = pairs.splits(RUN)[split][0]
    values = table[column] + shift
    text = "# a comment\nepoch,Samples,loss\n" + "".join(
        f"{k},{x},{y}\n" for k, (x, y) in enumerate(zip(table.samples, values, strict=True))
    )
    page.set_input_files(
        "#figure2-answers input[type=file]",
        {"name": "mine.csv", "mimeType": "text/csv", "buffer": text.encode()},
    )
    page.locator("#figure2-answers [data-part=column]").select_option("loss")
    page.locator("#figure2-answers [data-part=like]").select_option(f"aevb, {split}")
    found = judge.judge(table.samples, values, like="mnist-nz20-aevb", split=split)
    told: Any = page.evaluate("window.aevbFigure2.verdict()")
    assert len(told["compared"]) == len(found.compared)
    assert told["inside"] == found.inside == (shift == 0)
    for here, there in zip(told["compared"], found.compared, strict=True):
        for key in ("samples", "yours", "ours", "low", "high"):
            assert here[key] == pytest.approx(getattr(there, key), abs=0.05)
    words = page.inner_text(VERDICT).replace("−", "-").split(";")[0]
    assert words.startswith(found.verdict.split(" points")[0])


@needs_chromium
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a,b\n1,2\n", "expected one called samples"),
        ("samples,b\n", "no rows"),
        ("samples,b\n2,1\n1,1\n", "do not rise"),
        ("samples,b\n1,x\n", "no column of numbers"),
    ],
)
def test_a_file_that_is_no_curve_is_told_apart(text: str, problem: str, visit: Visit) -> None:
    page = visit.page
    page.set_input_files(
        "#figure2-answers input[type=file]",
        {"name": "mine.csv", "mimeType": "text/csv", "buffer": text.encode()},
    )
    page.wait_for_function(
        "([at, words]) => document.querySelector(at).textContent.includes(words)",
        arg=[VERDICT, problem],
    )


@needs_chromium
def test_a_curve_is_dropped_on_the_figure(visit: Visit) -> None:
    visit.page.evaluate(
        """chart => {
            const dataTransfer = new DataTransfer();
            const text = "samples,bound\\n1000000,-110\\n2000000,-105\\n";
            dataTransfer.items.add(new File([text], "mine.csv"));
            const drop = new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true });
            document.querySelector(chart).dispatchEvent(drop);
        }""",
        CHART,
    )
    visit.page.wait_for_function(
        f"document.querySelector('{VERDICT}').textContent.includes('the band: ')"
    )
    assert visit.page.get_by_role("combobox", name="Its column").input_value() == "bound"


@needs_chromium
def test_a_panel_is_downloaded_and_a_curve_cited(visit: Visit) -> None:
    page = visit.page
    with page.expect_download() as caught:
        page.get_by_role("button", name="Download the panel").click()
    assert caught.value.suggested_filename == "mnist-nz20.csv"
    rows = list(csv.DictReader(io.StringIO(Path(caught.value.path()).read_text())))
    assert {row["panel"] for row in rows} == {"mnist-nz20"}
    assert {row["source"] for row in rows} > {"the paper", "seed 0"}
    assert page.get_by_role("button", name="BibTeX").is_disabled()
    page.get_by_role("checkbox", name="the paper").uncheck()
    page.locator(CHART).focus()
    page.keyboard.press("End")
    page.get_by_role("button", name="BibTeX").click()
    page.wait_for_selector("#figure2-answers [data-part=bibtex]")
    first = page.evaluate("window.aevbFigure2.shown()[0].bibtex")
    assert page.inner_text("#figure2-answers [data-part=bibtex]") == first
    assert first == citing.bibtex(curves.published("figure2", RUN.name))


@needs_chromium
def test_it_fits_a_phone_in_light_and_dark(visit: Visit) -> None:
    page = visit.page
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_function(f"document.querySelector('{CHART} .uplot').clientWidth < 390")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    light = page.evaluate(f"document.querySelector('{CHART} canvas').toDataURL()")
    page.emulate_media(color_scheme="dark")
    page.wait_for_selector("html[data-theme=dark]")
    page.wait_for_function(
        f"light => document.querySelector('{CHART} canvas').toDataURL() != light", arg=light
    )
