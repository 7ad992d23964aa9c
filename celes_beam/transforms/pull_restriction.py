"""How far an endless pull is: the restriction that a runner keeps between its bundles."""

from __future__ import annotations

import time
from collections.abc import Iterator

from apache_beam.io.iobase import RestrictionProgress, RestrictionTracker
from apache_beam.transforms.core import RestrictionProvider

Restriction = tuple[int, float, int]
"""Messages so far, when it all began (seconds since 1970), and the number of the bundle."""


class PullTracker(RestrictionTracker):
    """Claims messages by their number. Only a checkpoint splits it: one reader pulls at a time."""

    def __init__(self, restriction: Restriction) -> None:
        self._messages, self._began, self._bundle = restriction
        self._is_over = False

    def current_restriction(self) -> Restriction:
        """What was claimed so far."""
        return self._messages, self._began, self._bundle

    def current_progress(self) -> RestrictionProgress:
        """Nobody knows how much there is."""
        return RestrictionProgress(completed=0.0, remaining=1.0)

    def try_claim(self, messages: int) -> bool:
        """Whether so many messages may be emitted; 0 asks whether the bundle may go on."""
        if self._is_over:
            return False
        self._messages += messages
        return True

    def try_split(self, fraction_of_remainder: float) -> tuple[Restriction, Restriction] | None:
        """End here and go on in a later bundle, when asked for a checkpoint."""
        if fraction_of_remainder != 0 or self._is_over:
            return None
        self._is_over = True
        rest = (self._messages, self._began, self._bundle + 1)
        return self.current_restriction(), rest

    def check_done(self) -> bool:
        """It is done whenever its reader says so."""
        return True

    def is_bounded(self) -> bool:
        """Messages may come for ever."""
        return False


class PullProvider(RestrictionProvider):
    """One restriction, which a runner that drains the pipeline ends."""

    def initial_restriction(self, element: object) -> Restriction:
        """Nothing was pulled yet."""
        return 0, time.time(), 0

    def create_tracker(self, restriction: Restriction) -> PullTracker:
        """Go on from a restriction."""
        return PullTracker(restriction)

    def restriction_size(self, element: object, restriction: Restriction) -> int:
        """The same at all times."""
        return 1

    def split(self, element: object, restriction: Restriction) -> Iterator[Restriction]:
        """Not at all."""
        yield restriction

    def truncate(self, element: object, restriction: Restriction) -> None:
        """Nothing is left to do when a pipeline is drained."""
        return
