"""What the items that are over needed of the cache: what the next ones are expected to need."""

from __future__ import annotations

from dataclasses import astuple, dataclass

from charter_compiler.executor.scheduler.live_item import LiveItem

SURE_ITEMS = 2
"""Items of several calls that must have ended before it is judged whether they find enough of their own again."""
WORTH_KEEPING = 0.1
"""Share of the blocks of calls that their item must have left before, for items to be held back on that account."""


@dataclass(slots=True)
class EndedItems:
    """Sums over items, in blocks; fractions after ``as_first``.

    ``sized``: items that had calls of known blocks; ``footprints``: the most that their open calls held at once;
    ``needs``: what they would have needed to find all of their own again. ``returned``: items that made more than one
    call; ``begun_with``: private blocks of their calls, ``found``: how many of them a former call had left.
    """

    items: float = 0
    sized: float = 0
    footprints: float = 0
    needs: float = 0
    returned: float = 0
    begun_with: float = 0
    found: float = 0

    def add(self, item: LiveItem, capacity: int | None) -> None:
        """One more that is over."""
        self.items += 1
        if len(item.tails) > 1:
            self.returned += 1
            self.begun_with += item.begun_with
            self.found += item.found
        self.sized += item.footprint > 0
        self.footprints += item.footprint
        needed = item.needed()
        # What the whole cache cannot keep for one item alone is lost, however few items run.
        self.needs += needed if capacity is None or needed <= capacity else item.footprint

    def as_first(self) -> EndedItems:
        """The same in the place of the first ``SURE_ITEMS`` that return: what is expected, until others have ended."""
        of = self.returned or self.items
        return EndedItems(*(value * SURE_ITEMS / of for value in astuple(self))) if of else EndedItems()

    @property
    def spread(self) -> float:
        """How many times what their open calls hold at once they needed to keep what they came back to: more than 1
        where an item takes turns between prompts that begin differently."""
        return self.needs / self.footprints if self.footprints else 1.0

    @property
    def keep_between_calls(self) -> bool:
        """Whether an item's blocks are to last until its next call; taken for granted while few have ended."""
        if not self.returned and self.sized >= SURE_ITEMS:
            return False  # there is no next call
        return self.returned < SURE_ITEMS or self.found >= WORTH_KEEPING * self.begun_with > 0
