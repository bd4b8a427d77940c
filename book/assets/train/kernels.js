// The arithmetic of `learner.js` on one piece of memory: kernels.wasm where the browser has SIMD,
// else the same in plain JavaScript. `kernels.ts` says what each function does.
"use strict";

// Lays arrays of the given lengths (float32, padded with zeros) out in one memory.
//
// Returns `arrays` by name, and `run`: the functions of kernels.ts, which take names of arrays in the
// place of addresses.
function aevbKernels(lengths, wasm) {
  const padded = (n) => 4 * Math.ceil(n / 4);
  const first = 1024;
  let bytes = first;
  const address = {};
  for (const [name, length] of Object.entries(lengths)) {
    address[name] = bytes;
    bytes += 4 * padded(length);
  }
  const pages = Math.ceil(bytes / 65536);
  const fast = wasm && WebAssembly.validate(wasm);
  const memory = fast ? new WebAssembly.Memory({ initial: pages }) : { buffer: new ArrayBuffer(pages * 65536) };
  const arrays = {};
  for (const [name, length] of Object.entries(lengths)) {
    arrays[name] = new Float32Array(memory.buffer, address[name], padded(length));
  }
  const imports = { env: { memory }, numbers: { log: Math.log } };
  const functions = fast
    ? new WebAssembly.Instance(new WebAssembly.Module(wasm), imports).exports
    : aevbPlainKernels(new Float32Array(memory.buffer));
  const run = {};
  for (const [name, call] of Object.entries(functions)) {
    if (typeof call === "function") run[name] = (...given) => call(...given.map((one) => address[one] ?? one));
  }
  return { arrays, run, fast };
}

// kernels.ts without SIMD. Four rows or four inputs at a time, so that a weight read serves four.
function aevbPlainKernels(m) {
  return {
    affine(y, x, w, b, rows, nIn, nOut) {
      [y, x, w, b] = [y >> 2, x >> 2, w >> 2, b >> 2];
      for (let r = 0; r < rows; r += 4) {
        const [y0, y1, y2, y3] = [0, 1, 2, 3].map((k) => y + (r + k) * nOut);
        const x0 = x + r * nIn;
        for (const at of [y0, y1, y2, y3]) m.copyWithin(at, b, b + nOut);
        for (let i = 0; i < nIn; i++) {
          const [p0, p1] = [m[x0 + i], m[x0 + nIn + i]];
          const [p2, p3] = [m[x0 + 2 * nIn + i], m[x0 + 3 * nIn + i]];
          if (p0 === 0 && p1 === 0 && p2 === 0 && p3 === 0) continue;
          for (let j = 0, k = w + i * nOut; j < nOut; j++, k++) {
            const v = m[k];
            m[y0 + j] += p0 * v;
            m[y1 + j] += p1 * v;
            m[y2 + j] += p2 * v;
            m[y3 + j] += p3 * v;
          }
        }
      }
    },
    gradW(gw, x, gy, rows, nIn, nOut) {
      [gw, x, gy] = [gw >> 2, x >> 2, gy >> 2];
      for (let i = 0; i < nIn; i += 4) {
        const [g0, g1, g2, g3] = [0, 1, 2, 3].map((k) => gw + (i + k) * nOut);
        m.fill(0, g0, g0 + 4 * nOut);
        for (let r = 0; r < rows; r++) {
          const here = x + r * nIn + i;
          const [p0, p1, p2, p3] = [m[here], m[here + 1], m[here + 2], m[here + 3]];
          if (p0 === 0 && p1 === 0 && p2 === 0 && p3 === 0) continue;
          for (let j = 0, k = gy + r * nOut; j < nOut; j++, k++) {
            const v = m[k];
            m[g0 + j] += p0 * v;
            m[g1 + j] += p1 * v;
            m[g2 + j] += p2 * v;
            m[g3 + j] += p3 * v;
          }
        }
      }
    },
    gradB(gb, gy, rows, nOut) {
      [gb, gy] = [gb >> 2, gy >> 2];
      m.fill(0, gb, gb + nOut);
      for (let r = 0; r < rows; r++) for (let j = 0; j < nOut; j++) m[gb + j] += m[gy + r * nOut + j];
    },
    gradX(gx, gy, w, rows, nIn, nOut) {
      [gx, gy, w] = [gx >> 2, gy >> 2, w >> 2];
      for (let r = 0; r < rows; r += 4) {
        const [y0, y1, y2, y3] = [0, 1, 2, 3].map((k) => gy + (r + k) * nOut);
        for (let i = 0; i < nIn; i++) {
          let [a0, a1, a2, a3] = [0, 0, 0, 0];
          for (let j = 0, k = w + i * nOut; j < nOut; j++, k++) {
            const v = m[k];
            a0 += m[y0 + j] * v;
            a1 += m[y1 + j] * v;
            a2 += m[y2 + j] * v;
            a3 += m[y3 + j] * v;
          }
          [a0, a1, a2, a3].forEach((a, k) => (m[gx + (r + k) * nIn + i] = a));
        }
      }
    },
    tanh(a, n) {
      for (let k = a >> 2; k < (a >> 2) + n; k++) m[k] = Math.tanh(m[k]);
    },
    gradTanh(g, h, n) {
      [g, h] = [g >> 2, h >> 2];
      for (let k = 0; k < n; k++) m[g + k] *= 1 - m[h + k] * m[h + k];
    },
    bernoulli(l, x, rows, n, scale) {
      [l, x] = [l >> 2, x >> 2];
      let sum = 0;
      for (let k = 0; k < rows * n; k++) {
        const logit = m[l + k];
        const t = Math.exp(-Math.abs(logit));
        const mean = (logit >= 0 ? 1 : t) / (1 + t);
        sum += m[x + k] * logit - Math.max(logit, 0) - Math.log1p(t);
        m[l + k] = scale === 0 ? mean : scale * (m[x + k] - mean);
      }
      return sum;
    },
    adagrad(p, g, s, n, stepSize, decay) {
      [p, g, s] = [p >> 2, g >> 2, s >> 2];
      for (let k = 0; k < n; k++) {
        const gradient = m[g + k] - decay * m[p + k];
        m[s + k] += gradient * gradient;
        m[p + k] += (stepSize * gradient) / Math.sqrt(m[s + k]);
      }
    },
  };
}
