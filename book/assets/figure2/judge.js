// A curve of the reader's own, held against the band: the level alone of what `aevb judge` says.
"use strict";

// Reads a CSV with a header. Returns {samples, columns}: the numbers of the column `samples`, and
// those of each other column that holds numbers. Throws with a sentence that says what is wrong.
function aevbReadCsv(text) {
  const rows = text.split(/\r?\n/).filter((row) => row.trim() && !row.startsWith("#")).map((row) => row.split(","));
  const head = (rows.shift() || []).map((name) => name.trim().replace(/^"|"$/g, ""));
  const at = head.findIndex((name) => /^samples$/i.test(name));
  if (at < 0) throw new Error(`its columns are ${head.join(", ") || "none"}: expected one called samples`);
  if (!rows.length) throw new Error("it has a header and no rows");
  const column = (k) => rows.map((row) => ((row[k] || "").trim() === "" ? NaN : Number(row[k])));
  const samples = column(at);
  const wrong = samples.findIndex((x, k) => !(x >= 0) || (k > 0 && x <= samples[k - 1]));
  if (wrong >= 0) throw new Error(`samples do not rise from zero or more at row ${wrong + 1}: sort, and drop repeats`);
  const columns = {};
  head.forEach((name, k) => {
    const values = column(k);
    if (k !== at && values.some(Number.isFinite)) columns[name] = values;
  });
  if (!Object.keys(columns).length) throw new Error("it has no column of numbers beside samples");
  return { samples, columns };
}

// The value of a line at `x` samples, linear in log10(samples); NaN outside.
function aevbValueAt(samples, values, x) {
  const after = samples.findIndex((s) => s >= x);
  if (after < 0 || x < samples[0]) return NaN;
  if (samples[after] === x || after === 0) return values[after];
  const part = Math.log(x / samples[after - 1]) / Math.log(samples[after] / samples[after - 1]);
  return values[after - 1] + part * (values[after] - values[after - 1]);
}

// Running means over the last `window` samples of values that are means since the point before.
function aevbAveraged(samples, values, window) {
  const ends = [0, ...samples];
  const sums = [0];
  values.forEach((value, k) => sums.push(sums[k] + value * (ends[k + 1] - ends[k])));
  const sumTo = (x) => {
    const k = Math.max(1, ends.findIndex((end) => end >= x));
    return sums[k - 1] + ((sums[k] - sums[k - 1]) * (x - ends[k - 1])) / (ends[k] - ends[k - 1]);
  };
  return samples.map((x, k) => {
    const start = Math.max(0, x - window);
    return (sums[k + 1] - sumTo(start)) / (x - start);
  });
}

// The curve's points that are compared, at most `perDecade` a decade from `first` samples on, each
// with what the band has there; whether it lies inside; and its mean distance from our mean.
function aevbJudge(samples, values, band, { first, per_decade: perDecade, share_inside: share }) {
  let points = samples.map((x, k) => [x, values[k]]).filter(([x, y]) => x > 0 && Number.isFinite(y));
  if (band.window) {
    const averaged = aevbAveraged(points.map(([x]) => x), points.map(([, y]) => y), band.window);
    points = points.map(([x], k) => [x, averaged[k]]);
  }
  const cell = ([x]) => Math.floor(perDecade * Math.log10(x));
  const thinned = points.filter((p, k) => p[0] >= first && (k + 1 === points.length || cell(p) !== cell(points[k + 1])));
  const compared = thinned
    .map(([x, yours]) => {
      const [ours, low, high] = ["ours", "low", "high"].map((key) => aevbValueAt(band.samples, band[key], x));
      return { samples: x, yours, ours, low, high };
    })
    .filter((point) => Number.isFinite(point.ours));
  const within = compared.filter((p) => p.low <= p.yours && p.yours <= p.high).length;
  return {
    line: { samples: points.map(([x]) => x), values: points.map(([, y]) => y) },
    compared,
    within,
    inside: within >= share * compared.length,
    distance: compared.reduce((sum, p) => sum + p.yours - p.ours, 0) / compared.length,
  };
}
