"""Makes the recorded traffic that ships with the package: a part of two recordings, without their texts.

python -m tests.bundle REFERENCE.npz LATER.npz  writes  agent/demo/data/chat.npz  and  agent/demo/data/chat_later.npz
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

FOLDER = Path(__file__).parents[1] / "agent" / "demo" / "data"
NEW = ("animal", "date", "plural")
WITHOUT = {"chat": ("algebra", *NEW), "chat_later": ("algebra",)}
"""Domains that are left out of each part; those that are new later are left out of the first."""

KEPT = ("correct", "domain", "difficulty", "truncated", "model")


def part(source: Path, without: Iterable[str]) -> dict[str, npt.NDArray[Any]]:
    with np.load(source, allow_pickle=False) as recording:
        arrays = {name: recording[name] for name in (*KEPT, "offsets", "topk_logprobs", "chosen_logprob")}
    is_kept = ~np.isin(arrays["domain"], list(without))
    lengths = np.diff(arrays["offsets"])
    tokens = np.repeat(is_kept, lengths)
    return {
        **{name: arrays[name][is_kept] for name in KEPT},
        "offsets": np.concatenate([[0], np.cumsum(lengths[is_kept])]),
        "topk_logprobs": arrays["topk_logprobs"][tokens],
        "chosen_logprob": arrays["chosen_logprob"][tokens],
    }


if __name__ == "__main__":
    for (name, without), source in zip(WITHOUT.items(), sys.argv[1:], strict=True):
        target = FOLDER / f"{name}.npz"
        np.savez_compressed(target, **part(Path(source), without))  # type: ignore[arg-type]  # the stub reads ** as flags
        print(target, target.stat().st_size)
