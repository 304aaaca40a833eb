"""Whether the labels of one topic keep to the scale that is configured.

A sender who scores from 1 to 5 sends some scores that lie in [0, 1] too: the lowest ones. Read alone they would be full
truth. So a topic is refused as a whole when more than a few of its labels leave the scale.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

OUT_OF_SCALE: Final = "labels_out_of_scale"
"""The reason of the dead letters of labels that leave the scale, or whose topic does."""

RECENT = 100
"""Labels of a topic that are judged: the newest ones."""

TOLERATED = 1
"""Labels outside the scale among the recent ones that are taken for mistakes, once there are `ENOUGH` labels."""

ENOUGH = 20


class TopicScale:
    """Judges a topic by its last `RECENT` labels.

    A topic is refused while more than one of them lies outside the scale, or one of fewer than `ENOUGH`. A refused
    topic is accepted again when none of the last `RECENT` labels leaves the scale.

    Examples
    --------
    >>> scale = TopicScale()
    >>> [scale.see(is_inside=score <= 1) for score in (1, 4)], scale.is_refused
    ([False, True], True)
    """

    def __init__(self, are_inside: Iterable[bool] = (), *, is_refused: bool = False) -> None:
        self.are_inside = deque(are_inside, RECENT)
        self.is_refused = is_refused

    def see(self, *, is_inside: bool) -> bool:
        """Judge the next label; True when the topic is refused from now on, and was not before."""
        self.are_inside.append(is_inside)
        was_refused, n_outside = self.is_refused, self.are_inside.count(False)
        if was_refused:
            self.is_refused = n_outside > 0
        else:
            self.is_refused = n_outside > (TOLERATED if len(self.are_inside) >= ENOUGH else 0)
        return self.is_refused and not was_refused
