"""Parts that overlap are read side by side (`domain.md` §1.3)."""

from hypothesis import given
from hypothesis import strategies as st

from offline_feature_plane.sources.logs.side_by_side import side_by_side


class Parts:
    """Parts of numbers that say how many of them are open."""

    def __init__(self, parts):
        self.parts, self.open, self.most = parts, 0, 0

    def given(self):
        """As they are merged."""
        return [(first, self._read(numbers)) for first, numbers in self.parts]

    def _read(self, numbers):
        self.open += 1
        self.most = max(self.most, self.open)
        for number in numbers:
            yield number, str(number)
        self.open -= 1


@given(st.lists(st.tuples(st.integers(0, 40), st.lists(st.integers(0, 9), max_size=6)), max_size=8))
def test_all_items_come_once_by_number_and_part(drawn):
    """Whatever overlaps, repeats, or is empty."""
    parts = Parts([(first, sorted(first + one for one in steps)) for first, steps in sorted(drawn, key=lambda one: one[0])])
    expected = sorted((number, part) for part, (_, numbers) in enumerate(parts.parts) for number in numbers)
    assert [(number, part) for number, part, item in side_by_side(parts.given()) if item == str(number)] == expected
    assert parts.open == 0


def test_a_chain_of_overlaps_holds_no_more_open_than_overlap():
    """Ten thousand segments, each of which repeats the last offset of the one before, are never open all at once.

    0  ├──────┤
    1         ├──────┤
    2                ├──────┤      two of them meet in one offset
    """
    parts = Parts([(9 * place, range(9 * place, 9 * place + 10)) for place in range(10_000)])
    assert sum(1 for _ in side_by_side(parts.given())) == 100_000
    assert parts.most == 2
