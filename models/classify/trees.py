"""Decision trees: grown and read by the compiled code of scikit-learn, without the checks of its estimators.

The only place that uses scikit-learn below its estimators. The trees are those of `DecisionTreeRegressor` and
`DecisionTreeClassifier`, to the bit; what is left out checks each input of each tree again, which for small samples
costs more than the tree. A fit of 60 trees took (CPU ms, shortest of three; this module / `DecisionTreeRegressor.fit`,
scikit-learn 1.9.1, 17 features):

================== =========== ========== ============ ============
fit                60 rows     450 rows   1,000 rows   4,000 rows
================== =========== ========== ============ ============
no NaN             4 / 15      30 / 43    49 / 61      59 / 72
5 % NaN                        34 / 63    54 / 85      68 / 109
================== =========== ========== ============ ============

A call costs 2 us however few rows it has, so a forest reads few rows from all its trees in one call. A prediction by 60
trees took (us, all trees in one call / one call each): 6 / 130 for a row, 19 / 150 for 10, 100 / 165 for 60.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from sklearn.tree._criterion import MSE, Gini
from sklearn.tree._splitter import BestSplitter
from sklearn.tree._tree import DepthFirstTreeBuilder, Tree

from driftgauge.models.arrays import Float32s, Float64s

Grown: TypeAlias = Any  # an object of ``sklearn.tree._tree``, which has no types

_ANY_DEPTH = np.iinfo(np.int32).max
_FEW_ROWS = 64


def regression_tree(
    rows: Float32s, values: Float64s, weight: Float64s, draw: np.random.RandomState, *, min_leaf_rows: int
) -> Grown:
    """Grow a tree that splits by variance.

    Parameters
    ----------
    rows, values, weight : (n, d) finite or NaN, (n,), (n,) not negative; a leaf counts rows of weight 0 as none
    draw : gives the seed of the tree
    """
    classes = np.ones(1, dtype=np.intp)
    return _grown(rows, values, weight, draw, MSE(1, len(rows)), classes, min_leaf_rows)


def classification_tree(rows: Float32s, is_right: Float64s, seed: int) -> Grown:
    """Grow a tree with pure leaves that splits by the Gini criterion.

    Parameters
    ----------
    rows, is_right : (n, d) finite or NaN, (n,) 0 or 1, both of which occur
    """
    classes = np.full(1, 2, dtype=np.intp)
    return _grown(rows, is_right, None, np.random.RandomState(seed), Gini(1, classes), classes, 1)


def read(tree: Grown, rows: Float32s) -> Float64s:
    """(n,) the value of a regression tree, or P(1) of a classification tree.

    >>> x = np.linspace(0, 1, 40, dtype=np.float32)[:, None]
    >>> read(classification_tree(x, (x[:, 0] > 0.5).astype(float), seed=0), x[[0, 39]]).tolist()
    [0.0, 1.0]
    """
    found: Float64s = tree.predict(rows)[:, -1]
    return found


class Forest:
    """Trees that are read together.

    Parameters
    ----------
    trees : at least one; all read the same number of columns

    Examples
    --------
    >>> x = np.linspace(0, 1, 40, dtype=np.float32)[:, None]
    >>> forest = Forest([classification_tree(x, (x[:, 0] > 0.5).astype(float), seed) for seed in range(3)])
    >>> forest.mean(x[[0, 39]]).tolist()
    [0.0, 1.0]
    """

    def __init__(self, trees: Sequence[Grown]) -> None:
        self._trees = trees

    def mean(self, rows: Float32s) -> Float64s:
        """(n,) the mean of the values of all trees; that of a row does not depend on the other rows, to the bit."""
        if len(rows) <= _FEW_ROWS:
            return self._mean_of_few(rows)
        total = np.zeros(len(rows))
        for tree in self._trees:
            total += read(tree, rows)
        return total / len(self._trees)

    def _mean_of_few(self, rows: Float32s) -> Float64s:
        n, (n_rows, n_columns) = len(self._trees), rows.shape
        numbered = np.empty((n, n_rows, n_columns + 1), dtype=np.float32)
        numbered[:, :, :n_columns] = rows
        numbered[:, :, n_columns] = np.arange(n)[:, None]
        values = read(self._joined, numbered.reshape(-1, n_columns + 1)).reshape(n, n_rows)
        total: Float64s = np.add.accumulate(values)[-1]  # one after the other, as above; `sum` may go in pairs
        return total / n

    @cached_property
    def _joined(self) -> Grown:
        """One tree that holds all: it first asks for the number of the tree, in a column behind the others."""
        states = [tree.__getstate__() for tree in self._trees]
        inner, n_columns = _splits(len(states)), self._trees[0].n_features
        starts = np.cumsum([len(inner), *(state["node_count"] for state in states)])
        nodes: Any = np.zeros(starts[-1], dtype=states[0]["nodes"].dtype)  # a table with named columns
        values = np.zeros((starts[-1], *states[0]["values"].shape[1:]))
        for at, (left, right, threshold) in enumerate(inner):
            nodes[at]["feature"], nodes[at]["threshold"] = n_columns, threshold
            nodes[at]["left_child"], nodes[at]["right_child"] = (
                node if node >= 0 else starts[~node] for node in (left, right)
            )
        for start, state in zip(starts, states, strict=False):
            part = nodes[start : start + state["node_count"]]
            part[:] = state["nodes"]
            has_children = part["left_child"] >= 0
            part["left_child"][has_children] += start
            part["right_child"][has_children] += start
            values[start : start + len(part)] = state["values"]
        joined = Tree(n_columns + 1, self._trees[0].n_classes, 1)
        joined.__setstate__({"max_depth": 0, "node_count": len(nodes), "nodes": nodes, "values": values})
        return joined


def _splits(n: int) -> list[tuple[int, int, float]]:
    """Inner nodes of a balanced tree over the numbers below ``n``: left and right child, and what goes to the left.

    The child ``~i`` is the number i.

    >>> _splits(3)
    [(-1, 1, 0.5), (-2, -3, 1.5)]
    """
    found: list[tuple[int, int, float]] = []

    def split(start: int, stop: int) -> int:
        if stop - start == 1:
            return ~start
        at, middle = len(found), (start + stop) // 2
        found.append((0, 0, 0.0))
        found[at] = split(start, middle), split(middle, stop), middle - 0.5
        return at

    split(0, n)
    return found


def _grown(
    rows: Float32s, values: Float64s, weight: Float64s | None, draw: np.random.RandomState, criterion: Any,
    classes: Any, min_leaf_rows: int,
) -> Grown:  # fmt: skip
    """What ``fit`` of an estimator with ``max_features="sqrt"`` does once its input is checked."""
    n_columns = rows.shape[1]
    missing = np.isnan(rows).any(axis=0)
    splitter = BestSplitter(criterion, max(1, int(np.sqrt(n_columns))), min_leaf_rows, 0.0, draw, None)
    tree = Tree(n_columns, classes, 1)
    builder = DepthFirstTreeBuilder(splitter, 2 * min_leaf_rows, min_leaf_rows, 0.0, _ANY_DEPTH, 0.0)
    column = np.ascontiguousarray(values, dtype=np.float64)[:, None]
    builder.build(tree, rows, column, weight, missing.astype(np.uint8) if missing.any() else None)
    return tree
