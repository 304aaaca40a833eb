"""Makes the recorded traffic that ships with the package: a seeded sample of each recording, without its texts.

python -m tests.bundle REFERENCE.npz LATER.npz  writes  agent/demo/data/reference.npz  and  agent/demo/data/drift.npz
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

FOLDER = Path(__file__).parents[1] / "agent" / "demo" / "data"
PARTS = {"reference": 2_000, "drift": 1_500}
KEPT = ("correct", "domain", "difficulty", "truncated", "model")


def sample(source: Path, n: int, seed: int = 0) -> dict[str, npt.NDArray[Any]]:
    with np.load(source, allow_pickle=False) as recording:
        arrays = {name: recording[name] for name in (*KEPT, "offsets", "topk_logprobs", "chosen_logprob")}
    rows = np.sort(np.random.default_rng(seed).permutation(len(arrays["correct"]))[:n])
    offsets = arrays["offsets"]
    tokens = np.concatenate([np.arange(offsets[i], offsets[i + 1]) for i in rows])
    return {
        **{name: arrays[name][rows] for name in KEPT},
        "offsets": np.concatenate([[0], np.cumsum(np.diff(offsets)[rows])]),
        "topk_logprobs": arrays["topk_logprobs"][tokens],
        "chosen_logprob": arrays["chosen_logprob"][tokens],
    }


if __name__ == "__main__":
    for (name, n), source in zip(PARTS.items(), sys.argv[1:], strict=True):
        np.savez_compressed(FOLDER / f"{name}.npz", **sample(Path(source), n))  # type: ignore[arg-type]  # the stub reads ** as flags
        print(FOLDER / f"{name}.npz", (FOLDER / f"{name}.npz").stat().st_size)
