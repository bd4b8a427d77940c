// The arithmetic of book/assets/train/learner.js, in AssemblyScript: WebAssembly with SIMD.
//
// `python book/build.py kernels` makes kernels.wasm of it; a test compares the two. Matrices are in
// float32, row by row, and passed as addresses. Their widths are multiples of 4. Rows are computed
// four at a time, so memory must have room for a number of rows that is a multiple of 4.

@external("numbers", "log")
declare function log(x: f64): f64;

const F: usize = 4; // bytes of a number

// @ts-ignore: a decorator of AssemblyScript
@inline function plus(sum: v128, a: v128, b: v128): v128 {
  return f32x4.add(sum, f32x4.mul(a, b));
}

// @ts-ignore
@inline function total(a: v128): f32 {
  return f32x4.extract_lane(a, 0) + f32x4.extract_lane(a, 1) + f32x4.extract_lane(a, 2) + f32x4.extract_lane(a, 3);
}

// exp(x) for x <= 0, to the precision of float32: 2^n times a polynomial on [-ln(2)/2, ln(2)/2].
// @ts-ignore
@inline function exp(x: v128): v128 {
  x = f32x4.max(x, f32x4.splat(-87.0));
  const n = f32x4.nearest(f32x4.mul(x, f32x4.splat(1.44269504)));
  let r = plus(x, n, f32x4.splat(-0.693359375));
  r = plus(r, n, f32x4.splat(2.12194440e-4));
  let p = f32x4.splat(1.9875691500e-4);
  p = plus(f32x4.splat(1.3981999507e-3), p, r);
  p = plus(f32x4.splat(8.3334519073e-3), p, r);
  p = plus(f32x4.splat(4.1665795894e-2), p, r);
  p = plus(f32x4.splat(1.6666665459e-1), p, r);
  p = plus(f32x4.splat(5.0000001201e-1), p, r);
  p = plus(f32x4.add(r, f32x4.splat(1)), p, f32x4.mul(r, r));
  const power = i32x4.shl(i32x4.add(i32x4.trunc_sat_f32x4_s(n), i32x4.splat(127)), 23);
  return f32x4.mul(p, power);
}

/** y = x W + b: x is (rows, nIn), W (nIn, nOut). Pixels blank in four images are passed over. */
export function affine(y: usize, x: usize, w: usize, b: usize, rows: i32, nIn: i32, nOut: i32, scratch: usize): void {
  const xRow = <usize>nIn * F, yRow = <usize>nOut * F;
  for (let row = 0; row < rows; row += 4) {
    const x0 = x + <usize>row * xRow, x1 = x0 + xRow, x2 = x1 + xRow, x3 = x2 + xRow;
    const y0 = y + <usize>row * yRow, y1 = y0 + yRow, y2 = y1 + yRow, y3 = y2 + yRow;
    let end = scratch; // offsets of the inputs that are not all zero
    for (let i: usize = 0; i < xRow; i += F) {
      store<u32>(end, <u32>i);
      const some = load<u32>(x0 + i) | load<u32>(x1 + i) | load<u32>(x2 + i) | load<u32>(x3 + i);
      end += some ? F : 0;
    }
    let j: usize = 0;
    for (; j + 8 * F <= yRow; j += 8 * F) {
      let a0 = v128.load(b + j), b0 = v128.load(b + j, 16);
      let a1 = a0, a2 = a0, a3 = a0, b1 = b0, b2 = b0, b3 = b0;
      for (let at = scratch; at < end; at += F) {
        const i = <usize>load<u32>(at);
        const here = w + i * <usize>nOut + j;
        const u = v128.load(here), v = v128.load(here, 16);
        const p0 = v128.load32_splat(x0 + i), p1 = v128.load32_splat(x1 + i);
        a0 = plus(a0, p0, u); b0 = plus(b0, p0, v);
        a1 = plus(a1, p1, u); b1 = plus(b1, p1, v);
        const p2 = v128.load32_splat(x2 + i), p3 = v128.load32_splat(x3 + i);
        a2 = plus(a2, p2, u); b2 = plus(b2, p2, v);
        a3 = plus(a3, p3, u); b3 = plus(b3, p3, v);
      }
      v128.store(y0 + j, a0); v128.store(y0 + j, b0, 16);
      v128.store(y1 + j, a1); v128.store(y1 + j, b1, 16);
      v128.store(y2 + j, a2); v128.store(y2 + j, b2, 16);
      v128.store(y3 + j, a3); v128.store(y3 + j, b3, 16);
    }
    if (j < yRow) {
      let a0 = v128.load(b + j), a1 = a0, a2 = a0, a3 = a0;
      for (let at = scratch; at < end; at += F) {
        const i = <usize>load<u32>(at);
        const u = v128.load(w + i * <usize>nOut + j);
        a0 = plus(a0, v128.load32_splat(x0 + i), u);
        a1 = plus(a1, v128.load32_splat(x1 + i), u);
        a2 = plus(a2, v128.load32_splat(x2 + i), u);
        a3 = plus(a3, v128.load32_splat(x3 + i), u);
      }
      v128.store(y0 + j, a0); v128.store(y1 + j, a1); v128.store(y2 + j, a2); v128.store(y3 + j, a3);
    }
  }
}

