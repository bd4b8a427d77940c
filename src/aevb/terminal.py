"""A run's progress on the terminal, and the signals that stop it."""

import os
import signal
import sys
import time
from contextlib import suppress
from types import FrameType

from tqdm import tqdm

from aevb.training.loop import Stopped, Training
from aevb.training.run import Run

SECONDS_BETWEEN_LINES = 15.0


class Progress:
    """A bar on a terminal; a line now and then if runs share it, or if there is none."""

    def __init__(self, run: Run) -> None:
        self.name = run.name
        self.quantity = run.learner.objective
        shared = "--jobserver" in os.environ.get("MAKEFLAGS", "")
        self.on_terminal = sys.stderr.isatty() and not shared
        self.bar: tqdm | None = None

    def close(self) -> None:
        """End the bar's line, before another is printed."""
        if self.bar is not None:
            self.bar.close()

    def __call__(self, end: int, training: Training) -> None:
        """Show where `training` stands on its way to `end` samples."""
        now = time.monotonic()
        if self.bar is None:
            self.began = self.last_line = now
            self.first = training.samples
            self.bar = tqdm(
                total=end,
                initial=training.samples,
                desc=self.name,
                unit=" samples",
                unit_scale=True,
                dynamic_ncols=True,
                disable=not self.on_terminal,
            )
        bound = f"{self.quantity} {training.running_bound:.1f} nats"
        self.bar.set_postfix_str(bound, refresh=False)
        self.bar.update(training.samples - self.bar.n)
        if self.on_terminal or now - self.last_line < SECONDS_BETWEEN_LINES:
            return
        self.last_line = now
        speed = (training.samples - self.first) / (now - self.began)
        left = tqdm.format_interval((end - training.samples) / speed)
        print(
            f"{self.name}: {training.samples:,} of {end:,} samples, {bound}, "
            f"{speed:,.0f} samples/s, {left} left",
            flush=True,
        )


class StopOnSignal:
    """Turns an interrupt, a termination or a closed terminal into a request to stop.

    The first signal is obeyed at the next safe point. A second one ends the process at once, and
    still leaves no file half-written.
    """

    def __init__(self) -> None:
        self.received = False
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            if number := getattr(signal, name, None):  # Windows has no SIGHUP
                signal.signal(number, self._receive)

    def _receive(self, _number: int, _: FrameType | None) -> None:
        if self.received:
            raise Stopped
        self.received = True
        with suppress(OSError):  # of a terminal that is closed
            print("\nstopping; once more stops at once", file=sys.stderr, flush=True)

    def requested(self) -> bool:
        """Whether a signal has come."""
        return self.received
