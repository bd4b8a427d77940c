// AEVB on MNIST digits: Algorithm 1 with the networks of Appendix C, as src/aevb/learners has it.
"use strict";

// Mistakes of the book's clinic, each as its difference from the right code. `kl` is the weight of
// the KL, for a minibatch of M images; `spread` and `slope` are the factor of epsilon and its
// derivative, as functions of the log variance.
function aevbMistakes() {
  return {
    Code: {},
    KlSummedOverBatch: { kl: (M) => M },
    KlOverPixels: { kl: () => 1 / 784 },
    KlSign: { kl: () => -1 },
    SampleOfVariance: { spread: Math.exp, slope: Math.exp },
    SampleOfLogVariance: { spread: (a) => a, slope: () => 1 },
    NoGradientThroughZ: { blocked: true },
    EpsilonShared: { shared: true },
    EpsilonFixed: { fixed: true },
  };
}

// Random numbers of a seed: sfc32, and normal ones from it in pairs.
function aevbRandom(...seed) {
  let [a, b, c, d] = [seed[0] | 0, (seed[1] || 0) | 0, (seed[2] || 0) | 0, 1];
  const bits = () => {
    const sum = (a + b + d++) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + sum;
    return sum >>> 0;
  };
  for (let k = 0; k < 20; k++) bits();
  const uniform = () => (bits() + 0.5) / 4294967296;
  let spare = null;
  const normal = () => {
    if (spare !== null) {
      const kept = spare;
      spare = null;
      return kept;
    }
    const size = Math.sqrt(-2 * Math.log(uniform()));
    const angle = 2 * Math.PI * uniform();
    spare = size * Math.sin(angle);
    return size * Math.cos(angle);
  };
  return { uniform, normal, below: (n) => Math.floor(n * uniform()) };
}