/** Gradient of W, xᵀ gy: x is (rows, nIn), gy (rows, nOut). */
export function gradW(gw: usize, x: usize, gy: usize, rows: i32, nIn: i32, nOut: i32, scratch: usize): void {
  const xRow = <usize>nIn * F, yRow = <usize>nOut * F;
  for (let i: usize = 0; i < xRow; i += 4 * F) {
    let end = scratch; // rows in which the four inputs are not all zero
    for (let row: usize = 0; row < <usize>rows; row++) {
      store<u32>(end, <u32>row);
      end += v128.any_true(v128.load(x + row * xRow + i)) ? F : 0;
    }
    const g0 = gw + i * <usize>nOut, g1 = g0 + yRow, g2 = g1 + yRow, g3 = g2 + yRow;
    let j: usize = 0;
    for (; j + 8 * F <= yRow; j += 8 * F) {
      let a0 = f32x4.splat(0), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
      for (let at = scratch; at < end; at += F) {
        const row = <usize>load<u32>(at);
        const xHere = x + row * xRow + i, here = gy + row * yRow + j;
        const u = v128.load(here), v = v128.load(here, 16);
        const p0 = v128.load32_splat(xHere), p1 = v128.load32_splat(xHere, 4);
        a0 = plus(a0, p0, u); b0 = plus(b0, p0, v);
        a1 = plus(a1, p1, u); b1 = plus(b1, p1, v);
        const p2 = v128.load32_splat(xHere, 8), p3 = v128.load32_splat(xHere, 12);
        a2 = plus(a2, p2, u); b2 = plus(b2, p2, v);
        a3 = plus(a3, p3, u); b3 = plus(b3, p3, v);
      }
      v128.store(g0 + j, a0); v128.store(g0 + j, b0, 16);
      v128.store(g1 + j, a1); v128.store(g1 + j, b1, 16);
      v128.store(g2 + j, a2); v128.store(g2 + j, b2, 16);
      v128.store(g3 + j, a3); v128.store(g3 + j, b3, 16);
    }
    if (j < yRow) {
      let a0 = f32x4.splat(0), a1 = a0, a2 = a0, a3 = a0;
      for (let at = scratch; at < end; at += F) {
        const row = <usize>load<u32>(at);
        const xHere = x + row * xRow + i, u = v128.load(gy + row * yRow + j);
        a0 = plus(a0, v128.load32_splat(xHere), u);
        a1 = plus(a1, v128.load32_splat(xHere, 4), u);
        a2 = plus(a2, v128.load32_splat(xHere, 8), u);
        a3 = plus(a3, v128.load32_splat(xHere, 12), u);
      }
      v128.store(g0 + j, a0); v128.store(g1 + j, a1); v128.store(g2 + j, a2); v128.store(g3 + j, a3);
    }
  }
}

/** Gradient of b, the sum of gy (rows, nOut) over its rows. */
export function gradB(gb: usize, gy: usize, rows: i32, nOut: i32): void {
  const yRow = <usize>nOut * F;
  for (let j: usize = 0; j < yRow; j += 4 * F) {
    let sum = f32x4.splat(0);
    for (let row: usize = 0; row < <usize>rows; row++) sum = f32x4.add(sum, v128.load(gy + row * yRow + j));
    v128.store(gb + j, sum);
  }
}

