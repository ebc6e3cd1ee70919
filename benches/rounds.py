"""Interleaved rounds: contenders take turns, so that noise falls on all of them alike."""

import statistics
import time


def seconds_of(run):
    """Time of one call; what it returns is dropped before the next contender starts."""
    start = time.perf_counter()
    result = run()
    elapsed = time.perf_counter() - start
    del result
    return elapsed


def take_turns(contenders, rounds, once=()):
    """Seconds of every contender in every round.

    Parameters
    ----------
    contenders : dict of str to callable
        Each does its work once and returns the seconds it took. The order turns by one from round
        to round: nobody always follows the same one.
    rounds : int
        Number of rounds, after one that is not counted.
    once : collection of str
        Those that take part in the first counted round only.

    Returns
    -------
    dict of str to list of float
    """
    names = list(contenders)
    seconds = {name: [] for name in names}
    for turn in range(-1, rounds):
        for at in range(len(names)):
            name = names[(at + turn) % len(names)]
            if name in once and turn != 0:
                continue
            elapsed = contenders[name]()
            if turn >= 0:
                seconds[name].append(elapsed)
    return seconds


def ratio(seconds, above, below):
    """Median over the rounds of one contender's time over another's in the same round.

    Who takes part once does so in the first.
    """
    pairs = zip(seconds[above], seconds[below], strict=False)
    return statistics.median(a / b for a, b in pairs)


def fastest(seconds, names):
    """Name of the contender with the lowest median."""
    return min(names, key=lambda name: statistics.median(seconds[name]))
