// Train it in this tab: the page around `worker.js`. Plain JavaScript, no request.
(function () {
  "use strict";

  const root = document.getElementById("train");
  const data = window.aevbTraining;
  const find = (part) => root.querySelector(`[data-part=${part}]`);
  const field = (name) => root.querySelector(`[name=${name}]`);
  const SHOWN = { from: 10000, bottom: -250, top: -90, lowest: -1000 }; // of the chart, unless the reader's curve
  const LEAPT = 30000; // goes beyond after so many samples

  const { bytes, rowsOf, minus, paint, blankSquare } = window.aevbCommon;
  const whole = (value) => Math.round(value).toLocaleString("en");
  const nats = (value) => (Number.isFinite(value) ? minus(value.toFixed(1)) : "not a number");

  // ------------------------------------------------------------------------------- the digits

  // A script and not a data file, since a page opened from a disk may load the one and not the other.
  function loadScript(address) {
    return new Promise((done, failed) => {
      const script = document.createElement("script");
      Object.assign(script, { src: address, onload: done, onerror: () => failed(new Error(`${address} is missing`)) });
      document.head.append(script);
    });
  }

  let digits = null;

  async function loadDigits() {
    if (digits) return;
    await loadScript("_static/train/digits.js");
    const packed = bytes(window.aevbDigits.images);
    const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    digits = {
      images: new Uint8Array(await new Response(unpacked).arrayBuffer()),
      labels: bytes(window.aevbDigits.labels),
      train: window.aevbDigits.train,
      test: window.aevbDigits.test,
    };
  }

  // The images that a run sees: the first N training digits, then the test digits.
  function imagesOf(nTrain) {
    const images = new Uint8Array(784 * (nTrain + digits.test));
    images.set(digits.images.subarray(0, 784 * nTrain));
    images.set(digits.images.subarray(784 * digits.train), 784 * nTrain);
    return images;
  }

  // ----------------------------------------------------------------------------- the settings

  const run = () => data.runs[field("run").value];

  function settings() {
    const { configuration } = run();
    return {
      hidden: configuration.n_hidden,
      nz: configuration.nz,
      nTrain: configuration.n_train,
      warmup: configuration.warmup,
      prior: configuration.prior,
      stepSize: Number(field("step_size").value),
      minibatch: Number(field("minibatch").value),
      samples: Number(field("n_samples").value),
      klWeight: Number(field("kl_weight").value),
      mistake: field("mistake").value,
      seed: Number(field("seed").value),
    };
  }

  // What differs from the published run, in words.
  function differences(chosen) {
    const { configuration } = run();
    const found = [];
    if (chosen.stepSize !== configuration.step_size) found.push(`step size ${chosen.stepSize}`);
    if (chosen.minibatch !== configuration.minibatch) found.push(`M = ${chosen.minibatch}`);
    if (chosen.samples !== configuration.n_samples) found.push(`L = ${chosen.samples}`);
    if (chosen.klWeight !== 1) found.push(`weight ${chosen.klWeight} on the KL`);
    if (chosen.mistake !== "Code") found.push(field("mistake").selectedOptions[0].textContent);
    return found.length ? `Other than in the published run: ${found.join(", ")}.` : "The settings of the published run.";
  }

  // -------------------------------------------------------------------------------- the chart

  let mine = []; // points of the reader's curve
  let chart = null;

  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();

  function table() {
    const published = run().curves.map((curve) => [curve.samples, curve.train, curve.test]);
    const own = [mine.map((p) => p.samples), mine.map((p) => p.train.bound), mine.map((p) => p.test.bound)];
    return uPlot.join([own, ...published]);
  }

  function drawChart() {
    const place = find("chart");
    if (chart) chart.destroy();
    const line = (label, name, dash, width) => ({
      label,
      stroke: () => colour(name),
      width,
      dash,
      spanGaps: true,
      points: { show: false },
      value: (_, v) => (v == null ? "" : nats(v)),
    });
    const published = run().curves.flatMap((curve) => [
      line(`published, seed ${curve.seed}, train`, "--published", [], 1),
      line(`published, seed ${curve.seed}, test`, "--published", [6, 4], 1),
    ]);
    const axis = { stroke: () => colour("--pst-color-text-base"), grid: { stroke: () => colour("--grid"), width: 1 } };
    chart = new uPlot(
      {
        width: place.clientWidth,
        height: Math.round(Math.min(380, Math.max(260, 0.6 * place.clientWidth))),
        legend: { show: false },
        cursor: { drag: { x: false, y: false } },
        scales: {
          x: { time: false, distr: 3, range: (_, __, high) => [SHOWN.from, Math.max(high, 1e6)] },
          y: {
            range: () => {
              const seen = mine.filter((p) => p.samples > LEAPT).flatMap((p) => [p.train.bound, p.test.bound]);
              const finite = seen.filter(Number.isFinite);
              return [Math.max(SHOWN.lowest, Math.min(SHOWN.bottom, ...finite)), Math.max(SHOWN.top, ...finite.map((v) => v + 5))];
            },
          },
        },
        axes: [
          { ...axis, label: "training samples", size: 40, labelSize: 20, values: (_, ticks) => ticks.map(short) },
          { ...axis, label: "bound (nats per digit)", size: 50, labelSize: 20, values: (_, ticks) => ticks.map((v) => minus(String(v))) },
        ],
        series: [{ label: "samples" }, line("yours, train", "--mine", [], 3), line("yours, test", "--mine", [6, 4], 3), ...published],
      },
      table(),
      place,
    );
  }

  // 1,000,000 as 1M; only powers of ten, and their 2 and 5, are named.
  function short(value) {
    if (value == null || ![1, 2, 5].includes(Number(String(value)[0]))) return "";
    return value >= 1e6 ? `${value / 1e6}M` : `${value / 1e3}k`;
  }

  // ----------------------------------------------------------------------------- the pictures

  let latest = null; // picture

  function drawManifold() {
    paint(find("manifold"), rowsOf(latest.images, 784), "mnist", 28, 28, data.across);
  }

  function drawCloud() {
    const [context, size] = blankSquare(find("cloud"), colour("--pst-color-background"));
    if (!latest) return;
    const nz = run().configuration.nz;
    const reach = 4;
    const pixel = (v) => ((v + reach) / (2 * reach)) * size;
    context.strokeStyle = colour("--pst-color-text-muted");
    context.setLineDash([2, 4]);
    for (const share of [0.5, 0.9, 0.99]) {
      const radius = Math.sqrt(-2 * Math.log(1 - share));
      context.beginPath();
      context.arc(size / 2, size / 2, (radius / (2 * reach)) * size, 0, 2 * Math.PI);
      context.stroke();
    }
    context.font = `bold ${Math.max(8, size / 40)}px sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    const labels = digits.labels.subarray(digits.train);
    const colours = Array.from({ length: 10 }, (_, digit) => colour(`--digit-${digit}`));
    for (let k = 0; k < labels.length; k++) {
      context.fillStyle = colours[labels[k]];
      context.fillText(labels[k], pixel(latest.codes[k * nz]), size - pixel(latest.codes[k * nz + 1]));
    }
  }

  // -------------------------------------------------------------------------------- the worker

  let worker = null;
  let state = "new"; // new, loading, going, paused, ended
  let rate = 0;
  let fast = true;
  let spoken = 0;

  function workerScript() {
    const parts = [aevbKernels, aevbPlainKernels, aevbMistakes, aevbRandom, aevbLearner, aevbWorker];
    return URL.createObjectURL(new Blob([`"use strict";\n${parts.join("\n")}\naevbWorker();`], { type: "text/javascript" }));
  }

  function show(next) {
    state = next;
    root.dataset.state = state;
    find("go").textContent = { new: "Start", loading: "Loading", going: "Pause", paused: "Continue", ended: "Ended" }[state];
    find("go").setAttribute("aria-disabled", state === "loading" || state === "ended"); // and keeps the focus
    find("settings").disabled = state !== "new";
    find("reset").disabled = state === "new" || state === "loading";
  }

  function say(words) {
    find("says").textContent = words;
  }

  // The bounds in words, not so often that a screen reader is flooded.
  function sayPoint(point, now) {
    if (!now && Date.now() - spoken < 4000) return;
    spoken = Date.now();
    const { samples, train, test } = point;
    const parts = `of the test digits: reconstruction ${nats(test.reconstruction)}, KL ${nats(test.kl)}`;
    say(`${whole(samples)} samples: bound ${nats(train.bound)} nats per digit on train, ${nats(test.bound)} on test; ${parts}.`);
  }

  function hear({ data: message }) {
    if (message.ready) fast = message.ready.fast;
    if (message.progress) {
      const { samples, perSecond } = message.progress;
      rate = rate ? 0.9 * rate + 0.1 * perSecond : perSecond;
      find("progress").value = samples;
      find("rate").textContent = `${whole(samples)} samples, ${whole(rate)} samples/s${fast ? "" : " without SIMD"}`;
    }
    if (message.point) {
      mine.push(message.point);
      chart.setData(table());
      sayPoint(message.point, mine.length === 1);
    }
    if (message.picture) {
      latest = message.picture;
      drawManifold();
      drawCloud();
    }
    if (message.ended) {
      show("ended");
      sayPoint(mine.at(-1), true);
    }
  }

  async function start() {
    show("loading");
    try {
      await loadDigits();
    } catch (error) {
      show("new");
      say(`The digits cannot be loaded: ${error.message}.`);
      return;
    }
    const chosen = settings();
    find("differences").textContent = differences(chosen);
    const address = workerScript();
    worker = new Worker(address);
    URL.revokeObjectURL(address);
    worker.onmessage = hear;
    worker.onerror = (event) => say(`The training failed: ${event.message}.`);
    const nz = chosen.nz;
    const grid = Float32Array.from({ length: nz * data.across ** 2 }, (_, k) => (k % nz < 2 ? data.grid[2 * Math.floor(k / nz) + (k % nz)] : 0));
    const end = Math.max(...run().curves.map((curve) => curve.samples.at(-1)));
    find("progress").max = end;
    const wasm = find("simd").checked ? bytes(data.wasm) : null;
    worker.postMessage({ do: "start", settings: chosen, images: imagesOf(chosen.nTrain), nTest: digits.test, end, grid, wasm });
    show("going");
  }

  function pause(why) {
    worker.postMessage({ do: "stop" });
    show("paused");
    if (why) say(why);
  }

  function reset() {
    if (worker) worker.terminate();
    [worker, mine, latest, rate] = [null, [], null, 0];
    find("progress").value = 0;
    find("rate").textContent = "";
    find("differences").textContent = "";
    for (const canvas of root.querySelectorAll("canvas[data-part]")) canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
    say("");
    show("new");
    drawChart();
  }

  find("go").addEventListener("click", () => {
    if (state === "new") start();
    else if (state === "going") pause();
    else if (state === "paused") {
      worker.postMessage({ do: "go" });
      show("going");
    }
  });
  find("reset").addEventListener("click", reset);
  document.addEventListener("visibilitychange", () => {
    if (document.hidden && state === "going") pause("Paused, since the tab was hidden.");
  });
  field("run").addEventListener("change", () => {
    field("step_size").value = run().configuration.step_size;
    field("minibatch").value = run().configuration.minibatch;
    drawChart();
  });

  // ------------------------------------------------------------------------------------- start

  if (!data || !Object.keys(data.runs).length) {
    root.nextElementSibling.hidden = false;
    return;
  }
  root.hidden = false;
  show("new");
  drawChart();
  new ResizeObserver(() => {
    const width = find("chart").clientWidth;
    if (width !== chart.width) drawChart();
    drawCloud();
  }).observe(root);
  new MutationObserver(() => {
    drawChart();
    drawCloud();
  }).observe(document.documentElement, { attributeFilter: ["data-theme"] });

  // For tests, and for the curious.
  window.aevbTrain = {
    learner: (given, images, simd = true) => aevbLearner(given, Uint8Array.from(images), simd ? bytes(data.wasm) : null),
    get points() {
      return mine;
    },
    get state() {
      return state;
    },
    get rate() {
      return rate;
    },
  };
})();
