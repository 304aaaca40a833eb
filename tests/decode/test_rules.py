"""Each rule of the normaliser, as a test named after it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from driftgauge.connectors.decoding.formats.payload import PayloadError, tokens_of
from driftgauge.connectors.decoding.rules import apply_rules, floats, raw_signal
from driftgauge.models.events import Context, Signal
from driftgauge.models.signals.context_guard import is_uninformative
from driftgauge.models.signals.entropy import alternative_sums, entropy_profile, tail_mass
from driftgauge.models.signals.feature_sets import DEFAULT_SPEC
from driftgauge.models.signals.features import extract
from driftgauge.models.signals.signal_counts import count
from tests.decode.chat import OTHER, USUAL, body, entry, events, generation, signal

LOWEST = -3.4028234663852886e38


def top(found: Signal) -> list[list[float]]:
    assert found.top_logprobs is not None
    return [[round(x, 4) for x in row if not math.isnan(x)] for row in found.top_logprobs.tolist()]


def chosen(found: Signal) -> list[float]:
    assert found.chosen_logprobs is not None
    return [round(x, 4) for x in found.chosen_logprobs.tolist()]


def test_minus_9999_beside_real_alternatives_is_censored_at_the_smallest_of_them() -> None:
    found = signal(entry("x", -9999.0, USUAL), entry("a", -0.5, USUAL))
    assert chosen(found) == [-2.5, -0.5]
    assert found.n_censored == 1
    assert found.problems["censored_logprob"] == 1
    assert count(found).mean_logprob == -0.5
    assert np.isfinite(entropy_profile(found.top_logprobs)).all()  # type: ignore[arg-type]


def test_minus_9999_without_alternatives_is_missing() -> None:
    found = signal(entry("x", -9999.0), entry("a", -0.5, USUAL))
    assert math.isnan(chosen(found)[0])
    assert found.n_censored == 0
    assert found.problems == {"sentinel_logprob": 1}


def test_minus_9999_beside_fillers_alone_is_missing() -> None:
    found = signal(entry("x", -9999.0, [("x", -9999.0), ("y", -9999.0)]))
    assert found.problems == {"sentinel_logprob": 1, "filler_alternative": 2}


@pytest.mark.parametrize(
    ("value", "why"),
    [(None, "null_logprob"), (LOWEST, "minus_infinity"), ("-Infinity", "minus_infinity"), ("NaN", "null_logprob"),
     (0.7, "positive_logprob")],
)  # fmt: skip
def test_a_value_that_no_logprob_can_have_is_missing_and_counted_by_kind(value: float, why: str) -> None:
    found = signal(entry("a", value, USUAL), entry("a", -0.6, OTHER))
    assert found.problems == {why: 1}
    assert math.isnan(chosen(found)[0])
    assert found.n_censored == 0
    assert count(found).n_missing == 1


def test_a_logprob_rounded_to_slightly_above_zero_is_a_certain_token() -> None:
    assert chosen(signal(entry("a", 1e-6, [("a", 1e-6)]))) == [0.0]


def test_a_nan_in_memory_is_missing() -> None:
    found = apply_rules(raw_signal(tokens_of([(math.nan, "a", [(math.nan, "a"), (-1.0, "b")])])))
    assert found.problems == {"null_logprob": 1, "null_alternative": 1}


def test_fillers_among_alternatives_are_dropped() -> None:
    found = signal(entry("a", -0.5, [("a", -0.5), ("b", -9999.0), ("c", None)]))
    assert top(found) == [[-0.5]]
    assert found.problems == {"filler_alternative": 1, "null_alternative": 1}


def test_positive_alternatives_make_the_whole_position_missing() -> None:
    found = signal(entry("a", -0.1, [("a", 0.9), ("b", 0.0005)]), entry("a", -0.5, USUAL))
    assert top(found)[0] == []
    assert found.problems == {"positive_alternative": 1, "positive_logprob": 1}


def test_a_logprob_of_zero_that_the_alternatives_contradict_is_a_filler() -> None:
    found = signal(entry("", 0.0, USUAL), entry("a", -0.6, OTHER))
    assert math.isnan(chosen(found)[0])
    assert found.problems == {"filler_logprob": 1}


def test_a_logprob_of_zero_that_is_among_the_alternatives_is_a_certain_token() -> None:
    found = signal(entry("", 0.0, [("", 0.0), ("b", -20.0)]))
    assert chosen(found) == [0.0]
    assert found.problems == {}


def test_alternatives_in_any_order_are_sorted() -> None:
    assert top(signal(entry("b", -1.5, [("b", -1.5), ("a", -0.5), ("c", -2.5)]))) == [[-0.5, -1.5, -2.5]]


def test_an_alternative_more_than_usual_is_kept() -> None:
    found = signal(entry("x", -7.0, [("x", -7.0), *USUAL]), entry("a", -0.5, USUAL))
    assert [len(row) for row in top(found)] == [4, 3]
    assert count(found).k == (3, 4)


def test_a_chosen_token_outside_the_alternatives_is_not_added_to_the_true_top_k() -> None:
    assert top(signal(entry("x", -7.0, USUAL))) == [[-0.5, -1.5, -2.5]]


def test_a_chosen_token_that_a_server_leaves_out_is_added() -> None:
    found = signal(entry("a", -0.5, USUAL[1:]), entry("b", -1.5, [USUAL[0], USUAL[2]]))
    assert top(found) == [[-0.5, -1.5, -2.5]] * 2
    assert found.problems == {"chosen_not_listed": 2}


def test_a_chosen_token_of_another_distribution_is_not_added() -> None:
    found = signal(entry("x", -0.1, USUAL))
    assert top(found) == [[-0.5, -1.5, -2.5]]
    assert "chosen_not_listed" not in found.problems


def test_alternatives_without_ids_are_identified_by_text_and_value() -> None:
    found = signal(
        entry("a", -0.7, [("a", -0.7), ("a", -0.7), ("b", -1.5)]), entry("b", -1.2, [("a", -1.2), ("b", -1.2)])
    )
    assert top(found) == [[-0.7, -1.5], [-1.2, -1.2]]
    assert found.problems["duplicate_alternative"] == 1


def test_alternatives_with_ids_are_identified_by_id() -> None:
    same = [{"token": "a", "id": 7, "logprob": -0.7}, {"token": "a", "id": 7, "logprob": -0.8}]
    other = [{"token": "a", "id": 7, "logprob": -1.2}, {"token": "a", "id": 8, "logprob": -1.2}]
    found = signal(entry("a", -0.7, id=7) | {"top_logprobs": same}, entry("a", -1.2, id=7) | {"top_logprobs": other})
    assert top(found) == [[-0.7], [-1.2, -1.2]]


def test_ids_written_as_text_count_as_ids() -> None:
    found = signal(entry("token_id:5", -0.7, [("token_id:5", -0.7), ("token_id:5", -0.71)]))
    assert top(found) == [[-0.7]]


def test_equal_values_of_partial_characters_are_not_merged() -> None:
    found = signal(entry("\ufffd", -1.2, [("\ufffd", -1.2), ("\ufffd", -1.2)]))
    assert top(found) == [[-1.2, -1.2]]


def test_fewer_distinct_alternatives_than_usual_are_counted() -> None:
    found = signal(*[entry("a", -0.5, USUAL)] * 3, entry("a", -0.6, [("a", -0.6), ("b", -1.4)]))
    assert found.problems["topk_short"] == 1


def test_copied_alternatives_of_neighbours_are_counted() -> None:
    found = signal(entry("a", -0.5, USUAL), entry("x", -3.5, USUAL), entry("a", -0.6, [("a", -0.6), ("b", -2.0)]))
    assert found.problems["copied_topk"] == 1


def test_certain_tokens_in_a_row_are_not_copies() -> None:
    certain = entry("a", 0.0, [("a", 0.0), ("b", -9999.0)])
    assert "copied_topk" not in signal(certain, certain).problems


def test_mass_above_one_is_counted_and_left_out_of_the_entropy() -> None:
    found = signal(entry("a", -0.1, [("a", -0.1), ("b", -0.2)]), entry("a", -0.5, USUAL))
    assert found.problems == {"mass_gt_one": 1}
    assert np.isnan(entropy_profile(found.top_logprobs)).tolist() == [True, False]  # type: ignore[arg-type]
    assert chosen(found) == [-0.1, -0.5]


def test_small_mass_is_kept_and_the_tail_mass_recorded() -> None:
    found = signal(entry("a", -4.0, [("a", -4.0), ("b", -5.0)]))
    tail = 1 - math.exp(-4) - math.exp(-5)
    assert tail_mass(alternative_sums(found.top_logprobs)).tolist() == pytest.approx([tail])  # type: ignore[arg-type]
    assert count(found).mean_tail_mass == pytest.approx(tail)
    assert found.problems == {}


def test_chosen_logprobs_without_alternatives_give_nll_features_only() -> None:
    found = signal(entry("a", -0.5), entry("b", -1.5))
    features = dict(zip(DEFAULT_SPEC.names, extract([found])[0].tolist(), strict=True))
    assert found.form == "chosen_logprobs"
    assert features["nll_mean"] == 1.0
    assert math.isnan(features["entropy_mean"])


def test_tokens_with_null_bytes_or_partial_characters_are_read() -> None:
    found = signal(entry("\ufffd", -0.5, USUAL, bytes=None), entry("\ufffd", -0.5, USUAL, bytes=[240, 159]))
    assert chosen(found) == [-0.5, -0.5]


def test_special_tokens_and_the_end_token_count_as_generated() -> None:
    assert count(signal(entry("a", -0.5, USUAL), entry("", -0.01, [("", -0.01)], bytes=[]))).n_logprobs == 2


def test_each_of_several_choices_is_an_event_of_its_own() -> None:
    value = body(entry("a", -0.5, USUAL))
    value["choices"].append(value["choices"][0] | {"index": 1, "finish_reason": "length"})
    value["usage"]["completion_tokens"] = 2
    found = events(value)
    assert [event.id for event in found] == ["r#0", "r#1"]  # type: ignore[union-attr]
    assert [event.finish_reason for event in found] == ["stop", "length"]  # type: ignore[union-attr]
    assert [event.n_completion_tokens for event in found] == [1, 1]  # type: ignore[union-attr]


def test_a_body_without_requested_logprobs_has_no_signal_and_the_reason() -> None:
    value = body()
    value["choices"][0]["logprobs"] = None
    assert generation(value).signal.problems == {"not_requested": 1}


def test_rows_of_wildly_different_lengths_are_bounded() -> None:
    row = [(-1.0, i) for i in range(1000)]
    with pytest.raises(PayloadError, match="alternatives"):
        apply_rules(raw_signal(tokens_of([(-1.0, 0, row), *[(-1.0, 0, [])] * 100_000])))


def test_a_value_that_is_not_a_number_is_missing() -> None:
    assert np.isnan(floats([None, "x", [], {}, 10**400])).all()


def test_all_tokens_certain_beside_fillers_are_uninformative() -> None:
    certain = entry("a", 0.0, [("a", 0.0), ("b", -9999.0)])
    assert is_uninformative(signal(certain), Context())
    assert not is_uninformative(signal(certain, entry("a", -0.5, USUAL)), Context())


def test_a_long_run_of_exact_zeros_is_uninformative() -> None:
    assert is_uninformative(signal(*[entry("a", 0.0)] * 40), Context())
    assert not is_uninformative(signal(*[entry("a", 0.0)] * 3), Context())
    assert not is_uninformative(signal(*[entry("a", 0.0)] * 40, entry("a", -0.1)), Context())


def test_processed_logprobs_at_temperature_0_are_uninformative_by_declaration() -> None:
    usual = signal(entry("a", -0.5, USUAL))
    assert is_uninformative(usual, Context(temperature=0.0, logprobs_mode="processed_logprobs"))
    assert not is_uninformative(usual, Context(temperature=0.0, logprobs_mode="raw_logprobs"))
    assert not is_uninformative(usual, Context(temperature=0.7, logprobs_mode="processed_logprobs"))


def test_own_events_are_normalised_by_the_same_rules() -> None:
    own = {"type": "generation", "id": "r", "event_time": 1.0,
           "signal": {"top_logprobs": [[-1.5, -0.5], [-0.1, -0.2]], "chosen_logprobs": [-9999.0, -0.1]}}  # fmt: skip
    found = generation(own).signal
    assert chosen(found) == [-1.5, -0.1]
    assert found.problems == {"censored_logprob": 1, "mass_gt_one": 1}


def test_a_name_that_is_no_name_costs_nothing_but_the_search_for_repetitions() -> None:
    odd = [{"token": ["a"], "id": {"x": 1}, "logprob": -0.7}, {"token": {}, "id": [], "logprob": -0.7}]
    found = signal(entry("a", -0.7) | {"top_logprobs": odd})
    assert chosen(found) == [-0.7]
    token = {"id": [1], "text": {}, "logprob": -0.5}
    details = {"finish_reason": "length", "tokens": [token, token], "top_tokens": [[token, token], [token, token]]}
    assert count(generation({"generated_text": "x", "details": details}).signal).n_logprobs == 2
