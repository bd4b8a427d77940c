// Figure 2 that answers: a panel at a time, and what is under the pointer or the keyboard.
(function () {
  "use strict";

  const { element, minus, choices } = window.aevbCommon;
  const data = window.aevbFigure2Data;
  const root = document.getElementById("figure2-answers");
  const find = (part) => root.querySelector(`[data-part=${part}]`);
  const PAPER = "the paper";
  const DASHES = { train: [], validation: [8, 4], test: [2, 4] };
  const NOTHING = "No point is chosen yet.";
  const NAMES = { aevb: "AEVB", "wake-sleep": "wake-sleep" };

  const nats = (value) => minus(value.toFixed(1));
  const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(1)}`;
  const whole = (value) => Math.round(value).toLocaleString("en");
  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();

  let panel = data && data.panels[0];
  let mine = null; // {name, samples, columns}
  let chosen = null; // {line, index}
  let chart = null;

  // ------------------------------------------------------------------------------ what is shown

  const isOn = (group, value) => {
    const input = root.querySelector(`[name=${group}][value="${value}"]`);
    return !input || input.checked;
  };
  const splitsOf = () => [...new Set(panel.lines.map((line) => line.split))];

  // The paper's test curve stands for the images that it seems to be of: the validation images, where
  // there are any.
  function isShown(line) {
    if (!isOn("algorithm", line.algorithm)) return false;
    if (line.source === PAPER) {
      const splits = line.split === "train" ? ["train"] : ["validation", "test"];
      return isOn("source", "paper") && splits.some((split) => splitsOf().includes(split) && isOn("split", split));
    }
    const source = line.source.includes("step size") ? "step" : line.source.replace(" ", "");
    return isOn("split", line.split) && isOn("source", source);
  }

  const shown = () => panel.lines.filter(isShown);

  function paperBeside(line) {
    const split = line.split === "train" ? "train" : "test";
    return panel.lines.find((one) => one.source === PAPER && one.algorithm === line.algorithm && one.split === split);
  }

  const verdictOf = () => {
    if (!mine) return null;
    const band = panel.bands[find("like").value];
    return band && aevbJudge(mine.samples, mine.columns[find("column").value], band, data);
  };

  // ---------------------------------------------------------------------------------- the chart

  function drawChart() {
    const place = find("chart");
    if (chart) chart.destroy();
    const lines = shown();
    const found = verdictOf();
    const tables = lines.map((line) => [line.samples, line.values]);
    const series = lines.map((line) => ({
      stroke: () => colour(`--${line.algorithm}`) + (line.source === PAPER ? "66" : ""),
      width: line.source === PAPER ? 5 : 1.5,
      dash: dashOf(line),
      spanGaps: true,
      points: { show: false },
    }));
    const bands = [];
    if (found) {
      const band = panel.bands[find("like").value];
      const hidden = { stroke: "transparent", spanGaps: true, points: { show: false } };
      bands.push({ series: [series.length + 1, series.length + 2], fill: () => colour("--mine") + "33" });
      tables.push([band.samples, band.high], [band.samples, band.low]);
      tables.push([found.line.samples, found.line.values]);
      series.push(hidden, hidden, { stroke: () => colour("--mine"), width: 3, spanGaps: true, points: { show: true, size: 5 } });
    }
    const axis = { stroke: () => colour("--pst-color-text-base"), grid: { stroke: () => colour("--grid"), width: 1 } };
    chart = new uPlot(
      {
        width: place.clientWidth,
        height: Math.round(Math.min(440, Math.max(280, 0.65 * place.clientWidth))),
        legend: { show: false },
        cursor: { drag: { x: false, y: false }, points: { show: false }, y: false },
        bands,
        scales: {
          x: { time: false, distr: 3, range: () => panel.samples },
          y: { range: () => panel.bound },
        },
        axes: [
          { ...axis, label: "training samples", size: 40, labelSize: 20, values: (_, ticks) => ticks.map(short) },
          { ...axis, label: "bound (nats per datapoint)", size: 55, labelSize: 20, values: (_, ticks) => ticks.map((v) => minus(String(v))) },
        ],
        series: [{}, ...series],
        hooks: { draw: [markChosen] },
      },
      tables.length ? uPlot.join(tables) : [[1]],
      place,
    );
  }

  function dashOf(line) {
    if (line.source.includes("step size")) return [1, 3];
    const asValidation = line.source === PAPER && line.split === "test" && splitsOf().includes("validation");
    return DASHES[asValidation ? "validation" : line.split];
  }

  function short(value) {
    if (value == null || !/^1/.test(String(value))) return "";
    return value >= 1e6 ? `${value / 1e6}M` : `${value / 1e3}k`;
  }

  function markChosen(plot) {
    if (!chosen) return;
    const { line, index } = chosen;
    const x = plot.valToPos(line.samples[index], "x", true);
    const y = plot.valToPos(line.values[index], "y", true);
    const context = plot.ctx;
    context.save();
    context.beginPath();
    context.arc(x, y, 6 * devicePixelRatio, 0, 2 * Math.PI);
    context.lineWidth = 2 * devicePixelRatio;
    context.strokeStyle = colour("--pst-color-text-base");
    context.stroke();
    context.restore();
  }

  // --------------------------------------------------------------------------------- the answer

  function answer(line, index) {
    chosen = { line, index };
    const samples = line.samples[index];
    const value = line.values[index];
    const where = `${panel.title}, ${NAMES[line.algorithm]}, ${line.split}, ${whole(samples)} samples`;
    const paper = paperBeside(line);
    let words = `${where}: the paper's is ${nats(value)} nats.`;
    if (line.source !== PAPER) {
      const theirs = aevbValueAt(paper.samples, paper.values, samples);
      const beside = Number.isFinite(theirs)
        ? `the paper's ${nats(theirs)}, the difference ${signed(value - theirs)}`
        : "the paper has no value here";
      words = `${where}, ${line.source}: ours is ${nats(value)} nats, ${beside}.`;
    }
    find("says").textContent = words;
    find("copy").disabled = !line.bibtex;
    find("bibtex").hidden = true;
    chart.redraw(false);
  }

  // The point of a shown line that is nearest to a place in the chart, in pixels.
  function nearest(left, top) {
    let best = null;
    for (const line of shown()) {
      line.samples.forEach((x, index) => {
        const far = Math.hypot(chart.valToPos(x, "x") - left, chart.valToPos(line.values[index], "y") - top);
        if (!best || far < best.far) best = { line, index, far };
      });
    }
    return best;
  }

  function point(event) {
    const box = chart.over.getBoundingClientRect();
    const best = nearest(event.clientX - box.left, event.clientY - box.top);
    if (best) answer(best.line, best.index);
  }

  function key(event) {
    const lines = shown();
    if (!lines.length || event.ctrlKey || event.altKey || event.metaKey) return;
    const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -1, ArrowDown: 1, Home: 0, End: 0 };
    if (!(event.key in moves)) return;
    event.preventDefault();
    event.stopPropagation();
    const visible = (line) => line.samples.map((x, i) => i).filter((i) => line.samples[i] >= panel.samples[0]);
    if (!chosen || !lines.includes(chosen.line)) {
      answer(lines[0], visible(lines[0]).at(-1));
      return;
    }
    let { line, index } = chosen;
    if (event.key === "Home") index = visible(line)[0];
    else if (event.key === "End") index = line.samples.length - 1;
    else if (/Left|Right/.test(event.key)) {
      const inside = visible(line);
      index = Math.min(inside.at(-1), Math.max(inside[0], index + moves[event.key]));
    } else {
      const samples = line.samples[index];
      line = lines[(lines.indexOf(line) + moves[event.key] + lines.length) % lines.length];
      const after = line.samples.findIndex((x) => x >= samples);
      index = after < 0 ? line.samples.length - 1 : after;
    }
    answer(line, index);
  }

  // ------------------------------------------------------------------------------ your own curve

  async function take(file) {
    try {
      const table = aevbReadCsv(await file.text());
      mine = { name: file.name, ...table };
    } catch (error) {
      mine = null;
      find("verdict").textContent = `${file.name} cannot be read: ${error.message}.`;
    }
    find("own").hidden = !mine;
    if (mine) {
      const names = Object.keys(mine.columns);
      find("column").replaceChildren(...names.map((name) => element("option", {}, name)));
      offerBands();
    }
    update();
  }

  function offerBands() {
    const before = find("like").value;
    find("like").replaceChildren(...Object.keys(panel.bands).map((name) => element("option", {}, name)));
    if (before in panel.bands) find("like").value = before;
  }

  function sayVerdict() {
    const found = verdictOf();
    if (!found) return;
    const { compared, within } = found;
    if (!compared.length) {
      find("verdict").textContent = `Nothing to compare: the band begins at ${whole(data.first)} samples, and your curve has no point in its range.`;
      return;
    }
    const last = compared.at(-1);
    find("verdict").textContent =
      `${found.inside ? "Inside" : "OUTSIDE"} the band: ${within} of ${compared.length} points lie in it. ` +
      `Yours is on average ${signed(found.distance)} nats from ours; at ${whole(last.samples)} samples, the last, ${signed(last.yours - last.ours)} from ours.`;
  }

  // ---------------------------------------------------------------------------------- the deeds

  function download() {
    const rows = panel.lines.flatMap((line) =>
      line.samples.map((x, k) => [panel.name, line.algorithm, line.split, `"${line.source}"`, x, line.values[k]].join(",")),
    );
    const text = ["panel,algorithm,split,source,samples,bound", ...rows, ""].join("\n");
    const link = element("a", { href: URL.createObjectURL(new Blob([text], { type: "text/csv" })), download: `${panel.name}.csv` });
    link.click();
    URL.revokeObjectURL(link.href);
  }

  async function copy() {
    const { bibtex } = chosen.line;
    find("bibtex").textContent = bibtex;
    find("bibtex").hidden = false;
    try {
      await navigator.clipboard.writeText(bibtex);
      find("copied").textContent = "Copied.";
    } catch {
      find("copied").textContent = "The browser does not let this page copy: select the text below.";
    }
  }

  // ------------------------------------------------------------------------------------- start

  function update() {
    if (chosen && !shown().includes(chosen.line)) {
      chosen = null;
      find("says").textContent = NOTHING;
      find("copy").disabled = true;
    }
    find("copied").textContent = "";
    for (const input of root.querySelectorAll("[name=split]")) input.parentElement.hidden = !splitsOf().includes(input.value);
    drawChart();
    sayVerdict();
  }

  if (!data) {
    root.nextElementSibling.hidden = false;
    return;
  }
  root.hidden = false;
  choices(find("panels"), "panel", data.panels.map((one) => [one.name, one.title]), panel.name, (name) => {
    panel = data.panels.find((one) => one.name === name);
    offerBands();
    update();
  });
  for (const input of root.querySelectorAll("input[type=checkbox]")) input.addEventListener("change", update);
  for (const part of ["like", "column"]) find(part).addEventListener("change", update);
  const place = find("chart");
  place.addEventListener("pointermove", point);
  place.addEventListener("pointerdown", point);
  place.addEventListener("keydown", key);
  place.addEventListener("dragover", (event) => event.preventDefault());
  place.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
  });
  find("file").addEventListener("change", (event) => event.target.files.length && take(event.target.files[0]));
  find("download").addEventListener("click", download);
  find("copy").addEventListener("click", copy);
  find("says").textContent = NOTHING;
  update();
  let width = place.clientWidth;
  new ResizeObserver(() => {
    if (place.clientWidth !== width) drawChart();
    width = place.clientWidth;
  }).observe(place);
  new MutationObserver(drawChart).observe(document.documentElement, { attributeFilter: ["data-theme"] });

  // For tests, and for the curious.
  window.aevbFigure2 = {
    place: (line, index) => [chart.valToPos(line.samples[index], "x"), chart.valToPos(line.values[index], "y")],
    shown,
    verdict: verdictOf,
  };
})();
