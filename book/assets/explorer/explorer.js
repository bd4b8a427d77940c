// The latent-space explorer: trained decoders, run here. Plain JavaScript, no library, no request.
(function () {
  "use strict";

  const data = window.aevbExplorerData || { models: {}, points: {}, digits: null };
  const MNIST = "mnist-nz2-aevb-seed0";
  const FACES = "freyface-nz2-aevb-seed0";
  const TEN = "mnist-nz10-aevb-seed0";
  const NEIGHBOURS = 15;
  const { bytes, halves, linear, rowsOf, standardNormal, minus, fixed, element, paint, eachFrame, speaker, choices } =
    window.aevbCommon;

  // ------------------------------------------------------------------------------- numbers

  const models = {};
  for (const [name, stored] of Object.entries(data.models)) {
    const layers = stored.layers.map((one) => ({ weight: halves(one.weight), bias: halves(one.bias) }));
    models[name] = {
      ...stored,
      decode(z) {
        const hidden = linear(z, layers[0]).map(Math.tanh);
        return linear(hidden, layers[1]).map((a) => 1 / (1 + Math.exp(-a)));
      },
    };
  }

  const points = {};
  for (const [name, stored] of Object.entries(data.points)) {
    points[name] = {
      z: rowsOf(halves(stored.z), models[name].nz),
      labels: stored.labels ? bytes(stored.labels) : null,
    };
  }

  // The plane and the sliders reach from -LIMIT to LIMIT: far enough to hold most encoded images.
  const LIMIT = (function () {
    const sizes = (points[MNIST] ? points[MNIST].z : []).map((z) => Math.max(...z.map(Math.abs)));
    sizes.sort((a, b) => a - b);
    return Math.min(6, Math.max(4, Math.ceil(sizes[Math.floor(0.99 * sizes.length)] || 0)));
  })();

  function norm(z) {
    return Math.hypot(...z);
  }

  // The classes of the nearest encoded test images, most frequent first, in words.
  function nearestDigits(z, name) {
    const here = points[name];
    if (!here || !here.labels) return "";
    const distances = here.z.map((point, i) => {
      let sum = 0;
      for (let k = 0; k < z.length; k++) sum += (point[k] - z[k]) ** 2;
      return [sum, here.labels[i]];
    });
    const counts = new Map();
    distances.sort((a, b) => a[0] - b[0]);
    for (const [, label] of distances.slice(0, NEIGHBOURS)) counts.set(label, (counts.get(label) || 0) + 1);
    const words = [...counts].sort((a, b) => b[1] - a[1]).map(([label, n]) => `${label} (${n})`);
    return `Digits of the ${NEIGHBOURS} nearest test images: ${words.join(", ")}.`;
  }

  const PATHS = {
    straight: (a, b, t) => Array.from(a, (ai, i) => (1 - t) * ai + t * b[i]),
    // Direction along the great circle, norm linear in t.
    circle(a, b, t) {
      const [na, nb] = [norm(a), norm(b)];
      const cosine = a.reduce((sum, ai, i) => sum + ai * b[i], 0) / (na * nb);
      const angle = Math.acos(Math.min(1, Math.max(-1, cosine)));
      if (!(Math.sin(angle) > 1e-6)) return PATHS.straight(a, b, t); // no one circle, or none needed
      const radius = ((1 - t) * na + t * nb) / Math.sin(angle);
      const [u, v] = [Math.sin((1 - t) * angle) / na, Math.sin(t * angle) / nb];
      return Array.from(a, (ai, i) => radius * (u * ai + v * b[i]));
    },
  };

  // ------------------------------------------------------------------------------ the page

  const inWords = (z) => `(${Array.from(z, (v) => fixed(v, 2)).join(", ")})`;

  function paintDecoded(canvas, name, ...zs) {
    const model = models[name];
    paint(canvas, zs.map((z) => model.decode(z)), model.dataset, model.rows, model.columns);
  }

  function setSlider(input, value) {
    input.value = value;
    input.parentElement.querySelector("output").textContent = fixed(value, 2);
  }

  function slider(text, subscript, onInput) {
    const id = `explorer-slider-${subscript}`;
    const input = element("input", { type: "range", id, min: -LIMIT, max: LIMIT, step: 0.05, value: 0 });
    const label = element("label", { for: id }, text, element("sub", {}, subscript));
    const output = element("output", { for: id });
    input.addEventListener("input", () => onInput(Number(input.value)));
    return {
      root: element("div", { class: "explorer-slider" }, label, input, output),
      show: (value) => setSlider(input, value),
    };
  }

  // ------------------------------------------------------------------------------ the plane

  const state = { z: [0, 0], ten: new Array(10).fill(0) };

  function setUpPlane(root) {
    const plane = root.querySelector(".explorer-plane");
    const inputs = [1, 2].map((i) => root.querySelector(`#explorer-z${i}`));
    const figures = [...root.querySelectorAll("figure")].filter((f) => models[f.dataset.model]);
    for (const figure of root.querySelectorAll("figure")) figure.hidden = !figures.includes(figure);
    for (const input of inputs) Object.assign(input, { min: -LIMIT, max: LIMIT });
    const layer = document.createElement("canvas"); // what lies behind z changes seldom
    let behind = [MNIST, FACES].find((name) => points[name]) || "";
    let only = null;

    const says = speaker(root.querySelector(".explorer-says"), () => {
      const near = nearestDigits(state.z, MNIST);
      return `z = ${inWords(state.z)}. ${near}`;
    });

    const toPixel = ([a, b], size) => [((a + LIMIT) / (2 * LIMIT)) * size, ((LIMIT - b) / (2 * LIMIT)) * size];

    function drawBehind() {
      const scale = window.devicePixelRatio || 1;
      const size = plane.clientWidth;
      plane.width = plane.height = layer.width = layer.height = Math.round(size * scale);
      const context = layer.getContext("2d");
      const style = getComputedStyle(root);
      const colour = (name) => style.getPropertyValue(name).trim();
      context.setTransform(scale, 0, 0, scale, 0, 0);
      context.fillStyle = colour("--pst-color-background");
      context.fillRect(0, 0, size, size);
      context.textAlign = "center";
      context.textBaseline = "middle";

      const here = points[behind];
      const centres = new Map();
      if (here) {
        context.font = `bold ${Math.max(8, size / 50)}px sans-serif`;
        here.z.forEach((z, i) => {
          const [x, y] = toPixel(z, size);
          const label = here.labels ? here.labels[i] : null;
          context.globalAlpha = only === null || label === null || label === only ? 0.75 : 0.06;
          context.fillStyle = colour(label === null ? "--pst-color-text-muted" : `--digit-${label}`);
          if (label === null) {
            context.beginPath();
            context.arc(x, y, 2.5, 0, 2 * Math.PI);
            context.fill();
          } else {
            context.fillText(label, x, y);
            if (!centres.has(label)) centres.set(label, []);
            centres.get(label).push([x, y]);
          }
        });
        context.globalAlpha = 1;
      }

      context.strokeStyle = context.fillStyle = colour("--pst-color-text-muted");
      context.lineWidth = 1;
      context.font = "12px sans-serif";
      context.setLineDash([2, 4]);
      for (const share of [0.5, 0.9, 0.99]) {
        // In the plane, the norm under the prior has the distribution function 1 - exp(-r²/2).
        const radius = Math.sqrt(-2 * Math.log(1 - share));
        const [x, y] = toPixel([0, 0], size);
        context.beginPath();
        context.arc(x, y, (radius / (2 * LIMIT)) * size, 0, 2 * Math.PI);
        context.stroke();
      }
      context.setLineDash([]);
      const write = (text, x, y) => {
        // with a rim, so that it can be read over points
        context.strokeStyle = colour("--pst-color-background");
        context.lineWidth = 4;
        context.strokeText(text, x, y);
        context.fillText(text, x, y);
      };
      for (let tick = -LIMIT + 1; tick < LIMIT; tick++) {
        const [x, y] = toPixel([tick, tick], size);
        write(minus(`${tick}`), x, size - 10);
        write(minus(`${tick}`), 11, y);
      }
      context.font = "italic 14px serif";
      write("z₁", size - 14, size - 11);
      write("z₂", 12, 12);
      drawMarker();
    }

    function drawMarker() {
      const context = plane.getContext("2d");
      const scale = plane.width / plane.clientWidth;
      context.setTransform(1, 0, 0, 1, 0, 0);
      context.drawImage(layer, 0, 0);
      context.setTransform(scale, 0, 0, scale, 0, 0);
      const [x, y] = toPixel(state.z, plane.clientWidth);
      const style = getComputedStyle(root);
      for (const [width, name] of [[6, "--pst-color-background"], [3, "--marker"]]) {
        context.strokeStyle = style.getPropertyValue(name);
        context.lineWidth = width;
        context.beginPath();
        context.arc(x, y, 9, 0, 2 * Math.PI);
        context.stroke();
      }
    }

    const draw = eachFrame(() => {
      drawMarker();
      for (const figure of figures) paintDecoded(figure.querySelector("canvas"), figure.dataset.model, state.z);
    });
    const redraw = eachFrame(drawBehind);

    function move(z, now) {
      state.z = z.map((value) => Math.min(LIMIT, Math.max(-LIMIT, value)));
      // At once, not with the next frame: a key may move a slider on from here before that.
      inputs.forEach((input, i) => setSlider(input, state.z[i]));
      draw();
      says(now);
    }

    function follow(event) {
      const box = plane.getBoundingClientRect();
      const x = (event.clientX - box.left - plane.clientLeft) / plane.clientWidth;
      const y = (event.clientY - box.top - plane.clientTop) / plane.clientHeight;
      move([(2 * x - 1) * LIMIT, (1 - 2 * y) * LIMIT]);
    }
    plane.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      plane.setPointerCapture(event.pointerId);
      follow(event);
    });
    plane.addEventListener("pointermove", (event) => {
      if (plane.hasPointerCapture(event.pointerId)) follow(event);
    });
    plane.addEventListener("keydown", (event) => {
      const by = event.shiftKey ? 0.5 : 0.1;
      const [a, b] = state.z;
      const goal = {
        ArrowLeft: [a - by, b],
        ArrowRight: [a + by, b],
        ArrowDown: [a, b - by],
        ArrowUp: [a, b + by],
        Home: [0, 0],
      }[event.key];
      if (!goal || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault(); // the page does not scroll
      event.stopPropagation();
      move(goal);
    });
    inputs.forEach((input, i) =>
      input.addEventListener("input", () => move(state.z.map((v, k) => (k === i ? Number(input.value) : v)))),
    );

    const fieldset = root.querySelector("#explorer-behind");
    const legend = root.querySelector(".explorer-legend");
    const options = [
      [MNIST, "MNIST test images"],
      [FACES, "Frey Face test images"],
    ].filter(([name]) => points[name]);
    fieldset.hidden = options.length === 0;
    legend.hidden = behind !== MNIST;
    choices(fieldset, "explorer-behind", [...options, ["", "nothing"]], behind, (value) => {
      behind = value;
      legend.hidden = behind !== MNIST;
      redraw();
    });
    const buttons = Array.from({ length: 10 }, (_, digit) => {
      const label = `Only test images of ${digit}`;
      const button = element("button", { type: "button", "aria-pressed": "false", "aria-label": label }, `${digit}`);
      button.style.setProperty("--own", `var(--digit-${digit})`);
      button.addEventListener("click", () => {
        only = only === digit ? null : digit;
        buttons.forEach((other, k) => other.setAttribute("aria-pressed", String(k === only)));
        redraw();
      });
      return button;
    });
    legend.append(...buttons);

    root.hidden = false;
    new ResizeObserver(redraw).observe(plane);
    new MutationObserver(redraw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
    drawBehind();
    move([0, 0], true);
    return move;
  }

  // ------------------------------------------------------------------------- ten dimensions

  function setUpSliders(root) {
    const canvas = root.querySelector("figure canvas");
    const model = models[TEN];
    const says = speaker(root.querySelector(".explorer-says"), () => {
      const range = data.norms[TEN].map((v) => fixed(v, 2)).join(" and ");
      const size = `The norm of z is ${fixed(norm(state.ten), 2)}; 90 % of the prior lies between ${range}.`;
      return `${size} ${nearestDigits(state.ten, TEN)}`;
    });
    const sliders = Array.from({ length: model.nz }, (_, i) =>
      slider("z", `${i + 1}`, (value) => move(state.ten.map((v, k) => (k === i ? value : v)))),
    );
    root.querySelector(".explorer-all-sliders").append(...sliders.map((one) => one.root));
    const draw = eachFrame(() => paintDecoded(canvas, TEN, state.ten));
    function move(z, now) {
      state.ten = z.map((value) => Math.min(LIMIT, Math.max(-LIMIT, value)));
      sliders.forEach((one, i) => one.show(state.ten[i]));
      draw();
      says(now);
    }
    const deeds = { random: () => move(state.ten.map(standardNormal)), zero: () => move(state.ten.map(() => 0)) };
    for (const button of root.querySelectorAll("button")) button.addEventListener("click", deeds[button.dataset.do]);
    root.hidden = false;
    move(state.ten, true);
  }

  // --------------------------------------------------------------------- between two digits

  function setUpBetween(root) {
    const digits = data.digits;
    const images = rowsOf(bytes(digits.images), digits.rows * digits.columns);
    const latents = {};
    for (const [name, z] of Object.entries(digits.z)) latents[name] = rowsOf(halves(z), models[name].nz);
    let model = latents[TEN] ? TEN : MNIST;
    const t = root.querySelector("#explorer-t");
    const ends = { from: digits.labels.indexOf(3), to: digits.labels.indexOf(8) };
    const rows = [...root.querySelectorAll(".explorer-path")];

    const at = (path, when) => PATHS[path](latents[model][ends.from], latents[model][ends.to], when);
    const says = speaker(root.querySelector(".explorer-says"), () => {
      const [from, to] = [ends.from, ends.to].map((k) => digits.labels[k]);
      const norms = ["straight", "circle"].map((path) => fixed(norm(at(path, Number(t.value))), 2));
      return `From a ${from} to a ${to}, t = ${t.value}: the norm of z is ${norms[0]} on the straight line, ${norms[1]} on the great circle.`;
    });
    const draw = eachFrame(() => {
      const now = Number(t.value);
      t.parentElement.querySelector("output").textContent = now.toFixed(2);
      for (const row of rows) {
        const path = row.dataset.path;
        const steps = Array.from({ length: 9 }, (_, k) => at(path, k / 8));
        paintDecoded(row.querySelector(".explorer-strip"), model, ...steps);
        paintDecoded(row.querySelector("figure canvas"), model, at(path, now));
        row.querySelector("figcaption").textContent = `‖z‖ = ${fixed(norm(at(path, now)), 2)}`;
      }
    });
    const update = (now) => {
      draw();
      says(now === true);
    };

    for (const end of ["from", "to"]) {
      const grid = element("div", {});
      images.forEach((image, k) => {
        const label = `test image ${digits.index[k]}, a ${digits.labels[k]}`;
        const input = element("input", { type: "radio", name: `explorer-${end}`, value: k, "aria-label": label });
        const canvas = element("canvas", { "aria-hidden": "true" });
        paint(canvas, [Float32Array.from(image, (v) => v / 255)], "mnist", digits.rows, digits.columns);
        input.checked = k === ends[end];
        input.addEventListener("change", () => {
          ends[end] = k;
          update();
        });
        grid.append(element("label", {}, input, canvas));
      });
      root.querySelector(`#explorer-${end}`).append(grid);
    }
    const options = [
      [TEN, "ten dimensions"],
      [MNIST, "two dimensions"],
    ].filter(([name]) => latents[name]);
    const fieldset = root.querySelector("#explorer-between-model");
    fieldset.hidden = options.length < 2;
    choices(fieldset, "explorer-between-model", options, model, (value) => {
      model = value;
      update();
    });
    t.addEventListener("input", update);
    root.hidden = false;
    update(true);
  }

  // ---------------------------------------------------------------------------------- start

  const missing = [];
  const find = (id) => document.getElementById(id);
  const movePlane = models[MNIST] || models[FACES] ? setUpPlane(find("explorer-plane")) : null;
  for (const name of [MNIST, FACES]) if (!models[name]) missing.push(name);
  if (models[TEN]) setUpSliders(find("explorer-sliders"));
  else missing.push(TEN);
  if (data.digits) setUpBetween(find("explorer-between"));
  if (missing.length || !data.digits) {
    const parts = [];
    if (missing.length) parts.push(`these models were not in results/models: ${missing.join(", ")}`);
    if (!data.digits && missing.length < 3) parts.push("the MNIST images were not there");
    const note = find("explorer-missing");
    note.textContent = `When this page was built, ${parts.join(", and ")}. What needs them is left out.`;
    note.hidden = false;
  }

  // For tests, and for the curious.
  window.aevbExplorer = {
    models: Object.keys(models),
    decode: (name, z) => Array.from(models[name].decode(z)),
    get z() {
      return state.z.slice();
    },
    move: movePlane,
    path: (name, a, b, t) => PATHS[name](a, b, t),
  };
})();
