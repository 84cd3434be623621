"""Random numbers of a simulation: SplitMix64, whose whole state is one number.

Source: G. Steele, D. Lea, C. Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014.
"""

from typing import Any

import numpy as np

from simulator.compiled import compiled, whole

_GAP = np.uint64(0x9E3779B97F4A7C15)


@compiled
def mixed(value: Any) -> Any:
    """Return 64 random bits that belong to a number."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@compiled
def next_state(state: Any) -> Any:
    """Return the state after this one; its random bits are mixed(state)."""
    return state + _GAP


@compiled
def below(bits: Any, count: int) -> int:
    """Return a number from 0 to count - 1; all are equally likely, as far as 32 bits allow."""
    return whole(((bits >> np.uint64(32)) * np.uint64(count)) >> np.uint64(32))


@compiled
def unit(bits: Any) -> float:
    """Return a number in [0, 1) with 53 bits."""
    return np.float64(bits >> np.uint64(11)) * 2.0**-53


@compiled
def draw(world: Any) -> Any:
    """Return the next 64 random bits of a simulation. world: a record with a field `random`."""
    world.random = next_state(world.random)
    return mixed(world.random)


@compiled
def deal(world: Any, items: Any, count: int, place: int) -> Any:
    """Return one of items[place:count], all equally likely, and put it at `place`: so none comes twice."""
    other = place + below(draw(world), count - place)
    items[place], items[other] = items[other], items[place]
    return items[place]
