"""The rendered book in a real browser, with nothing but the loopback interface to ask."""

import functools
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from bs4 import BeautifulSoup
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright
from sphinx_external_toc.parsing import parse_toc_yaml

BOOK = Path(__file__).resolve().parent.parent / "book"
HTML = BOOK / "_build" / "html"
PAGES = list(parse_toc_yaml(BOOK / "_toc.yml"))
CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="needs Chromium (apt-get install chromium)"
)


class Visit:
    """A page in a fresh browser profile, and what went wrong while it was open."""

    def __init__(self, browser: Browser, base: str) -> None:
        self.base = base
        self.page: Page = browser.new_page(viewport={"width": 1280, "height": 900})
        self.complaints: list[str] = []
        self.page.on("request", self._request)
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on(
            "requestfailed", lambda request: self.complaints.append(f"failed: {request.url}")
        )

    def _request(self, request: Request) -> None:
        if not request.url.startswith((self.base, "data:", "blob:")):
            self.complaints.append(f"asks elsewhere: {request.url}")

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.text} ({message.location.get('url', '')})")

    def open(self, address: str) -> Page:
        self.page.goto(self.base + address, wait_until="load")
        self.page.evaluate("window.MathJax?.startup?.promise.then(() => true)")
        self.page.evaluate("document.fonts.ready.then(() => true)")
        return self.page


@contextmanager
def visiting(browser: Browser, base: str, address: str) -> Iterator[Visit]:
    """A visit to one page; nothing may go wrong before its end."""
    visit = Visit(browser, base)
    visit.open(address)
    yield visit
    assert visit.complaints == []
    visit.page.close()


