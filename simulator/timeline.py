"""What is to happen, in order of time, and lists of records that wait in line."""

from typing import Any

from simulator.compiled import compiled
from simulator.state import NONE, Records, State


@compiled
def push(s: State, after_ns: int, kind: int, record: int) -> None:
    """Let something happen to a record after some time. Of equal times the one asked for first is first."""
    world, heap = s.world[0], s.heap
    world.order += 1
    at_ns, place = world.now_ns + after_ns, world.pending
    world.pending += 1
    while place > 0:
        above = (place - 1) // 2
        if heap[above].at_ns <= at_ns:
            break
        _copy(heap[above], heap[place])
        place = above
    entry = heap[place]
    entry.at_ns, entry.order, entry.kind, entry.record = at_ns, world.order, kind, record


@compiled
def pop(s: State) -> tuple[int, int]:
    """Remove what happens next, set the time to then, and return its kind and record."""
    world, heap = s.world[0], s.heap
    kind, record = heap[0].kind, heap[0].record
    world.now_ns = heap[0].at_ns
    world.pending -= 1
    last, place = heap[world.pending], 0
    while True:
        below = 2 * place + 1
        if below >= world.pending:
            break
        if below + 1 < world.pending and _before(heap[below + 1], heap[below]):
            below += 1
        if _before(last, heap[below]):
            break
        _copy(heap[below], heap[place])
        place = below
    _copy(last, heap[place])
    return kind, record


@compiled
def _before(one: Any, other: Any) -> bool:
    if one.at_ns != other.at_ns:
        return one.at_ns < other.at_ns
    return one.order < other.order


@compiled
def _copy(source: Any, target: Any) -> None:
    target.at_ns, target.order = source.at_ns, source.order
    target.kind, target.record = source.kind, source.record


@compiled
def join_line(line: Any, members: Records, member: int) -> None:
    """Put a member at the end of a line. line: a record with first and last; members: records with next."""
    members[member].next = NONE
    if line.first == NONE:
        line.first = member
    else:
        members[line.last].next = member
    line.last = member


@compiled
def leave_line(line: Any, members: Records) -> int:
    """Remove the first of a line and return it; NONE if the line is empty."""
    first = line.first
    if first != NONE:
        line.first = members[first].next
        if line.first == NONE:
            line.last = NONE
    return first
