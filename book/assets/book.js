// For screen readers and keyboards, what the theme leaves undone.
(function () {
  "use strict";

  // The theme lets code and tables that scroll sideways have the focus; figures and formulas may too.
  function letScrollersHaveTheFocus() {
    for (const one of document.querySelectorAll(".bd-article :is(figure, mjx-container[display])")) {
      if (one.scrollWidth > one.clientWidth) one.tabIndex = 0;
      else one.removeAttribute("tabindex");
    }
  }

  addEventListener("load", async () => {
    for (const entry of document.querySelectorAll("div.citation")) entry.setAttribute("role", "listitem");
    await window.MathJax?.startup.promise;
    letScrollersHaveTheFocus();
  });
  addEventListener("resize", letScrollersHaveTheFocus);
})();
