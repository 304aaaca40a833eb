"""One decision tree: grown and read by the compiled code of scikit-learn, without the checks of its estimators.

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
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from sklearn.tree._criterion import MSE, Gini
from sklearn.tree._splitter import BestSplitter
from sklearn.tree._tree import DepthFirstTreeBuilder, Tree

from driftgauge.models.arrays import Float32s, Float64s

Grown: TypeAlias = Any  # an object of ``sklearn.tree._tree``, which has no types

_ANY_DEPTH = np.iinfo(np.int32).max


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
