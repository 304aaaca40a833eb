"""What the entropy tap adds to a decode step, on the device that there is: ``python -m tests.transformers.cost``.

The step is that of a model with the layers given here, at one new token for each sequence; the tap reads its logits.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from driftgauge.connectors.capture.entropy_tap import EntropyTap

N_CONTEXT = 128


def seconds(work: Callable[[], object], device: str, repeats: int) -> float:
    """Of the median run."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return sorted(times[1:])[repeats // 2]


def measure(batch: int, vocabulary: int, hidden: int, layers: int, k: int, repeats: int) -> dict[str, float | str]:
    """Milliseconds of a step and of the tap, and the ratio of the two."""
    torch.set_grad_enabled(False)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=hidden, intermediate_size=4 * hidden, num_hidden_layers=layers,
        num_attention_heads=hidden // 64, num_key_value_heads=hidden // 64,
    )  # fmt: skip
    with torch.device(device):
        model = LlamaForCausalLM(config).to(dtype).eval()
        cache = model(torch.ones((batch, N_CONTEXT), dtype=torch.long), use_cache=True).past_key_values
        ids = torch.ones((batch, 1), dtype=torch.long)
    logits = model(ids, past_key_values=cache).logits[:, -1].float()
    tap = EntropyTap(k=k)

    step_s = seconds(lambda: model(ids, past_key_values=cache), device, repeats)
    tap_s = seconds(lambda: tap(ids, logits), device, repeats)
    return {"device": device, "step_ms": step_s * 1e3, "tap_ms": tap_s * 1e3, "ratio": tap_s / step_s}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in (("batch", 64), ("vocabulary", 128_000), ("hidden", 2048), ("layers", 16), ("k", 20)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--repeats", type=int, default=7)
    print(json.dumps(measure(**vars(parser.parse_args()))))
