"""Which case to annotate next: where the two predictions agree least, and what it has not seen the like of."""

from collections.abc import Mapping, Sequence

import numpy as np


def expected_gains(agreement: Sequence[Mapping[str, float | None]]) -> np.ndarray:
    """How much there is to gain in each case, every class counting alike.

    A class that the model finds hard everywhere would else decide alone: what a class lacks of an agreement of 1 is
    divided by what it lacks on average over the cases.

    Args:
        agreement: of every case, class name -> agreement; None where the class was not found, which says nothing.

    Returns:
        (cases,) at least 0; 1 is usual.
    """
    names = list(dict.fromkeys(name for case in agreement for name in case))
    lacks = np.array(
        [[np.nan if case.get(n) is None else 1 - case[n] for n in names] for case in agreement], dtype=float
    )
    known = ~np.isnan(lacks)
    usual = np.where(known, lacks, 0).sum(0) / np.maximum(known.sum(0), 1)
    return np.where(known, lacks / np.maximum(usual, 1e-9), 1).mean(1)


def order_by_gain(gains: np.ndarray, apart: np.ndarray, chosen: Sequence[int] = ()) -> list[tuple[int, float]]:
    """Cases in the order in which to annotate them: much to gain, and no near-duplicate of what is annotated by then.

    Greedy: the next case has the highest product of gain and novelty. Novelty is the distance to the nearest case that
    is annotated or comes before, at most 1, the usual distance.

    Args:
        gains: (n,) of every case.
        apart: (n, n) distances, see ``distances_between``.
        chosen: cases that are annotated already.

    Returns:
        (case, novelty) of all others; among equals the first comes first.
    """
    left = [n for n in range(len(gains)) if n not in set(chosen)]
    nearest = apart[:, list(chosen)].min(1, initial=1.0)
    order = []
    while left:
        best = left.pop(int(np.argmax(np.round(gains[left] * nearest[left], 9))))
        order.append((best, float(nearest[best])))
        nearest = np.minimum(nearest, apart[:, best])
    return order