// A learner before its first update.
//
// `settings`: hidden, nz, seed, stepSize, minibatch (M), samples (L), klWeight, mistake, warmup, prior,
// nTrain (N). `images`: bytes, 784 an image. `wasm`: the bytes of kernels.wasm, or null.
function aevbLearner(settings, images, wasm) {
  const PIXELS = 784;
  const { hidden, nz, seed, stepSize, minibatch, samples, nTrain } = settings;
  const mistake = aevbMistakes()[settings.mistake];
  const spread = mistake.spread || ((a) => Math.exp(a / 2));
  const slope = mistake.slope || ((a) => Math.exp(a / 2) / 2);
  const klWeight = settings.klWeight * (mistake.kl ? mistake.kl(minibatch) : 1);
  const NZ = 4 * Math.ceil(nz / 4); // widths are padded; what is in the padding stays zero
  const H = 4 * Math.ceil(hidden / 4);
  const ROWS = 100; // of an evaluation at a time
  const rows = 4 * Math.ceil(Math.max(samples * minibatch, ROWS) / 4);

  // Inputs and outputs of each layer, and how many of them are no padding.
  const layers = {
    "encoder.hidden": [PIXELS, H, PIXELS, hidden],
    "encoder.mean": [H, NZ, hidden, nz],
    "encoder.log_variance": [H, NZ, hidden, nz],
    "decoder.hidden": [NZ, H, nz, hidden],
    "decoder.logits": [H, PIXELS, hidden, PIXELS],
  };
  const shapes = {};
  for (const [name, [n, m, inputs, outputs]] of Object.entries(layers)) {
    shapes[`${name}.weight`] = [n, m, inputs, outputs];
    shapes[`${name}.bias`] = [1, m, 1, outputs];
  }
  const widths = {
    x: PIXELS, h: H, gh: H, gh2: H, mean: NZ, logVariance: NZ, gmean: NZ, glogVariance: NZ,
    z: NZ, gz: NZ, epsilon: NZ, d: H, gd: H, logits: PIXELS,
  };
  const lengths = { scratch: Math.max(PIXELS, H, rows) };
  for (const [name, width] of Object.entries(widths)) lengths[name] = rows * width;
  for (const [name, [n, m]] of Object.entries(shapes)) {
    for (const kind of ["", "gradient of ", "squares of "]) lengths[kind + name] = n * m;
  }
  const { arrays, run, fast } = aevbKernels(lengths, wasm);

  // Where the numbers of a parameter are; the padding is left out.
  function* places(name) {
    const [, m, inputs, outputs] = shapes[name.replace(/^(gradient|squares) of /, "")];
    for (let i = 0; i < inputs; i++) for (let j = 0; j < outputs; j++) yield i * m + j;
  }
  function set(name, values) {
    let k = 0;
    for (const place of places(name)) arrays[name][place] = values[k++];
  }
  const get = (name) => Array.from(places(name), (place) => arrays[name][place]);

  const order = aevbRandom(seed, 1);
  const noise = aevbRandom(seed, 2);
  const initial = aevbRandom(seed, 3);
  for (const name of Object.keys(shapes)) {
    const std = name.startsWith("encoder.log_variance") || name === "decoder.logits.bias" ? 0 : 0.01;
    for (const place of places(name)) arrays[name][place] = std * initial.normal();
    arrays[`squares of ${name}`].fill(1e-8);
  }
  let updates = 0;

  function load(numbers) {
    numbers.forEach((number, row) => {
      const at = number * PIXELS;
      for (let i = 0; i < PIXELS; i++) arrays.x[row * PIXELS + i] = images[at + i] / 255;
    });
  }

  // L draws of epsilon for each of M images, row l M + m.
  function drawEpsilon(source, M, L) {
    const { epsilon } = arrays;
    for (let k = 0; k < L * M; k++) {
      for (let d = 0; d < nz; d++) {
        const shared = mistake.shared && k > 0;
        epsilon[k * NZ + d] = mistake.fixed ? 1 : shared ? epsilon[d] : source.normal();
      }
    }
  }

  function encode(M) {
    run.affine("h", "x", "encoder.hidden.weight", "encoder.hidden.bias", M, PIXELS, H, "scratch");
    run.tanh("h", M * H);
    run.affine("mean", "h", "encoder.mean.weight", "encoder.mean.bias", M, H, NZ, "scratch");
    run.affine("logVariance", "h", "encoder.log_variance.weight", "encoder.log_variance.bias", M, H, NZ, "scratch");
  }

  // z = mu + sigma epsilon; returns the sum of the KLs.
  function sample(M, L) {
    const { mean, logVariance, epsilon, z } = arrays;
    let kl = 0;
    for (let k = 0; k < M * NZ; k++) {
      const size = spread(logVariance[k]);
      for (let l = 0, at = k; l < L; l++, at += M * NZ) z[at] = mean[k] + size * epsilon[at];
      kl += 0.5 * (mean[k] ** 2 + Math.exp(logVariance[k]) - logVariance[k] - 1);
    }
    return kl;
  }

  function decode(K) {
    run.affine("d", "z", "decoder.hidden.weight", "decoder.hidden.bias", K, NZ, H, "scratch");
    run.tanh("d", K * H);
    run.affine("logits", "d", "decoder.logits.weight", "decoder.logits.bias", K, H, PIXELS, "scratch");
  }

  // The bound of M loaded images as this code has it, with its gradient: forward, then backward.
  function gradients(M, L) {
    const K = L * M;
    encode(M);
    const kl = sample(M, L);
    decode(K);
    for (let l = 1; l < L; l++) arrays.x.copyWithin(l * M * PIXELS, 0, M * PIXELS);
    const reconstruction = run.bernoulli("logits", "x", K, PIXELS, 1 / L) / L; // and its gradient

    const layer = (name, x, gy, n, nIn, nOut) => {
      run.gradW(`gradient of ${name}.weight`, x, gy, n, nIn, nOut, "scratch");
      run.gradB(`gradient of ${name}.bias`, gy, n, nOut);
    };
    layer("decoder.logits", "d", "logits", K, H, PIXELS);
    run.gradX("gd", "logits", "decoder.logits.weight", K, H, PIXELS);
    run.gradTanh("gd", "d", K * H);
    layer("decoder.hidden", "z", "gd", K, NZ, H);
    run.gradX("gz", "gd", "decoder.hidden.weight", K, NZ, H);

    const { mean, logVariance, epsilon, gz, gmean, glogVariance, gh, gh2 } = arrays;
    for (let k = 0; k < M * NZ; k++) {
      let [toMean, toSize] = [0, 0];
      for (let l = 0, at = k; l < L && !mistake.blocked; l++, at += M * NZ) {
        toMean += gz[at];
        toSize += gz[at] * epsilon[at];
      }
      gmean[k] = toMean - klWeight * mean[k];
      glogVariance[k] = toSize * slope(logVariance[k]) + klWeight * 0.5 * (1 - Math.exp(logVariance[k]));
    }
    layer("encoder.mean", "h", "gmean", M, H, NZ);
    layer("encoder.log_variance", "h", "glogVariance", M, H, NZ);
    run.gradX("gh", "gmean", "encoder.mean.weight", M, H, NZ);
    run.gradX("gh2", "glogVariance", "encoder.log_variance.weight", M, H, NZ);
    for (let k = 0; k < M * H; k++) gh[k] += gh2[k];
    run.gradTanh("gh", "h", M * H);
    layer("encoder.hidden", "x", "gh", M, PIXELS, H);
    return (reconstruction - klWeight * kl) / M;
  }

  // Adagrad; while it warms up, only the accumulators change. The prior is on weights, not biases.
  function update() {
    updates += 1;
    const size = updates > settings.warmup ? stepSize : 0;
    const decay = (settings.prior * minibatch) / nTrain;
    for (const [name, [n, m]] of Object.entries(shapes)) {
      const pull = name.endsWith("bias") ? 0 : decay;
      run.adagrad(name, `gradient of ${name}`, `squares of ${name}`, n * m, size, pull);
    }
  }

  // One update from M random training images; returns their mean bound before it.
  function step() {
    load(Array.from({ length: minibatch }, () => order.below(nTrain)));
    drawEpsilon(noise, minibatch, samples);
    const bound = gradients(minibatch, samples);
    update();
    return bound;
  }

  function loadRange(first, M) {
    load(Array.from({ length: M }, (_, row) => first + row));
  }

  // Of images `from` to `to`: the means over images of the bound as this code has it, its
  // reconstruction and its KL, with one z each. `moment` makes the noise, so evaluating more often
  // does not change the training.
  function evaluate(from, to, moment) {
    const source = aevbRandom(seed, 4, moment);
    let [reconstruction, kl] = [0, 0];
    for (let first = from; first < to; first += ROWS) {
      const M = Math.min(ROWS, to - first);
      loadRange(first, M);
      drawEpsilon(source, M, 1);
      encode(M);
      kl += sample(M, 1);
      decode(M);
      reconstruction += run.bernoulli("logits", "x", M, PIXELS, 1);
    }
    const n = to - from;
    return { bound: (reconstruction - klWeight * kl) / n, reconstruction: reconstruction / n, kl: kl / n };
  }

  // Means of q(z|x) of images `from` to `to`, nz an image.
  function codes(from, to) {
    const found = new Float32Array((to - from) * nz);
    for (let first = from; first < to; first += ROWS) {
      const M = Math.min(ROWS, to - first);
      loadRange(first, M);
      encode(M);
      for (let row = 0; row < M; row++) {
        found.set(arrays.mean.subarray(row * NZ, row * NZ + nz), (first - from + row) * nz);
      }
    }
    return found;
  }

  // Means of p(x|z) for rows of z, nz a row.
  function imagesOf(zs) {
    const drawn = new Float32Array((zs.length / nz) * PIXELS);
    for (let first = 0; first < zs.length / nz; first += ROWS) {
      const K = Math.min(ROWS, zs.length / nz - first);
      for (let k = 0; k < K; k++) for (let d = 0; d < nz; d++) arrays.z[k * NZ + d] = zs[(first + k) * nz + d];
      decode(K);
      run.bernoulli("logits", "x", K, PIXELS, 0);
      drawn.set(arrays.logits.subarray(0, K * PIXELS), first * PIXELS);
    }
    return drawn;
  }

  // For tests: the bound and its gradient, with epsilon given, `nz` a row.
  function given(numbers, epsilon) {
    const L = epsilon.length / nz / numbers.length;
    load(numbers);
    for (let k = 0; k < L * numbers.length; k++) {
      for (let d = 0; d < nz; d++) arrays.epsilon[k * NZ + d] = epsilon[k * nz + d];
    }
    return gradients(numbers.length, L);
  }

  return {
    names: Object.keys(shapes),
    fast,
    set,
    get,
    given,
    update,
    step,
    evaluate,
    codes,
    decode: imagesOf,
    get moving() {
      return updates > settings.warmup;
    },
  };
}
