"""The entropy tap inside a real ``generate``, against float64 from one forward pass over the whole sequence."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from driftgauge.connectors.base import Record
from driftgauge.connectors.capture.entropy_tap import COPIED_STEPS, EntropyTap
from driftgauge.connectors.capture.transformers import Tokens
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.models.events import Generation, Signal

torch.set_num_threads(1)  # the model is so small that threads only wait for each other
VOCABULARY, N_PROMPT, N_NEW, PAD = 4_000, 6, COPIED_STEPS + 20, 0
Found = list[tuple[Signal, Tokens]]


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, bos_token_id=1, eos_token_id=None, initializer_range=0.4,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def prompts() -> dict[str, torch.Tensor]:
    """Four prompts of different lengths, padded on the left."""
    ids = torch.arange(2, 2 + 4 * N_PROMPT).reshape(4, N_PROMPT)
    mask = torch.ones_like(ids)
    for row, n in enumerate((0, 1, 3, 5)):
        mask[row, :n] = 0
    return {"input_ids": torch.where(mask.bool(), ids, PAD), "attention_mask": mask}


def generated(model: LlamaForCausalLM, tap: EntropyTap, end: int | None = None, **options: Any) -> torch.Tensor:
    torch.manual_seed(1)
    given: dict[str, Any] = {"do_sample": True, "temperature": 1.5, "top_k": 50, **prompts(), **options}
    output: torch.Tensor = model.generate(
        max_new_tokens=N_NEW, pad_token_id=PAD, eos_token_id=end, logits_processor=[tap], **given
    )
    return output


def check(model: LlamaForCausalLM, sequences: torch.Tensor, found: Found, k: int) -> None:
    """Each response alone, without padding and cache, in float64."""
    mask = prompts()["attention_mask"]
    for row, (signal, ids) in enumerate(found):
        n_pad = int((mask[row] == 0).sum())
        n = len(ids)
        with torch.no_grad():
            whole = model(sequences[row : row + 1, n_pad : N_PROMPT + n]).logits[0, -n - 1 : -1].double()
        logprobs = torch.log_softmax(whole, dim=-1).numpy()
        entropy = -(np.exp(logprobs) * logprobs).sum(axis=1)
        np.testing.assert_allclose(signal.entropy, entropy, atol=1e-4)  # type: ignore[arg-type]
        np.testing.assert_allclose(signal.chosen_logprobs, logprobs[np.arange(n), ids], atol=1e-4)  # type: ignore[arg-type]
        assert signal.form == "vocabulary_entropy"
        if k:
            np.testing.assert_allclose(signal.top_logprobs, -np.sort(-logprobs, axis=1)[:, :k], atol=1e-4)  # type: ignore[arg-type]
        else:
            assert signal.top_logprobs is None


@pytest.fixture(scope="module")
def end(model: LlamaForCausalLM) -> int:
    """The sixth token of the first response, which so ends there when it is generated again."""
    return int(generated(model, EntropyTap())[0, N_PROMPT + 5])


@pytest.mark.parametrize("k", [0, 5])
@pytest.mark.parametrize("cache", ["dynamic", "static"])
def test_numbers_equal_those_of_float64_under_padding_early_ends_and_a_static_cache(
    model: LlamaForCausalLM, end: int, k: int, cache: str
) -> None:
    tap = EntropyTap(k=k)
    sequences = generated(model, tap, end, cache_implementation=cache)
    found = tap.take(sequences, {end})
    lengths = [len(ids) for _, ids in found]
    assert lengths[0] == 6
    assert max(lengths) > COPIED_STEPS
    check(model, sequences, found, k)


def test_a_tap_serves_one_call_after_the_other(model: LlamaForCausalLM) -> None:
    tap = EntropyTap(k=3)
    for options in ({"do_sample": False, "temperature": None, "top_k": None}, {"return_dict_in_generate": True}):
        output: Any = generated(model, tap, **options)
        check(model, getattr(output, "sequences", output), tap.take(output, ()), 3)


def test_the_text_that_is_generated_does_not_change(model: LlamaForCausalLM) -> None:
    torch.manual_seed(1)
    plain = model.generate(
        **prompts(), max_new_tokens=N_NEW, pad_token_id=PAD, do_sample=True, temperature=1.5, top_k=50
    )
    assert torch.equal(plain, generated(model, EntropyTap(k=5)))


def test_a_compiled_model_is_measured_as_well(model: LlamaForCausalLM) -> None:
    forward = model.forward
    tap = EntropyTap(k=5)
    try:
        model.forward = torch.compile(model.forward, backend="eager")
        sequences = generated(model, tap)
    finally:
        model.forward = forward
    check(model, sequences, tap.take(sequences, ()), 5)


def test_banned_tokens_have_no_part_in_the_entropy(model: LlamaForCausalLM) -> None:
    tap = EntropyTap(k=5)
    banned = list(range(10, VOCABULARY))
    sequences = generated(model, tap, suppress_tokens=banned)
    for signal, _ in tap.take(sequences, ()):
        assert signal.entropy is not None
        assert np.isfinite(signal.entropy).all()
        assert signal.entropy.max() <= np.log(10) + 1e-4


def test_what_is_not_one_token_a_step_is_refused(model: LlamaForCausalLM) -> None:
    tap = EntropyTap()
    with pytest.raises(ValueError, match="saw no step"):
        tap.take(torch.zeros((1, 4)), ())
    beams = generated(model, tap, do_sample=False, temperature=None, top_k=None, num_beams=2)
    with pytest.raises(ValueError, match="no beam search"):
        tap.take(beams, ())
    alone = {name: value[:1] for name, value in prompts().items()}
    greedy: dict[str, Any] = {"do_sample": False, "temperature": None, "top_k": None, **alone}
    assisted = generated(model, tap, prompt_lookup_num_tokens=2, **greedy)
    with pytest.raises(ValueError, match="no assisted generation"):
        tap.take(assisted, ())
    sequences = generated(model, tap)
    with pytest.raises(ValueError, match="not those of these sequences"):
        tap.take(sequences[:, :-1], ())
    with pytest.raises(ValueError, match="at least 2"):
        EntropyTap(k=1)


def test_the_documented_example_makes_events_that_the_agent_reads(model: LlamaForCausalLM, end: int) -> None:
    document = (Path(__file__).parents[2] / "docs" / "capture.md").read_text()
    (code,) = (code for code in re.findall(r"```py\n(.*?)```", document, re.DOTALL) if "EntropyTap" in code)
    events: list[bytes] = []
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = end, PAD
    exec(code, {"model": model, "prompts": prompts(), "publish": lambda _, value: events.append(value)})  # noqa: S102
    headers = (("content-type", b"application/msgpack"),)
    decoded = Decoder().decode([Record("t", 0, i, None, value, headers) for i, value in enumerate(events)])
    assert [event.signal.form for event in decoded if isinstance(event, Generation)] == ["vocabulary_entropy"] * 4