@pytest.fixture(scope="module")
def html() -> Path:
    """Build the book unless it is newer than everything that it is made of."""
    index = HTML / "index.html"
    sources = [p for p in BOOK.rglob("*") if p.is_file() and BOOK / "_build" not in p.parents]
    sources += (BOOK.parent / "results" / "figures").iterdir()
    newest = max(p.stat().st_mtime for p in sources if "__pycache__" not in p.parts)
    if not index.exists() or index.stat().st_mtime < newest:
        command = [sys.executable, str(BOOK / "build.py"), "html"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return HTML


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def base(html: Path) -> Iterator[str]:
    handler = functools.partial(Quiet, directory=str(html))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def source_of(page: str) -> str:
    """The page's own text: for a notebook, its chapter."""
    chapter = page.replace("notebooks/", "chapters/")
    return (BOOK / f"{chapter}.md").read_text()


@pytest.mark.parametrize("name", PAGES)
def test_page(name: str, browser: Browser, base: str) -> None:
    visit = Visit(browser, base)
    page = visit.open(f"{name}.html")

    paragraphs = page.locator(".bd-article p").all_inner_texts()
    raw = re.compile(r"^\| |\{(doc|ref|numref|eq)\}`")
    assert [text for text in paragraphs if raw.search(text)] == [], "Markdown that is not rendered"

    count = "selector => document.querySelectorAll(selector).length"
    formulas = page.evaluate(count, ".bd-article .math")
    assert formulas or not ("$$" in source_of(name) or "{math}" in source_of(name))
    assert page.evaluate(count, ".bd-article .math > mjx-container") == formulas
    assert page.evaluate(count, "mjx-assistive-mml") == formulas, "for screen readers"
    assert page.evaluate(count, "mjx-merror, [data-mjx-error]") == 0

    for image in page.locator(".bd-article img").all():
        alt = image.get_attribute("alt")
        assert alt, image.get_attribute("src")
        assert "_images/" not in alt, "a file name is no description"
        image.scroll_into_view_if_needed()  # loads lazy ones
        image.evaluate("image => image.decode()")  # throws if it is broken

    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_selector(f"html[data-theme={scheme}]")

    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    cut_off = """[...document.querySelectorAll('.bd-article :is(p, code)')]
        .filter(e => e.getBoundingClientRect().right > 391 && !e.closest('.math, table, pre'))
        .map(e => e.outerHTML)"""
    assert page.evaluate(cut_off) == []
    shrunk = """[...document.querySelectorAll('.bd-article img')]
        .filter(e => getComputedStyle(e).content == 'normal')
        .filter(e => e.getBoundingClientRect().width < 0.64 * e.naturalWidth).map(e => e.alt)"""
    assert page.evaluate(shrunk) == [], "too small to read; a wide figure scrolls instead"
    assert visit.complaints == []
    page.close()


@pytest.mark.parametrize("name", ["intro", "notebooks/figure2", "notebooks/result"])
def test_figure2_is_rearranged_on_a_phone(name: str, browser: Browser, base: str) -> None:
    visit = Visit(browser, base)
    content = "e => getComputedStyle(e.querySelector('img')).content"
    figure = visit.open(f"{name}.html").locator("figure[id$=figure2]")
    assert figure.evaluate(content) == "normal"
    visit.page.set_viewport_size({"width": 390, "height": 844})
    assert "_static/figure2-narrow.svg" in figure.evaluate(content)
    figure.scroll_into_view_if_needed()
    width, height = figure.evaluate("""e => {
        const {width, height} = e.querySelector('img').getBoundingClientRect();
        return [width, height];
    }""")
    assert 340 < width < 390, "at its own size"
    assert height > 2 * width
    assert figure.evaluate("e => e.scrollWidth == e.clientWidth")
    assert visit.complaints == []
    visit.page.close()


# Code has thousands of tokens in a dozen colours. The time of axe-core grows faster than their
# number, and of single characters it says nothing.
ONE_TOKEN_OF_A_KIND = """() => {
    const seen = new Set();
    for (const token of document.querySelectorAll('.highlight pre span[class]:not(:has(*))')) {
        const text = token.textContent;
        if (text.length < 2 || seen.has(token.className)) token.replaceWith(text);
        else seen.add(token.className);
    }
}"""


@pytest.mark.parametrize("address", [*(f"{name}.html" for name in PAGES), "search.html?q=bound"])
def test_accessible(address: str, browser: Browser, base: str) -> None:
    """No serious or critical finding of axe-core, with all folded code open."""
    visit = Visit(browser, base)
    page = visit.page

    def findings(*rules: str) -> list[str]:
        options = {"resultTypes": ["violations"]} | ({"runOnly": rules} if rules else {})
        # The glyphs of formulas have the colour of the text around them, and are many.
        found = Axe().run(page, {"exclude": [["mjx-container > *"]]}, options).response
        return [
            f"{one['id']}: {node['html']} {node['failureSummary']}"
            for one in found["violations"]
            if one["impact"] in ("serious", "critical")
            for node in one["nodes"]
        ]

    page.set_viewport_size({"width": 390, "height": 844})
    visit.open(address)
    if "?" in address:
        page.wait_for_selector("#search-results .highlighted")
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    page.add_style_tag(content="* { transition: none !important }")  # colours settle at once
    page.evaluate(ONE_TOKEN_OF_A_KIND)
    assert findings("scrollable-region-focusable") == []

    page.set_viewport_size({"width": 1280, "height": 900})
    assert findings() == []
    page.emulate_media(color_scheme="dark")
    page.wait_for_selector("html[data-theme=dark]")
    assert findings("color-contrast", "link-in-text-block") == []
    page.close()


def test_links_and_anchors_resolve(html: Path) -> None:
    pages = {path: BeautifulSoup(path.read_text(), "html.parser") for path in html.rglob("*.html")}
    anchors = {path: {tag["id"] for tag in soup.select("[id]")} for path, soup in pages.items()}
    broken = []
    for page in (html / f"{name}.html" for name in PAGES):
        for link in pages[page].select("a[href]"):
            target, anchor = urldefrag(unquote(str(link["href"])))
            if urlsplit(target).scheme:
                continue
            path = (page.parent / target).resolve() if target else page
            if not path.exists() or (anchor and anchor not in anchors.get(path, {anchor})):
                broken.append(f"{page.name} -> {link['href']}")
    assert broken == []


@pytest.fixture(scope="module")
def words(html: Path) -> dict[str, set[str]]:
    """The words of every page's paragraphs, all letters small in the text too: no names."""
    found = {}
    for name in PAGES:
        soup = BeautifulSoup((html / f"{name}.html").read_text(), "html.parser")
        text = " ".join(one.get_text(" ") for one in soup.select(".bd-article :is(h1, p, li)"))
        found[name] = set(re.findall(r"(?<![\w\\{_])[a-z]{6,}(?!\w)", text))
    return found


@pytest.mark.parametrize("name", PAGES)
def test_search_finds_a_word(
    name: str, words: dict[str, set[str]], browser: Browser, base: str
) -> None:
    pages = {word: sum(word in words[other] for other in PAGES) for word in words[name]}
    word = min(pages, key=lambda one: (pages[one], -len(one), one))
    visit = Visit(browser, base)
    page = visit.open(f"search.html?q={word}")
    page.wait_for_selector(f"#search-results li a[href^='{name}.html']")
    assert visit.complaints == []
    page.close()


def test_code_has_copy_buttons(browser: Browser, base: str) -> None:
    name = next(page for page in PAGES if page.startswith("notebooks/"))
    page = Visit(browser, base).open(f"{name}.html")
    assert page.locator("div.cell_input button.copybtn").count() >= 1


def test_formulas_need_no_server(browser: Browser, html: Path) -> None:
    visit = Visit(browser, html.as_uri() + "/")
    page = visit.open("notebooks/kl-to-bound.html")
    assert page.locator(".math > mjx-container").count() >= 1
    assert page.locator("mjx-merror").count() == 0
    fonts = "[...document.fonts].filter(f => f.family.startsWith('MJX') && f.status == 'loaded')"
    assert page.evaluate(f"{fonts}.length") >= 1
    assert visit.complaints == []


def test_links_are_previewed(browser: Browser, html: Path) -> None:
    """By the mouse and by the keyboard, and without a server."""
    visit = Visit(browser, html.as_uri() + "/")
    page = visit.open("notebooks/kl-to-bound.html")
    citation = page.locator("article.bd-article a[href^='../references.html#']").first
    citation.hover()
    expect(page.locator(".tippy-box")).to_contain_text("Auto-encoding variational Bayes")
    page.mouse.move(0, 0)
    expect(page.locator(".tippy-box")).to_have_count(0)
    page.locator("article.bd-article a.internal[href*='#equation-']").first.focus()
    expect(page.locator(".tippy-box mjx-container")).to_be_visible()
    assert visit.complaints == []
