"""How many numbers so far lie below this one? Counts on a fixed grid, in memory that is flat.

The sums are those of a tree of Fenwick (1994, Softw. Pract. Exp. 24): adding a number and asking
how many lie below each take the logarithm of the size of the grid.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

STEP = 1 / 64
"""Distance of two places of the grid."""
REACH = 512
"""Numbers beyond it, to both sides, are put on its last places."""
_SIZE = 2 * int(REACH / STEP) + 1


def code_of(numbers: ArrayLike) -> NDArray[np.int64]:
    """(n,) places on the grid, by a function that is fixed before any number is seen.

    >>> code_of([-1e9, 0.0, 1 / 64]).tolist()
    [0, 32768, 32769]
    """
    steps = np.rint(np.clip(np.asarray(numbers, float), -REACH, REACH) / STEP)
    codes: NDArray[np.int64] = steps.astype(np.int64) + _SIZE // 2
    return codes


class Tally:
    """How many numbers lie at each place of the grid and below it; it starts with some counts.

    >>> seen = Tally({int(code_of(0.0)): 1, int(code_of(1.0)): 2})
    >>> seen.n, seen.below(int(code_of(1.0)))
    (3, 1)
    """

    def __init__(self, counts: Mapping[int, int]) -> None:
        self.n, self._tree = 0, [0] * (_SIZE + 1)
        for code, count in counts.items():
            self.add(code, count)

    def add(self, code: int, count: int = 1) -> None:
        """Count a number, or several."""
        self.n += count
        place, tree = code + 1, self._tree
        while place <= _SIZE:
            tree[place] += count
            place += place & -place

    def below(self, code: int) -> int:
        """How many lie at lower places."""
        place, tree, found = code, self._tree, 0
        while place:
            found += tree[place]
            place &= place - 1
        return found


def counted(pairs: Iterable[Iterable[int]]) -> Counter[int]:
    """Counts by place from [place, count] pairs. Raises ValueError for what cannot be such.

    >>> counted([[5, 2]])
    Counter({5: 2})
    """
    found = Counter[int]()
    for code, count in pairs:
        inside = 0 <= int(code) < _SIZE and int(count) >= 1
        if not inside or code in found:
            raise ValueError(f"{count} numbers at place {code}")
        found[int(code)] = int(count)
    return found
