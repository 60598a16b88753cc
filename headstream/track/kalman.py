"""A constant-velocity Kalman filter for each of a head's centre and size, in the clip's own seconds.

State per quantity: value and its rate. Bar-Shalom et al., "Estimation with Applications to Tracking and Navigation",
section 6.2 (white-noise acceleration). Everything is in units of the head's own size, so one set of constants fits heads
of all sizes. Prediction to a frame's time is what makes the crop lead a moving head instead of trailing it.
"""

from __future__ import annotations

import numpy as np

from headstream.types import Box

_ACCELERATION = 1.4  # box sides / s^1.5: how much speed changes by chance within a second
_SIZE_ACCELERATION = 0.4  # natural log of size / s^1.5
_MEASURED = 0.025  # box sides: jitter of the detector on a still face
_SIZE_MEASURED = 0.03
# How far ahead movement is taken on, and how much growth (natural log) at once: over a hole in a film, or where a camera was
# away, there would be no end to either.
_LONGEST_S = 1.0
_MOST_GROWTH = 0.4


class Quantity:
    """One quantity: x = (value, rate), p = its covariance."""

    def __init__(self, value: float, sigma: float) -> None:
        self.value, self.rate = value, 0.0
        self._p = np.array([[sigma**2, 0.0], [0.0, (20 * sigma) ** 2]])  # may move right away

    def predict(self, dt: float, acceleration: float, most: float = np.inf) -> None:
        """Move on by ``dt`` seconds; the value by ``most`` at most."""
        f = np.array([[1.0, dt], [0.0, 1.0]])
        q = acceleration**2 * np.array([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]])
        step = self.rate * min(dt, _LONGEST_S)
        self.value += min(max(step, -most), most)
        self._p = f @ self._p @ f.T + q

    def correct(self, measured: float, sigma: float) -> None:
        gain = self._p[:, 0] / (self._p[0, 0] + sigma**2)
        error = measured - self.value
        self.value += gain[0] * error
        self.rate += gain[1] * error
        self._p = self._p - np.outer(gain, self._p[0])


class BoxFilter:
    """Smoothed face box that can be asked for at any later time."""

    def __init__(self, box: Box, time_s: float) -> None:
        cx, cy, side = _parts(box)
        self._side0 = side
        self._x = Quantity(cx / side, _MEASURED)
        self._y = Quantity(cy / side, _MEASURED)
        self._size = Quantity(0.0, _SIZE_MEASURED)
        self.time_s = time_s

    def predict(self, time_s: float) -> Box:
        """Move the state to ``time_s`` and return the box there."""
        dt = time_s - self.time_s
        if dt > 0:
            grown = float(np.exp(self._size.value))
            self._x.predict(dt, _ACCELERATION * grown)
            self._y.predict(dt, _ACCELERATION * grown)
            self._size.predict(dt, _SIZE_ACCELERATION, _MOST_GROWTH)
            self.time_s = time_s
        return self.box

    def correct(self, box: Box, doubt: float = 1.0) -> Box:
        """Take in a measured box of the present time; ``doubt`` widens the detector's noise."""
        cx, cy, side = _parts(box)
        grown = float(np.exp(self._size.value))
        self._x.correct(cx / self._side0, _MEASURED * grown * doubt)
        self._y.correct(cy / self._side0, _MEASURED * grown * doubt)
        self._size.correct(float(np.log(side / self._side0)), _SIZE_MEASURED * doubt)
        return self.box

    def slow_down(self) -> None:
        """Half of all movement is forgotten: a head that is not seen is not extrapolated for long."""
        for part in (self._x, self._y, self._size):
            part.rate *= 0.5

    @property
    def box(self) -> Box:
        """The box at the state's time, square."""
        half = self._side0 * float(np.exp(self._size.value)) / 2
        cx, cy = self._x.value * self._side0, self._y.value * self._side0
        return float(cx - half), float(cy - half), float(cx + half), float(cy + half)

    @property
    def speed(self) -> float:
        """Box sides a second."""
        return float(np.hypot(self._x.rate, self._y.rate) / np.exp(self._size.value))


def _parts(box: Box) -> tuple[float, float, float]:
    x0, y0, x1, y1 = box
    return (x0 + x1) / 2, (y0 + y1) / 2, max(x1 - x0, y1 - y0, 1.0)
