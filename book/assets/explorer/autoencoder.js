// The whole auto-encoder: a drawing, q(z|x), a z and an image, with the terms of the bound.
(function () {
  "use strict";

  const { bytes, halves, linear, rowsOf, standardNormal, fixed, element, paint, blankSquare, eachFrame, speaker } =
    window.aevbCommon;
  const data = window.aevbAutoencoderData || { model: null, digits: null };
  const root = document.getElementById("autoencoder");
  const find = (part) => root.querySelector(`[data-part=${part}]`);
  const SIZE = 28;
  const LIMIT = 5; // of the plane
  const DRAWS = 100; // of epsilon, of which the first is shown
  const INSET = 0.34; // of the plane's width
  const BRUSH = 1.3; // pixels of an image

  // --------------------------------------------------------------------------------- the model

  const layers = {};
  for (const [name, layer] of Object.entries(data.model ? data.model.layers : {})) {
    layers[name] = { weight: halves(layer.weight), bias: halves(layer.bias) };
  }

  function encode(x) {
    const h = linear(x, layers["encoder.hidden"]).map(Math.tanh);
    const logVariance = linear(h, layers["encoder.log_variance"]);
    return { mean: linear(h, layers["encoder.mean"]), sigma: logVariance.map((a) => Math.exp(a / 2)) };
  }

  const sample = (q, epsilon) => q.mean.map((m, d) => m + q.sigma[d] * epsilon[d]);
  const decode = (z) => linear(linear(z, layers["decoder.hidden"]).map(Math.tanh), layers["decoder.logits"]);
  const sigmoid = (a) => 1 / (1 + Math.exp(-a));

  // log p(x|z), in nats: x l - log(1 + exp(l)), summed over the pixels.
  function reconstruction(x, logits) {
    return x.reduce((sum, xi, i) => sum + xi * logits[i] - Math.max(logits[i], 0) - Math.log1p(Math.exp(-Math.abs(logits[i]))), 0);
  }

  function klToPrior(q) {
    return q.mean.reduce((sum, m, d) => sum + 0.5 * (m * m + q.sigma[d] ** 2 - 2 * Math.log(q.sigma[d]) - 1), 0);
  }

  // log p(x, z) - log q(z|x) for z = mu + sigma epsilon.
  function logWeight(x, q, epsilon) {
    const z = sample(q, epsilon);
    const ratio = z.reduce((sum, zd, d) => sum + 0.5 * (epsilon[d] ** 2 - zd * zd) + Math.log(q.sigma[d]), 0);
    return reconstruction(x, decode(z)) + ratio;
  }

  // The importance-weighted bound with as many draws as there are epsilons.
  function importanceWeighted(x, q, epsilons) {
    const weights = epsilons.map((epsilon) => logWeight(x, q, epsilon));
    const most = Math.max(...weights);
    return most + Math.log(weights.reduce((sum, w) => sum + Math.exp(w - most), 0) / weights.length);
  }

  function terms(x, epsilons) {
    const q = encode(x);
    const z = sample(q, epsilons[0]);
    const logits = decode(z);
    const [fit, kl] = [reconstruction(x, logits), klToPrior(q)];
    return { ...q, z, image: logits.map(sigmoid), reconstruction: fit, kl, bound: fit - kl };
  }

  // ------------------------------------------------------------------------------------ moves

  const draw100 = () => Array.from({ length: DRAWS }, () => Array.from({ length: data.model.nz }, standardNormal));
  const state = { x: new Float32Array(SIZE * SIZE), epsilons: data.model ? draw100() : [], now: null };

  function shifted(x, right, down) {
    return x.map((_, i) => {
      const [column, row] = [(i % SIZE) - right, Math.floor(i / SIZE) - down];
      return column >= 0 && column < SIZE && row >= 0 && row < SIZE ? x[row * SIZE + column] : 0;
    });
  }

  // As MNIST's digits are: the centre of mass in the middle.
  function centred(x) {
    const mass = x.reduce((sum, xi) => sum + xi, 0);
    if (!mass) return x;
    const column = x.reduce((sum, xi, i) => sum + xi * (i % SIZE), 0) / mass;
    const row = x.reduce((sum, xi, i) => sum + xi * Math.floor(i / SIZE), 0) / mass;
    return shifted(x, Math.round(SIZE / 2 - 0.5 - column), Math.round(SIZE / 2 - 0.5 - row));
  }

  // Ink along a stroke, soft at its edge.
  function ink([ax, ay], [bx, by]) {
    const steps = Math.ceil(Math.hypot(bx - ax, by - ay) * 2) + 1;
    for (let step = 0; step <= steps; step++) {
      const [px, py] = [ax + ((bx - ax) * step) / steps, ay + ((by - ay) * step) / steps];
      for (let row = Math.floor(py - 3); row <= py + 3; row++) {
        for (let column = Math.floor(px - 3); column <= px + 3; column++) {
          if (row < 0 || row >= SIZE || column < 0 || column >= SIZE) continue;
          const far = Math.hypot(column + 0.5 - px, row + 0.5 - py);
          const dark = Math.min(1, Math.max(0, BRUSH + 0.5 - far));
          const at = row * SIZE + column;
          state.x[at] = Math.max(state.x[at], dark);
        }
      }
    }
  }

  // --------------------------------------------------------------------------------- the page

  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();

  // Draws q(z|x), with circles at one and two sigma, and z, through `pixel` at `unit` pixels each.
  function drawPosterior(context, pixel, unit, dot) {
    const { mean, sigma, z } = state.now;
    context.strokeStyle = colour("--pst-color-text-base");
    for (const many of [1, 2]) {
      context.beginPath();
      context.ellipse(...pixel(mean), many * sigma[0] * unit, many * sigma[1] * unit, 0, 0, 2 * Math.PI);
      context.stroke();
    }
    context.beginPath();
    context.arc(...pixel(z), dot, 0, 2 * Math.PI);
    context.fillStyle = colour("--marker");
    context.fill();
  }

  function drawPlane() {
    const [context, size] = blankSquare(find("plane"), colour("--pst-color-background"));
    const unit = size / (2 * LIMIT);
    const pixel = ([a, b]) => [size / 2 + a * unit, size / 2 - b * unit];
    context.font = "bold 8px sans-serif";
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.globalAlpha = 0.45;
    points.z.forEach((z, i) => {
      context.fillStyle = colour(`--digit-${points.labels[i]}`);
      context.fillText(points.labels[i], ...pixel(z));
    });
    context.globalAlpha = 1;
    context.strokeStyle = colour("--pst-color-text-muted");
    context.setLineDash([2, 4]);
    // In the plane, the norm under the prior has the distribution function 1 - exp(-r²/2).
    for (const share of [0.5, 0.9, 0.99]) {
      context.beginPath();
      context.arc(...pixel([0, 0]), Math.sqrt(-2 * Math.log(1 - share)) * unit, 0, 2 * Math.PI);
      context.stroke();
    }
    context.setLineDash([]);
    drawPosterior(context, pixel, unit, 3);

    // q(z|x) is small beside the prior, so a corner shows it magnified.
    const { mean, sigma } = state.now;
    const side = INSET * size;
    const near = side / (8 * Math.max(...sigma));
    context.fillStyle = colour("--pst-color-background");
    context.fillRect(0, size - side, side, side);
    context.strokeStyle = colour("--pst-color-border");
    context.strokeRect(0, size - side, side, side);
    context.save();
    context.beginPath();
    context.rect(0, size - side, side, side);
    context.clip();
    drawPosterior(context, ([a, b]) => [side / 2 + (a - mean[0]) * near, size - side / 2 - (b - mean[1]) * near], near, 4);
    context.restore();
    context.fillStyle = colour("--pst-color-text-muted");
    context.font = "10px sans-serif";
    context.textAlign = "left";
    context.fillText(`× ${Math.round(near / unit)}`, 4, size - side + 9);
  }

  function showNumbers() {
    const { mean, sigma, z, kl, bound } = state.now;
    find("dimensions").replaceChildren(
      ...Array.from(mean, (_, d) => {
        const numbers = [mean[d], sigma[d], state.epsilons[0][d], z[d]];
        const cells = numbers.map((v) => element("td", {}, fixed(v, 2)));
        return element("tr", {}, element("th", { scope: "row" }, "z", element("sub", {}, `${d + 1}`)), ...cells);
      }),
    );
    find("reconstruction").textContent = fixed(state.now.reconstruction, 1);
    find("kl").textContent = fixed(kl, 2);
    find("bound").textContent = fixed(bound, 1);
  }

  // A hundred decodings take longer than a frame, so this waits until the drawing rests.
  let resting = 0;
  function weighLater() {
    clearTimeout(resting);
    find("weighted").textContent = "…";
    resting = setTimeout(() => {
      const many = Number(find("k").value);
      find("weighted").textContent = fixed(importanceWeighted(state.x, state.now, state.epsilons.slice(0, many)), 1);
    }, 120);
  }

  const says = speaker(find("says"), () => {
    const { mean, sigma, kl, bound } = state.now;
    const where = Array.from(mean, (m, d) => `${fixed(m, 2)} ± ${fixed(sigma[d], 2)}`).join(" and ");
    return `q(z|x): ${where}. Reconstruction ${fixed(state.now.reconstruction, 1)}, KL ${fixed(kl, 1)}, bound ${fixed(bound, 1)} nats.`;
  });

  const draw = eachFrame(() => {
    paint(find("paper"), [state.x], "mnist", SIZE, SIZE);
    paint(find("image"), [state.now.image], "mnist", SIZE, SIZE);
    drawPlane();
    showNumbers();
  });

  function update() {
    state.now = terms(state.x, state.epsilons);
    draw();
    weighLater();
    says();
  }

  function change(x) {
    state.x = x;
    if (!find("hold").checked) state.epsilons = draw100();
    update();
  }

  // ------------------------------------------------------------------------------------ start

  if (!data.model || !data.digits) {
    root.nextElementSibling.hidden = false;
    return;
  }
  const points = { z: rowsOf(halves(data.points.z), data.model.nz), labels: bytes(data.points.labels) };
  const digits = rowsOf(bytes(data.digits.images), SIZE * SIZE).map((image) => Float32Array.from(image, (v) => v / 255));
  root.hidden = false;

  const grid = element("div", {});
  digits.forEach((image, k) => {
    const label = `test image ${data.digits.index[k]}, a ${data.digits.labels[k]}`;
    const input = element("input", { type: "radio", name: "autoencoder-digit", value: k, "aria-label": label });
    const canvas = element("canvas", { "aria-hidden": "true" });
    paint(canvas, [image], "mnist", SIZE, SIZE);
    input.addEventListener("change", () => change(image.slice()));
    grid.append(element("label", {}, input, canvas));
  });
  find("digits").append(grid);
  const chosen = data.digits.labels.indexOf(3);
  grid.querySelectorAll("input")[chosen].checked = true;

  const paper = find("paper");
  const unchoose = () => grid.querySelectorAll("input:checked").forEach((input) => (input.checked = false));
  let last = null;
  function follow(event) {
    const box = paper.getBoundingClientRect();
    const here = [
      ((event.clientX - box.left - paper.clientLeft) / paper.clientWidth) * SIZE,
      ((event.clientY - box.top - paper.clientTop) / paper.clientHeight) * SIZE,
    ];
    ink(last || here, here);
    last = here;
    change(state.x);
  }
  paper.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    paper.setPointerCapture(event.pointerId);
    if (grid.querySelector("input:checked")) state.x = new Float32Array(SIZE * SIZE); // a digit of one's own
    unchoose();
    last = null;
    follow(event);
  });
  paper.addEventListener("pointermove", (event) => {
    if (paper.hasPointerCapture(event.pointerId)) follow(event);
  });
  paper.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!by || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault(); // the page does not scroll
    event.stopPropagation();
    change(shifted(state.x, ...by));
  });

  const deeds = {
    clear() {
      unchoose();
      change(new Float32Array(SIZE * SIZE));
    },
    centre: () => change(centred(state.x)),
    redraw() {
      state.epsilons = draw100();
      update();
    },
    mean() {
      state.epsilons[0] = state.epsilons[0].map(() => 0);
      update();
    },
  };
  for (const button of root.querySelectorAll("[data-do]")) button.addEventListener("click", deeds[button.dataset.do]);
  find("k").addEventListener("input", () => {
    root.querySelectorAll("[data-part=k-says]").forEach((one) => (one.textContent = find("k").value));
    weighLater();
  });
  new ResizeObserver(() => draw()).observe(root);
  new MutationObserver(() => draw()).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  change(digits[chosen].slice());

  // For tests, and for the curious.
  window.aevbAutoencoder = {
    terms(x, epsilons) {
      const found = terms(Float32Array.from(x), epsilons);
      const weighted = importanceWeighted(Float32Array.from(x), found, epsilons);
      const lists = ["mean", "sigma", "z", "image"].map((name) => [name, Array.from(found[name])]);
      return { ...found, ...Object.fromEntries(lists), weighted };
    },
    get x() {
      return Array.from(state.x);
    },
    get epsilon() {
      return state.epsilons[0].slice();
    },
    get z() {
      return Array.from(state.now.z);
    },
  };
})();
