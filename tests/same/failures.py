"""Extractors under everything that moves partitions: they join, leave, are killed, suspended, or start over."""

from __future__ import annotations

import random
from typing import Literal, TypeAlias, get_args

from tests.same.world import Extractor, World

Failure: TypeAlias = Literal["join", "leave", "kill", "suspend"]
FAILURES: tuple[Failure, ...] = get_args(Failure)
MOST = 3
"""Extractors at a time, so that two cores can carry them."""


def extract(world: World, seed: int, rounds: int) -> str:
    """Write the log and extract it under ``rounds`` times each failure, in random order; returns the topic of features.

    The log is written in parts, one for each failure, so that every failure meets extractors at work. Once, all offsets
    of the group are lost, so that everything before is published again.
    """
    chance = random.Random(seed)  # noqa: S311 - reproducible
    failures: list[Failure] = [*FAILURES] * rounds
    chance.shuffle(failures)
    features, n = world.new_topic(), len(failures) + 2
    working = [world.extractor(features), world.extractor(features)]
    world.fill(0, 1 / n)
    world.until_published(features, len(world.log) // (2 * n))
    _start_over(world, features, working)
    for at, failure in enumerate(failures, 1):
        before = world.ends(features)
        world.fill(at / n, (at + 1) / n)
        world.until_published(features, before + len(world.log) // (4 * n))
        _fail(failure, world, features, working, chance)
    world.fill((n - 1) / n, 1)
    world.until_extracted()
    for extractor in working:
        extractor.leave()
    return features


def _start_over(world: World, features: str, working: list[Extractor]) -> None:
    """All extractors end, their offsets are lost, and others begin with the first record."""
    while working:
        working.pop().leave()
    world.forget_offsets()
    working += [world.extractor(features), world.extractor(features)]


def _fail(failure: Failure, world: World, features: str, working: list[Extractor], chance: random.Random) -> None:
    """One failure; at least one extractor goes on."""
    if failure == "join" and len(working) == MOST:
        failure = "leave"
    elif failure != "join" and len(working) == 1:
        working.append(world.extractor(features))
    if failure == "join":
        working.append(world.extractor(features))
        return
    one = working.pop(chance.randrange(len(working)))
    if failure == "leave":
        one.leave()
    elif failure == "kill":
        one.kill()
    else:
        one.pause()
        world.until_extracted()  # the others have taken its partitions over, and finished what it had begun
        one.go_on()
        working.append(one)
