"""From Hugging Face's ``generate`` to signals: the process that runs the model produces the events.

Needs the extra ``driftgauge[transformers]``. Log-softmax and top-k are taken on the device the model runs on, one token
of the batch at a time; only (batch, T, k) numbers leave it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from driftgauge.models.arrays import Float32s, Int64s
from driftgauge.models.events import Signal

Tokens = Int64s


def signals_of(output: Any, end_ids: Collection[int], *, k: int = 20) -> list[tuple[Signal, Tokens]]:
    """Signal and token ids of each response of a batch, up to and with the token that ended it.

    Parameters
    ----------
    output : the result of ``model.generate(..., return_dict_in_generate=True, output_logits=True)``. Its logits are
        raw: entropies do not depend on the temperature and the samplers
    end_ids : ids that end a response, such as ``model.generation_config.eos_token_id``; tokens after one are padding
    k : alternatives to keep; fewer where the vocabulary is smaller

    Raises
    ------
    ValueError
        Without logits, or after a beam search, whose logits are not those of the sequences it returns.
    """
    if getattr(output, "logits", None) is None:
        raise ValueError("call generate() with return_dict_in_generate=True and output_logits=True")
    if getattr(output, "beam_indices", None) is not None:
        raise ValueError("after a beam search the logits are not those of the sequences")
    tokens = output.sequences[:, -len(output.logits) :]
    top, chosen = _logprobs(output.logits, tokens, k)
    ids = tokens.cpu().numpy().astype(np.int64)
    ends = [length_of(row, end_ids) for row in ids]
    return [(Signal(chosen_logprobs=chosen[i, :n], top_logprobs=top[i, :n]), ids[i, :n]) for i, n in enumerate(ends)]


def _logprobs(logits: Any, tokens: Any, k: int) -> tuple[Float32s, Float32s]:
    """(batch, T, k) of the likeliest tokens and (batch, T) of the chosen ones."""
    import torch  # pyright: ignore[reportMissingImports] - an extra

    top, chosen = [], []
    for step, values in enumerate(logits):  # each (batch, vocabulary)
        logprobs = torch.log_softmax(values.float(), dim=-1)
        top.append(logprobs.topk(min(k, logprobs.shape[-1]), dim=-1).values)
        chosen.append(logprobs.gather(-1, tokens[:, step, None]).squeeze(-1))
    return torch.stack(top, 1).cpu().numpy(), torch.stack(chosen, 1).cpu().numpy()


def length_of(tokens: Tokens, end_ids: Collection[int]) -> int:
    """Tokens up to and with the first that ends the response.

    >>> length_of(np.array([5, 2, 0, 0]), {2}), length_of(np.array([5, 6]), {2})
    (2, 2)
    """
    ends = np.flatnonzero(np.isin(tokens, list(end_ids)))
    return int(ends[0]) + 1 if len(ends) else len(tokens)
