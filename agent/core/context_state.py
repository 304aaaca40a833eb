"""State of one context: its learner, and how it is saved and restored."""

from __future__ import annotations

from collections.abc import Mapping

from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.models.arrays import Float32s
from driftgauge.models.estimate.estimators import Estimator
from driftgauge.models.learn.committee import Committee
from driftgauge.models.learn.stored_fit import old_training
from driftgauge.models.saved_format import SavedFormat
from driftgauge.models.watch.served_model import ModelChange, RecurringPrompts

HEAD = SavedFormat("context", (lambda counted: counted[:2],), since="0.2.0")
WHOLE = SavedFormat("context in one piece")
PROMPTS = SavedFormat("recurring prompts", since="0.2.0")
_PROMPTS = "prompts"
_TRAINING = "training"
"""The part that held the rows of the estimator while classifiers and estimator learned apart (version 0.1.0)."""


class ContextState:
    """What was learned about one context. ``number`` counts contexts by arrival."""

    def __init__(self, settings: PipelineSettings, model: str = "", number: int = 0) -> None:
        self.settings = settings
        self.model = model
        self.number = number
        self.committee = Committee(settings.committee)
        self._prompts = RecurringPrompts()
        self._has_new_prompts = False  # since the last call of `changes`
        self._has_training = False  # in the store: deleted with the next changes

    @property
    def estimator(self) -> Estimator:
        """The estimator from the fit of the champion."""
        return self.committee.estimator

    def see_prompt(
        self, prompt: str, opening: Float32s, event_time: float, allowance: float, *, is_greedy: bool
    ) -> ModelChange | None:
        """Take the opening of a response to a prompt that may recur, see `RecurringPrompts`."""
        self._has_new_prompts = True
        return self._prompts.see(prompt, opening, event_time, allowance, is_greedy=is_greedy)

    def changes(self) -> dict[str, bytes | None]:
        """What must be saved since the last call, by name; the empty name holds the identity of the context."""
        parts: dict[str, bytes | None] = {"": self._head()}
        parts |= {f"committee/{name}": part for name, part in self.committee.changes().items()}
        if self._has_training:
            parts[_TRAINING] = None
        if self._has_new_prompts:
            parts[_PROMPTS] = PROMPTS.pack(self._prompts.snapshot())
        self._has_training = self._has_new_prompts = False
        return parts

    def snapshot(self) -> bytes:
        """Everything that was learned in one piece, without recurring prompts; `restore` takes it."""
        return WHOLE.pack([self._head(), self.committee.snapshot(), None])

    def _head(self) -> bytes:
        return HEAD.pack([self.model, self.number])

    @classmethod
    def restore(cls, settings: PipelineSettings, saved: bytes | Mapping[str, bytes]) -> ContextState:
        """Make the state that gave this snapshot, or these parts (`changes`); ValueError for anything else."""
        committee: bytes | Mapping[str, bytes]
        if isinstance(saved, bytes):
            head, committee, training = WHOLE.unpack(saved, tuple[bytes, bytes, bytes | None])
        else:
            head, committee, training = saved[""], under("committee/", saved), saved.get(_TRAINING)
        state = cls(settings, *HEAD.unpack(head, tuple[str, int]))
        state.committee = Committee.restore(settings.committee, committee)
        if not isinstance(saved, bytes) and _PROMPTS in saved:
            state._prompts.restore(PROMPTS.unpack(saved[_PROMPTS]))
        if training is not None:
            state.committee.fit_to(old_training(training, settings.features.width), "refitted by a newer version")
            state._has_training = not isinstance(saved, bytes)
        return state


def context_name(fingerprint: str) -> str:
    """The name that the store knows a context by."""
    return f"context/{fingerprint}"


def context_parts(fingerprint: str, context: ContextState) -> dict[str, bytes | None]:
    """What must be saved of a context, under the names that the store knows it by."""
    return {f"{context_name(fingerprint)}/{name}": part for name, part in context.changes().items()}


def context_model(parts: Mapping[str, bytes]) -> str:
    """The name of the model of a saved context."""
    return str(HEAD.unpack(parts[""])[0])


def contexts_saved(saved: Mapping[str, bytes]) -> dict[str, dict[str, bytes]]:
    """The saved parts of every context, by fingerprint; `ContextState.restore` takes them."""
    found: dict[str, dict[str, bytes]] = {}
    for name, part in under("context/", saved).items():
        fingerprint, _, rest = name.partition("/")
        found.setdefault(fingerprint, {})[rest] = part
    return found


def under(prefix: str, saved: Mapping[str, bytes]) -> dict[str, bytes]:
    """The saved parts whose names begin with this prefix, by the rest of the name."""
    return {name.removeprefix(prefix): saved[name] for name in sorted(saved) if name.startswith(prefix)}
