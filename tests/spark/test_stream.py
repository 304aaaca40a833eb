"""Spark in the place of extractors: killed, started again and started over, it changes no result."""

from __future__ import annotations

from functools import partial

import pytest

from tests.same.side_by_side import Way, problems, raw, side_by_side
from tests.spark.local import Spark
from tests.spark.way import through_spark


@pytest.mark.parametrize("n_partitions", [1, 3])
def test_spark_that_is_killed_and_starts_over_changes_nothing(broker: str, spark: Spark, n_partitions: int) -> None:
    ways: dict[str, Way] = {"agent alone": raw, "Spark + agent": partial(through_spark, spark=spark)}
    runs = side_by_side(broker, 5, 600, n_partitions, ways)
    assert problems(runs) == []
    assert runs[1].n_repeated > 0
    assert runs[1].is_ordered_as(runs[0]) or n_partitions > 1
