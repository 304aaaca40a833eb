"""A logits processor that measures while Hugging Face's ``generate`` runs: entropy over the whole vocabulary and more.

Needs the extra ``driftgauge[transformers]``. Unlike ``output_logits=True`` it keeps no logits: of each step there
remain k + 2 numbers a sequence. Nothing waits for the device until the responses are asked for. It runs between the
model's forward pass and the sampling, so static caches and ``torch.compile`` of the model do not see it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from driftgauge.connectors.capture.transformers import Tokens, length_of
from driftgauge.models.arrays import Float32s
from driftgauge.models.events import Signal

COPIED_STEPS = 64
"""Steps whose numbers go to the host together, without waiting for them."""


class EntropyTap:
    """Measures the tokens of one call of ``generate`` at a time: ``generate(..., logits_processor=[tap])``.

    It sees the logits before temperature and samplers, and after what the call asks for besides, such as a repetition
    penalty or a constraint. It returns them unchanged.

    Parameters
    ----------
    k : log-probabilities of the likeliest tokens to keep, at least 2; 0: none

    Raises
    ------
    ValueError
        For a k of 1, whose alternatives say nothing.

    Examples
    --------
    ::

        tap = EntropyTap(k=5)
        output = model.generate(**prompts, max_new_tokens=50, logits_processor=[tap])
        for signal, token_ids in tap.take(output, {model.generation_config.eos_token_id}):
            ...
    """

    def __init__(self, k: int = 0) -> None:
        if k == 1:
            raise ValueError("k is 0 or at least 2")
        self.k = k
        self._clear()

    def _clear(self) -> None:
        self._measured: list[Any] = []  # on the device, each (batch, k + 1)
        self._chosen: list[Any] = []  # on the device, each (batch, 1)
        self._copies: list[Any] = []  # on the host, each (steps, batch, k + 2)
        self._logits: Any = None
        self._log_total: Any = None
        self._n_tokens, self._n_steps, self._is_step_by_step = 0, 0, True

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Measure one step; returns ``scores``."""
        n_tokens = input_ids.shape[1]
        if self._n_steps:
            self._is_step_by_step &= n_tokens == self._n_tokens + 1
            self._note_chosen(input_ids[:, -1:])
            if len(self._chosen) >= COPIED_STEPS:
                self._copy()
        self._logits = scores
        self._measured.append(self._measure(scores.float()))
        self._n_tokens, self._n_steps = n_tokens, self._n_steps + 1
        return scores

    def take(self, output: Any, end_ids: Collection[int]) -> list[tuple[Signal, Tokens]]:
        """Signal and token ids of each response of the batch, up to and with the token that ended it.

        The tap is then ready for the next call of ``generate``. This waits for the device.

        Parameters
        ----------
        output : what ``generate`` returned
        end_ids : ids that end a response, such as ``model.generation_config.eos_token_id``; later tokens are padding

        Raises
        ------
        ValueError
            Where ``generate`` did not add one token a step to each sequence: beam search, assisted generation.
        """
        sequences, n_steps = getattr(output, "sequences", output), self._n_steps
        is_search = getattr(output, "beam_indices", None) is not None or not self._is_step_by_step
        is_other = not n_steps or len(sequences) != len(self._logits) or sequences.shape[1] != self._n_tokens + 1
        try:
            if not n_steps:
                raise ValueError("the tap saw no step: pass it to generate() as logits_processor=[tap]")
            if is_search or is_other:
                raise ValueError("the steps are not those of these sequences: no beam search, no assisted generation")
            self._note_chosen(sequences[:, -1:])
            self._copy()
            return self._responses(sequences[:, -n_steps:].cpu().numpy().astype(np.int64), end_ids)
        finally:
            self._clear()

    def _measure(self, logits: Any) -> Any:
        """(batch, k + 1): entropy, and the k likeliest; few passes over the vocabulary, and no logarithm of 0."""
        import torch  # pyright: ignore[reportMissingImports] - an extra

        p = torch.softmax(logits, dim=-1)
        entropy = torch.special.entr(p).sum(dim=-1, keepdim=True)
        top, places = logits.topk(min(max(self.k, 1), logits.shape[-1]), dim=-1)
        self._log_total = top[:, :1] - p.gather(-1, places[:, :1]).log()
        return torch.cat([entropy, (top - self._log_total)[:, : self.k]], dim=-1)

    def _note_chosen(self, tokens: Any) -> None:
        """The tokens that followed the last step: (batch, 1)."""
        self._chosen.append(self._logits.gather(-1, tokens).float() - self._log_total)

    def _copy(self) -> None:
        """Send what was measured to the host, without waiting for it."""
        import torch  # pyright: ignore[reportMissingImports] - an extra

        numbers = torch.cat([torch.stack(self._measured), torch.stack(self._chosen)], dim=-1)
        self._copies.append(numbers.to("cpu", non_blocking=True))
        self._measured, self._chosen = [], []

    def _responses(self, ids: Tokens, end_ids: Collection[int]) -> list[tuple[Signal, Tokens]]:
        if self._logits.is_cuda:
            import torch  # pyright: ignore[reportMissingImports] - an extra

            torch.cuda.current_stream(self._logits.device).synchronize()
        numbers: Float32s = np.concatenate([copied.numpy() for copied in self._copies])  # (T, batch, k + 2)
        found = []
        for place, row in enumerate(ids):
            n = length_of(row, end_ids)
            entropy, top, chosen = np.split(numbers[:n, place], [1, numbers.shape[-1] - 1], axis=-1)
            signal = Signal(chosen[:, 0], top if self.k else None, np.maximum(entropy[:, 0], 0), is_vocabulary=True)
            found.append((signal, row[:n]))
        return found