/** Gradient of x, gy Wᵀ: gy is (rows, nOut), W (nIn, nOut). */
export function gradX(gx: usize, gy: usize, w: usize, rows: i32, nIn: i32, nOut: i32): void {
  const xRow = <usize>nIn * F, yRow = <usize>nOut * F;
  for (let row = 0; row < rows; row += 4) {
    const y0 = gy + <usize>row * yRow, y1 = y0 + yRow, y2 = y1 + yRow, y3 = y2 + yRow;
    for (let i: usize = 0; i < xRow; i += 2 * F) {
      const w0 = w + i * <usize>nOut, w1 = w0 + yRow;
      let a0 = f32x4.splat(0), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
      for (let j: usize = 0; j < yRow; j += 4 * F) {
        const u = v128.load(w0 + j), v = v128.load(w1 + j);
        const p0 = v128.load(y0 + j), p1 = v128.load(y1 + j);
        a0 = plus(a0, p0, u); b0 = plus(b0, p0, v);
        a1 = plus(a1, p1, u); b1 = plus(b1, p1, v);
        const p2 = v128.load(y2 + j), p3 = v128.load(y3 + j);
        a2 = plus(a2, p2, u); b2 = plus(b2, p2, v);
        a3 = plus(a3, p3, u); b3 = plus(b3, p3, v);
      }
      const x0 = gx + <usize>row * xRow + i, x1 = x0 + xRow, x2 = x1 + xRow, x3 = x2 + xRow;
      store<f32>(x0, total(a0)); store<f32>(x0, total(b0), 4);
      store<f32>(x1, total(a1)); store<f32>(x1, total(b1), 4);
      store<f32>(x2, total(a2)); store<f32>(x2, total(b2), 4);
      store<f32>(x3, total(a3)); store<f32>(x3, total(b3), 4);
    }
  }
}

/** tanh of `n` numbers, in place: with t = exp(-2|a|), it is (1 - t) / (1 + t) with the sign of a. */
export function tanh(a: usize, n: i32): void {
  const one = f32x4.splat(1), sign = f32x4.splat(-0.0), end = a + <usize>n * F;
  for (; a < end; a += 4 * F) {
    const x = v128.load(a);
    const t = exp(f32x4.mul(f32x4.abs(x), f32x4.splat(-2)));
    const y = f32x4.div(f32x4.sub(one, t), f32x4.add(one, t));
    v128.store(a, v128.or(y, v128.and(x, sign)));
  }
}

/** From the gradient of h = tanh(a) to that of a, in place, of `n` numbers. */
export function gradTanh(g: usize, h: usize, n: i32): void {
  const one = f32x4.splat(1), end = g + <usize>n * F;
  for (; g < end; g += 4 * F, h += 4 * F) {
    const y = v128.load(h);
    v128.store(g, f32x4.mul(v128.load(g), f32x4.sub(one, f32x4.mul(y, y))));
  }
}

/**
 * Bernoulli pixels with the given logits, (rows, n): the sum of log p(x|z). The logits become its
 * gradient times `scale`, or the means where `scale` is 0.
 *
 * With t = exp(-|l|), log p = x l - max(l, 0) - log(1 + t). The logarithm is of the product over up
 * to 96 pixels, which is below 2^96.
 */
export function bernoulli(l: usize, x: usize, rows: i32, n: i32, scale: f32): f64 {
  const one = f32x4.splat(1), zero = f32x4.splat(0), scales = f32x4.splat(scale);
  const rowBytes = <usize>n * F;
  let sum: f64 = 0;
  for (let row = 0; row < rows; row++) {
    let linear = zero, start: usize = 0;
    while (start < rowBytes) {
      const end = min(start + 96 * 4 * F, rowBytes);
      let product = one;
      for (let j = start; j < end; j += 4 * F) {
        const logit = v128.load(l + j), pixel = v128.load(x + j);
        const t = exp(f32x4.neg(f32x4.abs(logit)));
        const more = f32x4.add(one, t), positive = f32x4.ge(logit, zero);
        linear = f32x4.add(linear, f32x4.sub(f32x4.mul(pixel, logit), f32x4.max(logit, zero)));
        product = f32x4.mul(product, more);
        const mean = f32x4.div(v128.bitselect(one, t, positive), more);
        v128.store(l + j, scale == 0 ? mean : f32x4.mul(scales, f32x4.sub(pixel, mean)));
      }
      sum -= log(f32x4.extract_lane(product, 0)) + log(f32x4.extract_lane(product, 1));
      sum -= log(f32x4.extract_lane(product, 2)) + log(f32x4.extract_lane(product, 3));
      start = end;
    }
    sum += total(linear);
    l += rowBytes;
    x += rowBytes;
  }
  return sum;
}

/** Adagrad on `n` parameters p with gradients g and sums of squares s; a prior pulls p to zero. */
export function adagrad(p: usize, g: usize, s: usize, n: i32, stepSize: f32, decay: f32): void {
  const step = f32x4.splat(stepSize), pull = f32x4.splat(-decay), end = p + <usize>n * F;
  for (; p < end; p += 4 * F, g += 4 * F, s += 4 * F) {
    const now = v128.load(p), gradient = plus(v128.load(g), pull, now);
    const squares = plus(v128.load(s), gradient, gradient);
    v128.store(s, squares);
    v128.store(p, f32x4.add(now, f32x4.div(f32x4.mul(step, gradient), f32x4.sqrt(squares))));
  }
}
