"""Which answers count as right."""

from __future__ import annotations

import pytest

from driftgauge.agent.labelling.checks import Check, by_function, exact, numeric, regex


@pytest.mark.parametrize(
    ("check", "text", "value"),
    [
        (exact("Paris"), "Paris", 1.0),
        (exact("Paris"), "\n Paris \n", 1.0),
        (exact("Paris"), "paris", 0.0),
        (exact("Paris"), "Paris.", 0.0),
        (regex("^Paris"), "Paris, of course", 1.0),
        (regex("^Paris"), "It is Paris", 0.0),
        (numeric(42), "17 + 25 = 42.", 1.0),
        (numeric(42), "42 is 17 + 25", 0.0),
        (numeric(1234), "It is 1,234", 1.0),
        (numeric(1234567.5), "1,234,567.5 exactly", 1.0),
        (numeric(-3), "x = -3", 1.0),
        (numeric(-3), "x = \u22123", 1.0),
        (numeric(3), "10-3", 1.0),
        (numeric(0.3), "0.1 + 0.2 = 0.30000000000000004", 1.0),
        (numeric(3.14, 0.01), "pi is about 3.1416", 1.0),
        (numeric(3.14), "pi is about 3.1416", 0.0),
        (numeric(0.5), "a half, .5", 1.0),
        (numeric(6.022e23, 1e20), "6.022e23", 1.0),
        (numeric(5), "none", 0.0),
        (numeric(5), "", 0.0),
        (by_function(lambda text: text == "yes"), "yes", 1.0),
        (by_function(lambda _: 0.25), "yes", 0.25),
    ],
)
def test_a_check_tells_right_from_wrong(check: Check, text: str, value: float) -> None:
    assert check(text) == value


@pytest.mark.parametrize("returned", [None, "yes", 2, -0.1, float("nan")])
def test_a_function_that_returns_no_truth_is_an_error(returned: object) -> None:
    with pytest.raises(ValueError, match="neither a truth value nor a number"):
        by_function(lambda _: returned)("text")
