"""The summary of a demo or replay: drifted, new and unlabelled domains, and the comparison with the truth."""

from dataclasses import replace

import pytest

from driftgauge.agent.outlets.live_table import Row
from driftgauge.agent.outlets.summary import distance_to_truth, summary
from driftgauge.models.pending import Cause, PendingLabels
from tests.demo.test_table import ESTIMATE, rows


def test_a_summary_names_drifted_and_unlabelled_domains_and_data_to_get() -> None:
    text = summary(rows(), {"store": "out/demo.sqlite"}).splitlines()
    assert text == [
        "3 domains watched.",
        "Drift in mul:",
        "  mul  p_correct fell from 0.52 to 0.24, accuracy 0.30 [0.10, 0.50]",
        "No labels in mul (accuracy 0.30 [0.10, 0.50]): estimated from the entropy signal alone.",
        "Data to get:",
        "  1. mul: 10% of traffic, no labels",
        "Store: out/demo.sqlite",
    ]


def test_a_summary_tells_which_labels_met_no_response_and_the_likeliest_causes() -> None:
    causes: dict[Cause, int] = {"case": 38, "never_seen": 2}
    pending = PendingLabels(40, 60.0, causes, {"case": ("TICKET-1", "ticket-1 ")})
    text = summary(rows(), {}, pending).splitlines()
    at = text.index("40 labels wait for their responses, the oldest of 1970-01-01 00:01 UTC:")
    assert text[at + 1 : at + 3] == [
        "  38: a response has this id in upper or lower case (label 'TICKET-1', response 'ticket-1 ')",
        "  2: no response with an id like this was seen",
    ]
    assert "wait" not in summary(rows(), {}, PendingLabels(0, None))


def test_a_summary_names_new_domains_and_those_with_few_labels() -> None:
    few, enough = replace(ESTIMATE, domain="mod", n_labels=9), replace(ESTIMATE, domain="div", n_labels=10)
    text = summary([Row(few), Row(enough), Row(replace(ESTIMATE, domain="phys"), is_new=True)], {})
    assert "3 domains watched, of which new since the start: phys." in text
    assert "Few labels in mod (9): estimated mostly from the entropy signal." in text


def test_a_summary_without_drift_states_that() -> None:
    assert summary([Row(ESTIMATE)], {}) == "1 domain watched.\nNo drift."


def test_a_summary_without_domains_claims_nothing_about_drift() -> None:
    assert summary([], {}, account=["None of 2 records could be used."]) == (
        "No domain is watched: no response was used.\nNone of 2 records could be used."
    )


@pytest.mark.parametrize("n_labels", [0, 9])
def test_a_summary_says_nothing_of_how_an_unknown_accuracy_is_estimated(n_labels: int) -> None:
    unknown = replace(ESTIMATE, accuracy=None, ci_low=None, ci_high=None, n_labels=n_labels)
    assert summary([Row(unknown)], {}) == "1 domain watched.\nNo drift."


def test_the_distance_to_the_truth_is_compared_with_that_of_the_labels_alone() -> None:
    estimated, labelled = distance_to_truth(rows(), {"add": 0.92, "mul": 0.25, "seq": 0.5})
    assert estimated == pytest.approx((0.02 + 0.05) / 2)
    assert labelled == pytest.approx((0.01 + 0.68) / 2)
