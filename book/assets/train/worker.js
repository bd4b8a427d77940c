// What runs in the worker of train.js: it trains until it is told to stop, and reports.
"use strict";

// Messages in: {do: "start", settings, images, nTest, end, grid, wasm}, {do: "go"}, {do: "stop"}.
// Messages out: a `point` of the curve at every log point, `progress` several times a second, a
// `picture` about once a second, and `ended`.
function aevbWorker() {
  const STRETCH = 60; // ms of training between two looks at the messages
  const BETWEEN_PICTURES = 1000; // ms
  let learner = null;
  let task = null;
  let going = false;
  let samples = 0;
  let nextPoint = 0;
  let k = 0;
  let [sum, count] = [0, 0]; // of the bounds since the last log point
  let lastPoint = null;
  let lastPicture = 0;

  // The log points of the library: 20 a decade, rounded to whole updates.
  function advanceLogPoint() {
    const M = task.settings.minibatch;
    const before = nextPoint;
    while (nextPoint <= before) nextPoint = Math.max(1, Math.round(10 ** (k++ / 20) / M)) * M;
  }

  function logPoint() {
    const { nTrain } = task.settings;
    if (!lastPoint || learner.moving) {
      lastPoint = {
        train: learner.evaluate(0, nTrain, 2 * samples),
        test: learner.evaluate(nTrain, nTrain + task.nTest, 2 * samples + 1),
      };
    }
    postMessage({ point: { samples, running: sum / count, ...lastPoint } });
    [sum, count] = [0, 0];
    advanceLogPoint();
  }

  function picture() {
    const { nTrain } = task.settings;
    postMessage({ picture: { codes: learner.codes(nTrain, nTrain + task.nTest), images: learner.decode(task.grid) } });
  }

  function work() {
    if (!going) return;
    const start = performance.now();
    const before = samples;
    while (samples < task.end && performance.now() - start < STRETCH) {
      sum += learner.step();
      count += 1;
      samples += task.settings.minibatch;
      if (samples >= nextPoint) logPoint();
    }
    const now = performance.now();
    postMessage({ progress: { samples, running: sum / count, perSecond: (1000 * (samples - before)) / (now - start) } });
    const ended = samples >= task.end;
    if (ended || now - lastPicture > BETWEEN_PICTURES) {
      picture();
      lastPicture = now;
    }
    if (ended) {
      going = false;
      postMessage({ ended: true });
    } else {
      next.port2.postMessage(null); // sooner than a timer
    }
  }
  const next = new MessageChannel();
  next.port1.onmessage = work;

  self.onmessage = ({ data }) => {
    if (data.do === "start") {
      task = data;
      learner = aevbLearner(task.settings, task.images, task.wasm);
      advanceLogPoint();
      postMessage({ ready: { fast: Boolean(learner.fast) } });
    }
    going = data.do !== "stop";
    if (going) work();
  };
}
