// What the theme leaves undone: for screen readers, for keyboards, for narrow screens.
(function () {
  "use strict";

  const FIGURES = ".bd-article figure";
  const TABLES = ".bd-article :is(.pst-scrollable-table-container, .output.text_html)";
  const SCROLLERS = `${FIGURES}, ${TABLES}`;

  // The theme lets code and tables that scroll sideways have the focus; figures and formulas may too.
  function letScrollersHaveTheFocus() {
    for (const one of document.querySelectorAll(`${FIGURES}, .bd-article mjx-container[display]`)) {
      if (one.scrollWidth > one.clientWidth) one.tabIndex = 0;
      else one.removeAttribute("tabindex");
    }
  }

  // On which sides there is more to see than fits; book.css lets those fade.
  function sayWhereThereIsMore(one) {
    const left = one.scrollLeft > 1 ? "left" : "";
    const right = one.scrollLeft + one.clientWidth < one.scrollWidth - 1 ? "right" : "";
    if (left || right) one.dataset.more = `${left} ${right}`;
    else delete one.dataset.more;
  }

  function look() {
    for (const figure of document.querySelectorAll(FIGURES)) {
      figure.classList.remove("wide");
      const widths = [...figure.querySelectorAll("img")].map((one) => one.getBoundingClientRect().width);
      figure.classList.toggle("wide", Math.max(...widths) > figure.clientWidth);
    }
    letScrollersHaveTheFocus();
    document.querySelectorAll(SCROLLERS).forEach(sayWhereThereIsMore);
  }

  addEventListener("load", async () => {
    for (const entry of document.querySelectorAll("div.citation")) entry.setAttribute("role", "listitem");
    for (const one of document.querySelectorAll(SCROLLERS)) {
      one.addEventListener("scroll", () => sayWhereThereIsMore(one), { passive: true });
    }
    // Lazy images, opened folds and typeset formulas change what fits.
    for (const image of document.querySelectorAll(`${FIGURES} img`)) image.addEventListener("load", look);
    document.addEventListener("toggle", look, true);
    await window.MathJax?.startup.promise;
    look();
  });
  addEventListener("resize", look);
})();
