// What the pages that compute share: numbers from text, layers of a network, and parts of a page.
(function () {
  "use strict";

  function bytes(base64) {
    return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  }

  function half(bits) {
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    if (exponent === 0) return sign * fraction * 2 ** -24;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }

  const table = Float32Array.from({ length: 65536 }, (_, bits) => half(bits));

  function halves(base64) {
    const raw = bytes(base64);
    const view = new DataView(raw.buffer);
    return Float32Array.from({ length: raw.length / 2 }, (_, i) => table[view.getUint16(2 * i, true)]);
  }

  // x W + b for one row x, W stored row by row.
  function linear(x, layer) {
    const out = layer.bias.slice();
    let k = 0;
    for (let i = 0; i < x.length; i++) {
      const xi = x[i];
      if (xi === 0) k += out.length; // a blank pixel
      else for (let j = 0; j < out.length; j++) out[j] += xi * layer.weight[k++];
    }
    return out;
  }

  function rowsOf(flat, width) {
    return Array.from({ length: flat.length / width }, (_, i) => flat.subarray(i * width, (i + 1) * width));
  }

  function standardNormal() {
    return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
  }

  // ------------------------------------------------------------------------ parts of a page

  const minus = (text) => text.replace("-", "−");
  const fixed = (value, digits) => minus(value.toFixed(digits));

  function element(tag, attributes, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  }

  // Images side by side, `across` in a row. Ink is dark on white for digits; a face is lit.
  function paint(canvas, images, dataset, rows, columns, across = images.length) {
    const [width, height] = [columns * across, rows * Math.ceil(images.length / across)];
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    const picture = context.createImageData(width, height);
    images.forEach((image, k) => {
      const corner = rows * Math.floor(k / across) * width + columns * (k % across);
      for (let i = 0; i < image.length; i++) {
        const at = 4 * (corner + Math.floor(i / columns) * width + (i % columns));
        const grey = 255 * (dataset === "mnist" ? 1 - image[i] : image[i]);
        picture.data.set([grey, grey, grey, 255], at);
      }
    });
    context.putImageData(picture, 0, 0);
  }

  // A square canvas at the screen's resolution, filled with `colour`: its context and its side.
  function blankSquare(canvas, colour) {
    const size = canvas.clientWidth;
    const scale = window.devicePixelRatio || 1;
    canvas.width = canvas.height = Math.round(size * scale);
    const context = canvas.getContext("2d");
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.fillStyle = colour;
    context.fillRect(0, 0, size, size);
    return [context, size];
  }

  // At most once a frame, however often it is asked for.
  function eachFrame(draw) {
    let waiting = false;
    return () => {
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(() => {
        waiting = false;
        draw();
      });
    };
  }

  // Says it once the value has come to rest, so that a screen reader is not flooded.
  function speaker(target, words) {
    let timer = 0;
    return (now) => {
      clearTimeout(timer);
      timer = setTimeout(() => (target.textContent = words()), now ? 0 : 200);
    };
  }

  function choices(fieldset, name, options, chosen, onChange) {
    for (const [value, text] of options) {
      const input = element("input", { type: "radio", name, value });
      input.checked = value === chosen;
      input.addEventListener("change", () => onChange(value));
      fieldset.append(element("label", {}, input, ` ${text}`));
    }
  }

  window.aevbCommon = {
    bytes,
    halves,
    linear,
    rowsOf,
    standardNormal,
    minus,
    fixed,
    element,
    paint,
    blankSquare,
    eachFrame,
    speaker,
    choices,
  };
})();
