"""Prompts to embeddings by a sentence encoder that is installed with the extra ``topics``.

WordLlama (MIT licence) is a table of 32,000 token vectors of 256 numbers, trimmed from the embeddings of large language
models and trained further; a text is the mean of its tokens. Its weights come in its package, so nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from driftgauge.connectors.base import ConnectorError
from driftgauge.models.arrays import Float32s

MAX_CHARACTERS = 8_192
"""Characters of a prompt that are encoded: the first ones."""


def encoder(name: Literal["none", "wordllama"]) -> Callable[[str], Float32s] | None:
    """`encode`, with its weights read, so that a missing package is noticed at the start; None for ``none``.

    Raises
    ------
    ConnectorError
        When the extra is not installed.
    """
    if name == "none":
        return None
    _model()
    return encode


def encode(text: str) -> Float32s:
    """The embedding of a text, (256,) float32; zero for a text without a known token."""
    vector = _model().embed(text[:MAX_CHARACTERS])[0]
    return np.asarray(np.nan_to_num(vector), dtype=np.float32)


@lru_cache(maxsize=1)
def _model() -> Any:
    """The encoder, read from its package once in each process, some 20 MB."""
    try:
        import wordllama
    except ImportError:
        raise ConnectorError("topics.encoder needs: pip install 'driftgauge[topics]'", retriable=False) from None
    root = Path(wordllama.__file__).parent  # its own default looks for the tokenizer where it is not
    return wordllama.WordLlama.load(cache_dir=root, disable_download=True)
