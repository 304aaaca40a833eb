"""Signals from a real ``generate``, by a tiny model with random weights (nothing is downloaded)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from driftgauge.connectors.base import Record
from driftgauge.connectors.capture.transformers import signals_of
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.models.events import Generation
from driftgauge.models.signals.features import extract

VOCABULARY = 60


@pytest.fixture(scope="module")
def model() -> GPT2LMHeadModel:
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=VOCABULARY, n_positions=64, n_embd=16, n_layer=1, n_head=2)
    return GPT2LMHeadModel(config).eval()


def generated(model: GPT2LMHeadModel, **options: Any) -> Any:
    torch.manual_seed(1)
    prompts = torch.tensor([[1, 2, 3], [4, 5, 6], [8, 9, 10], [11, 12, 13]])
    return model.generate(
        prompts, attention_mask=torch.ones_like(prompts), max_new_tokens=20, pad_token_id=0,
        return_dict_in_generate=True, **{"do_sample": True, "temperature": 2.0, "output_logits": True, **options},
    )  # fmt: skip


@pytest.fixture(scope="module")
def end(model: GPT2LMHeadModel) -> int:
    """The sixth token of the first response, which so ends there when it is generated again."""
    return int(generated(model).sequences[0, 3 + 5])


def test_logprobs_equal_those_of_one_forward_pass_over_the_whole_sequence(model: GPT2LMHeadModel, end: int) -> None:
    output = generated(model, eos_token_id=end)
    with torch.no_grad():
        whole = torch.log_softmax(model(output.sequences).logits[:, 2:-1].double(), dim=-1).numpy()
    for i, (signal, ids) in enumerate(signals_of(output, {end}, k=5)):
        assert signal.chosen_logprobs is not None
        assert signal.top_logprobs is not None
        expected = whole[i, : len(ids)]
        np.testing.assert_allclose(signal.top_logprobs, -np.sort(-expected, axis=1)[:, :5], atol=1e-4)
        np.testing.assert_allclose(signal.chosen_logprobs, expected[np.arange(len(ids)), ids], atol=1e-4)


def test_a_response_ends_with_its_end_token_and_has_no_padding(model: GPT2LMHeadModel, end: int) -> None:
    found = signals_of(generated(model, eos_token_id=end), {end})
    lengths = [len(ids) for _, ids in found]
    assert min(lengths) < 20
    for signal, ids in found:
        assert signal.n_tokens == len(ids)
        assert end not in ids[:-1]
        assert len(ids) == 20 or ids[-1] == end


def test_features_of_generated_responses_are_finite(model: GPT2LMHeadModel, end: int) -> None:
    assert np.isfinite(extract([signal for signal, _ in signals_of(generated(model, eos_token_id=end), {end})])).all()


def test_an_output_without_logits_of_its_own_sequences_is_refused(model: GPT2LMHeadModel, end: int) -> None:
    with pytest.raises(ValueError, match="output_logits"):
        signals_of(generated(model, output_logits=False), {end})
    with pytest.raises(ValueError, match="beam"):
        signals_of(generated(model, do_sample=False, temperature=None, num_beams=2), {end})


def test_the_documented_example_makes_events_that_the_agent_reads(model: GPT2LMHeadModel, end: int) -> None:
    document = Path(__file__).parents[2] / "docs" / "events.md"
    (code,) = re.findall(r"```py\n(.*?)```", document.read_text(), re.DOTALL)
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = end, 0
    prompts = torch.tensor([[1, 2, 3], [4, 5, 6]])
    scope: dict[str, Any] = {"model": model, "prompts": {"input_ids": prompts, "attention_mask": prompts > 0}}
    exec(code, scope)  # noqa: S102 - our own document
    headers = (("content-type", b"application/msgpack"),)
    decoded = Decoder().decode([Record("t", 0, i, None, value, headers) for i, value in enumerate(scope["events"])])
    assert [event.id for event in decoded if isinstance(event, Generation)] == ["batch-17-0", "batch-17-1"]
