"""Recorded traffic on disk: reads and checks the ``.npz`` file of one recording, and makes events of its responses.

Owns the layout: one array per quantity, the tokens of all responses one after another, and ``offsets`` where each
response begins. A recording may have features in the place of tokens, as ``driftgauge features`` writes them. Arrays
that a file does not have are None. No file is trusted: pickles are refused, the unpacked size is bounded, and every
array is checked before use. One error lists all problems.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from driftgauge.connectors.base import ConnectorError
from driftgauge.models.arrays import Float64s, Floats, Int64s, Integers, Strings
from driftgauge.models.events import Context, Generation, Signal
from driftgauge.models.signals.entropy import (
    N_SUMS,
    alternative_sums,
    entropy_from,
    precision_of,
    tail_mass,
    varentropy,
)
from driftgauge.models.signals.feature_sets import DEFAULT_SPEC, FEATURE_SETS, LAYOUTS, FeatureSet, in_width
from driftgauge.models.signals.features import Profile, summarize

MAX_UNPACKED_BYTES = 4 * 2**30
_NO_LOGPROB = -9998.0  # servers write -9999 for "not available"

# array -> (kinds of numpy dtype it may have, what its first dimension counts, number of dimensions)
_LAYOUT = {
    "offsets": ("iu", "", 1),
    "topk_logprobs": ("f", "tokens", 2),
    "entropy": ("f", "tokens", 1),
    "chosen_logprob": ("f", "tokens", 1),
    "token": ("iu", "tokens", 1),
    "vocab": ("U", "", 1),
    "features": ("f", "responses", 2),
    "correct": ("iufb", "responses", 1),
    "domain": ("U", "responses", 1),
    "prompt": ("U", "responses", 1),
    "text": ("U", "responses", 1),
    "gold": ("U", "responses", 1),
    "difficulty": ("iu", "responses", 1),
    "truncated": ("iub", "responses", 1),
    "model": ("U", "responses", 1),
    "split": ("U", "responses", 1),
}
_REQUIRED = ("offsets", "domain")
_TOKENS = ("topk_logprobs", "entropy", "chosen_logprob")
_SIGNALS = (*_TOKENS, "features")


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """n responses of T tokens in all; response i owns tokens ``offsets[i]:offsets[i + 1]``.

    Attributes
    ----------
    name : name of the file, without its suffix
    offsets : (n + 1,) int64
    domain : (n,) unicode
    topk_logprobs : (T, k) natural logs, the likeliest first, in the precision of the file
    entropy : (T,) float32, nats, over the k likeliest tokens, computed before rounding; NaN where missing
    chosen_logprob : (T,) float32, NaN where missing
    token : (T,) token ids
    vocab : (V,) texts of tokens, by id
    correct : (n,) float32 in [0, 1], NaN where unknown
    prompt, text, gold, model, split : (n,) unicode
    difficulty, truncated : (n,) integers
    table : (n, d) features, the columns of a set; None where there are tokens
    """

    name: str
    offsets: Int64s
    domain: Strings
    topk_logprobs: Floats | None = None
    entropy: Floats | None = None
    chosen_logprob: Floats | None = None
    token: Integers | None = None
    vocab: Strings | None = None
    correct: Floats | None = None
    prompt: Strings | None = None
    text: Strings | None = None
    gold: Strings | None = None
    difficulty: Integers | None = None
    truncated: Integers | None = None
    model: Strings | None = None
    split: Strings | None = None
    table: Floats | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def labels(self) -> Floats:
        """Correctness of each response, (n,) float32 in [0, 1]; NaN where unknown."""
        return np.full(len(self), np.nan, dtype=np.float32) if self.correct is None else self.correct

    def context(self, i: int) -> Context:
        """Context of response i, as far as the layout has it."""
        return Context(
            model="" if self.model is None else str(self.model[i]),
            logprobs_mode="raw_logprobs",  # values in the layout are not scaled by a temperature
            k=None if self.topk_logprobs is None else self.topk_logprobs.shape[1],
        )

    def signal(self, i: int) -> Signal:
        """Signal of response i: its top-k logprobs if the file has them, else its entropy profile or its features."""
        if self.table is not None:
            return Signal(features=self.table[i].astype(np.float32))
        tokens = slice(self.offsets[i], self.offsets[i + 1])
        chosen = None if self.chosen_logprob is None else self.chosen_logprob[tokens]
        if self.topk_logprobs is not None:
            top = self.topk_logprobs[tokens]
            return Signal(chosen_logprobs=chosen, top_logprobs=_without_fillers(top, precision_of(top)))
        return Signal(chosen_logprobs=chosen, entropy=None if self.entropy is None else self.entropy[tokens])

    def generation(self, i: int, response_id: str, event_time: float) -> Generation:
        """Response i as an event."""
        n_tokens = int(self.offsets[i + 1] - self.offsets[i])
        return Generation(
            id=response_id,
            event_time=event_time,
            domain=str(self.domain[i]),
            context=self.context(i),
            signal=self.signal(i),
            slices={} if self.difficulty is None else {"difficulty": str(self.difficulty[i])},
            finish_reason=None if self.truncated is None else ("length" if self.truncated[i] else "stop"),
            n_completion_tokens=n_tokens,
        )

    def generations(self, start_time: float = 0.0, rate: float = 1.0) -> Iterator[Generation]:
        """Yield every response in file order, ``rate`` responses per second of event time."""
        for i in range(len(self)):
            yield self.generation(i, f"{self.name}-{i}", start_time + i / rate)

    def features(self, feature_set: FeatureSet = DEFAULT_SPEC.set) -> Float64s:
        """Features of all responses, (n, d), the columns of the set; NaN where missing.

        The recorded entropy is used if the file has it, because it is more precise than that of the logprobs.
        """
        if self.table is not None:
            return in_width(self.table, len(FEATURE_SETS[feature_set])).astype(np.float64)
        nothing = np.full((self.offsets[-1], N_SUMS), np.nan, dtype=np.float32)
        sums = nothing if self.topk_logprobs is None else alternative_sums(self.topk_logprobs)
        entropy = entropy_from(sums) if self.entropy is None else self.entropy
        nll = nothing[:, 0] if self.chosen_logprob is None else np.maximum(-self.chosen_logprob, 0)
        return summarize(Profile(entropy, nll, tail_mass(sums), varentropy(sums)), self.offsets, feature_set)

    def with_top_k(self, k: int | None) -> Recording:
        """The recording that a server asked for k alternatives would have given; log-probabilities stay as they are.

        None: as many as there are.

        Only the k likeliest alternatives remain, and the entropy follows from them. A single one says no more than the
        chosen token, so the agent leaves it out (`models.signals.whole`), and so does this method.

        Raises
        ------
        ConnectorError
            When the recording has fewer alternatives.
        """
        width = 0 if self.topk_logprobs is None else self.topk_logprobs.shape[1]
        if k is None or k == width:
            return self
        if k > width or self.topk_logprobs is None:
            raise ConnectorError(f"{self.name} has {width} alternatives of a token, not {k}", retriable=False)
        is_left_out = k == 1 and self.chosen_logprob is not None
        return replace(self, entropy=None, topk_logprobs=None if is_left_out else self.topk_logprobs[:, :k])


def read_recording(path: Path, *, max_bytes: int = MAX_UNPACKED_BYTES) -> Recording:
    """Read and check one ``.npz`` file; arrays that are not part of the layout are ignored.

    Parameters
    ----------
    max_bytes : bound of the unpacked size

    Raises
    ------
    ConnectorError
        The file is not a recording; the text lists every problem.
    """
    arrays = _load(path, max_bytes)
    if problems := _problems(arrays):
        raise ConnectorError(f"{path} is not a recording: " + "; ".join(problems), retriable=False)
    arrays["offsets"] = arrays["offsets"].astype(np.int64)
    if "correct" in arrays:
        arrays["correct"] = arrays["correct"].astype(np.float32)
    for name in ("entropy", "chosen_logprob"):
        if name in arrays:
            arrays[name] = _without_fillers(arrays[name], np.float32)
    for name in _SIGNALS:
        if name in arrays and not np.isfinite(arrays[name]).any():
            del arrays[name]  # an array full of NaN has no information
    table = arrays.pop("features", None)
    has_tokens = any(name in arrays for name in _TOKENS)
    return Recording(name=path.stem, table=None if has_tokens else table, **arrays)


def _load(path: Path, max_bytes: int) -> dict[str, npt.NDArray[Any]]:
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > max_bytes:
            raise ConnectorError(f"{path} unpacks to {unpacked} bytes, the bound is {max_bytes}", retriable=False)
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files if name in _LAYOUT}
    except (OSError, ValueError, EOFError, MemoryError, NotImplementedError, zipfile.BadZipFile) as error:
        raise ConnectorError(f"{path} cannot be read as .npz: {error}", retriable=False) from error


def _problems(arrays: Mapping[str, npt.NDArray[Any]]) -> list[str]:
    problems = [f"there is no `{name}`" for name in _REQUIRED if name not in arrays]
    if not any(name in arrays for name in _SIGNALS):
        problems.append("there is none of " + ", ".join(f"`{name}`" for name in _SIGNALS))
    for name, array in arrays.items():
        kinds, _, ndim = _LAYOUT[name]
        if array.dtype.kind not in kinds:
            problems.append(f"`{name}` is {array.dtype}")
        elif array.ndim != ndim:
            problems.append(f"`{name}` has shape {array.shape}, not {ndim} dimension{'s' * (ndim > 1)}")
    return problems or _wrong_lengths(arrays) or _wrong_values(arrays)


def _wrong_lengths(arrays: Mapping[str, npt.NDArray[Any]]) -> list[str]:
    offsets = arrays["offsets"]
    if len(offsets) == 0 or offsets[0] != 0 or (offsets[1:] < offsets[:-1]).any():
        return ["`offsets` must start at 0 and never fall"]
    expected = {"responses": len(offsets) - 1, "tokens": int(offsets[-1])}
    return [
        f"`{name}` has {len(array)} entries for {expected[counts]} {counts}"
        for name, array in arrays.items()
        if (counts := _LAYOUT[name][1]) and len(array) != expected[counts]
    ]


def _wrong_values(arrays: Mapping[str, npt.NDArray[Any]]) -> list[str]:
    problems = []
    correct = arrays.get("correct")
    if correct is not None and ((correct < 0) | (correct > 1)).any():
        problems.append("`correct` leaves [0, 1]")
    if "entropy" in arrays and (arrays["entropy"] < -1e-3).any():
        problems.append("`entropy` is negative somewhere")
    if "features" in arrays and arrays["features"].shape[1] not in LAYOUTS:
        problems.append(f"`features` has {arrays['features'].shape[1]} columns, which is no set")
    positive = [n for n in ("topk_logprobs", "chosen_logprob") if n in arrays and (arrays[n] > 1e-3).any()]
    return problems + [f"`{name}` is positive somewhere: natural logs of probabilities are not" for name in positive]


def _without_fillers(values: Floats, precision: npt.DTypeLike) -> Floats:
    """Copy in this precision, with NaN for values that stand for "not available"."""
    copy = values.astype(precision)
    copy[~(np.isfinite(copy) & (copy > _NO_LOGPROB))] = np.nan
    return copy
