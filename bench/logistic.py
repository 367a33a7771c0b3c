"""Multinomial logistic regression on standardised numbers, by Newton's method; small enough to need no library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A fitted model: `(x - mean) / scale @ weights + bias`, then softmax over the classes."""

    mean: Array
    scale: Array
    # [numbers, classes]
    weights: Array
    bias: Array

    def probabilities(self, x: Array) -> Array:
        """[rows, classes], each row adding up to 1."""
        sums = (x - self.mean) / self.scale @ self.weights + self.bias
        raised = np.exp(sums - sums.max(axis=1, keepdims=True))
        return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def fit(x: Array, y: Array, weight: Array, penalty: float, steps: int = 60) -> Fitted:
    """Fit to rows `x`, class shares `y` [rows, classes], a weight for each row, and an L2 penalty per row."""
    mean, scale = x.mean(axis=0), x.std(axis=0)
    scale[scale == 0] = 1.0
    z = np.hstack([(x - mean) / scale, np.ones((len(x), 1))])
    weight = weight / weight.mean()
    classes, width = y.shape[1], z.shape[1]
    theta = np.zeros((width, classes))
    ridge = np.full((width, classes), penalty * len(x))
    ridge[-1] = 1e-6  # the start of a sum is free
    for _ in range(steps):
        sums = z @ theta
        p = np.exp(sums - sums.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        gradient = z.T @ (weight[:, None] * (p - y)) + ridge * theta
        hessian = np.zeros((classes * width, classes * width))
        for a in range(classes):
            for b in range(classes):
                w = weight * p[:, a] * ((a == b) - p[:, b])
                block = (z * w[:, None]).T @ z
                hessian[a * width : (a + 1) * width, b * width : (b + 1) * width] = block
        hessian += np.diag(ridge.T.ravel() + 1e-4)
        step = np.linalg.solve(hessian, gradient.T.ravel()).reshape(classes, width).T
        theta -= step
        if np.abs(step).max() < 1e-6:
            break
    return Fitted(mean, scale, theta[:-1], theta[-1])


def fit_meant(x: Array, y: Array, weight: Array, penalty: float, meant: Sequence[int]) -> Fitted:
    """As `fit`, but no number may weigh against its meaning, as it may where it tells only how a set was made.

    `meant` says for each whether it speaks for the first class (1), against it (-1) or either way (0); one that
    does not keep to it gets no weight.
    """
    kept = list(range(x.shape[1]))
    while True:
        fitted = fit(x[:, kept], y, weight, penalty)
        lean = fitted.weights[:, 0] - fitted.weights[:, 1:].mean(axis=1)
        wrong = {n for n, value in zip(kept, lean, strict=True) if value * meant[n] < 0}
        if not wrong:
            break
        kept = [n for n in kept if n not in wrong]
    mean, scale, weights = np.zeros(x.shape[1]), np.ones(x.shape[1]), np.zeros((x.shape[1], y.shape[1]))
    mean[kept], scale[kept], weights[kept] = fitted.mean, fitted.scale, fitted.weights
    return Fitted(mean, scale, weights, fitted.bias)
