"""Sums of products of thin matrices, and the best product of a given rank that comes near one.

A sum of products B_1 A_1 + B_2 A_2 + ... is kept as two stacks, left (outputs, k) and right (k, inputs), whose product
it is: nothing as large as a layer's weight is formed while k is below both of its sides. Pure, float64 inside and
deterministic on one machine: singular vectors have a fixed sign. It knows neither adapters nor who contributed.

>>> left, right = np.array([[3.0, 0.0], [0.0, 1.0]]), np.array([[1.0, 0.0], [0.0, 1.0]])
>>> best = balanced(left, right, 1)
>>> (best.left @ best.right).round(6).tolist(), best.tail_l2
([[3.0, 0.0], [0.0, 0.0]], 1.0)
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcore.adapter import FloatArray
from fedcore.errors import ConfigError

__all__ = ["Balanced", "Double", "balanced"]

Double = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Balanced:
    """Two factors that share each singular value evenly: left = U sqrt(S), right = sqrt(S) V'.

    Args:
        left: Shape (outputs, rank), float32; columns by falling singular value.
        right: Shape (rank, inputs), float32.
        live: How many slots carry a singular value above zero; what follows in `left` is zero.
        tail_l2: Frobenius norm of what was cut off: 0 where the product has no higher rank.
    """

    left: FloatArray
    right: FloatArray
    live: int
    tail_l2: float


def balanced(
    left: npt.NDArray[Any],
    right: npt.NDArray[Any],
    rank: int,
    *,
    spare: npt.NDArray[Any] | None = None,
    near: tuple[npt.NDArray[Any], npt.NDArray[Any]] | None = None,
) -> Balanced:
    """The balanced factors of left @ right, cut off at a rank.

    Guarantee: no product of that rank is nearer to left @ right in Frobenius norm (Eckart-Young), whatever `spare` and
    `near` are. Where singular values are equal at the cut, which of them stay is not said.

    Args:
        left: Shape (outputs, k).
        right: Shape (k, inputs).
        rank: Of the factors, >= 1.
        spare: Shape (rank, inputs): its row i stands in the slot i of `right` where that slot carries nothing, since a
            slot with zeros in both factors has no gradient and would never learn again. None leaves zeros.
        near: Factors of these shapes. Those that are returned are turned by the rotation that brings both nearest to
            them (orthogonal Procrustes), and are in no order then.
    Raises:
        ConfigError: The shapes do not fit, the rank is below 1, or a number is not finite.
    Reference: Eckart & Young 1936; Schoenemann 1966 (Procrustes).
    """
    left, right = _stacks(left, right)
    if type(rank) is not int or rank < 1:
        raise ConfigError("a rank is out of range", expected="at least 1", got=repr(rank))
    u, values, v = _svd(left, right)
    kept = min(rank, int(np.count_nonzero(values > _negligible(left, right, values))))
    tail_l2 = float(np.sqrt(np.square(values[min(rank, len(values)) :]).sum()))
    roots = np.sqrt(values[:kept])
    b, a = np.zeros((left.shape[0], rank)), np.zeros((rank, right.shape[1]))
    b[:, :kept], a[:kept] = u[:, :kept] * roots, roots[:, None] * v[:kept]
    if spare is not None:
        a[kept:] = spare[kept:]
    if near is not None:
        turn = _rotation(b.T @ near[0].astype(np.float64) + a @ near[1].astype(np.float64).T)
        b, a = b @ turn, turn.T @ a
    return Balanced(left=b.astype(np.float32), right=a.astype(np.float32), live=kept, tail_l2=tail_l2)


def _stacks(left: npt.NDArray[Any], right: npt.NDArray[Any]) -> tuple[Double, Double]:
    """Both in float64, when they can be multiplied."""
    if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[0]:
        raise ConfigError("two stacks do not fit each other", got=f"{left.shape} and {right.shape}")
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        raise ConfigError("a stack of factors holds NaN or infinity")
    return left.astype(np.float64), right.astype(np.float64)


def _svd(left: Double, right: Double) -> tuple[Double, Double, Double]:
    """The singular value decomposition of left @ right, by way of a k x k core where k is below both sides."""
    if left.shape[1] >= min(left.shape[0], right.shape[1]):
        u, values, v = np.linalg.svd(left @ right, full_matrices=False)
    else:
        q_left, r_left = np.linalg.qr(left)
        q_right, r_right = np.linalg.qr(right.T)
        u, values, v = np.linalg.svd(r_left @ r_right.T)
        u, v = q_left @ u, v @ q_right.T
    # An SVD leaves the sign of each pair open: the largest entry of each left vector is made positive.
    signs = np.sign(u[np.abs(u).argmax(axis=0), np.arange(u.shape[1])])
    return u * signs, values, signs[:, None] * v


def _negligible(left: Double, right: Double, values: Double) -> float:
    """Below this a singular value is rounding, as numpy's `matrix_rank` has it."""
    longest: int = max(left.shape[0], right.shape[1])
    return float(values.max(initial=0.0)) * longest * math.ulp(1.0)


def _rotation(overlap: Double) -> Double:
    """The orthogonal R, shape (rank, rank), that makes trace(R' overlap) largest."""
    x, _, y = np.linalg.svd(overlap)
    rotation: Double = x @ y
    return rotation
