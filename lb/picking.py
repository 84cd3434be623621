"""Clients that pick the replica of each call themselves, over one channel for each replica.

C-core's own policies know nothing of a replica's load but its reports. These policies look at requests in
flight: the client's own (LeastRequest), or the replica's, which it asks for (lb.probing).
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol

import grpc

from lb.calls import Answer, OutgoingCall, VideoCalls
from lb.own_calls import OwnCalls

if TYPE_CHECKING:
    from lb.policies import LeastRequestOptions

Calls = VideoCalls | OwnCalls


class Picker(Protocol):
    """Picks the replicas of one client's calls."""

    async def prepare(self) -> None:
        """Get ready for the first call, when the channels are connected."""
        ...

    def pick(self, usable: Sequence[int], in_flight: Sequence[int]) -> int:
        """Return the place of the next call's replica, one of `usable`, which is not empty.

        `in_flight`: the client's own calls under way, by place.
        """
        ...

    def close(self) -> None:
        """End what is under way."""
        ...


class LeastRequest:
    """Draws some replicas and takes the one to which the client has the fewest calls under way.

    Of several such, the one drawn first. Source: M. Mitzenmacher, "The Power of Two Choices in Randomized
    Load Balancing", IEEE Transactions on Parallel and Distributed Systems 12 (2001); gRFC A48 for gRPC.
    """

    def __init__(self, options: LeastRequestOptions, draws: random.Random) -> None:
        self._choices = options.choices
        self._draws = draws

    async def prepare(self) -> None:
        """Do nothing."""

    def pick(self, usable: Sequence[int], in_flight: Sequence[int]) -> int:
        """See Picker."""
        drawn = self._draws.sample(usable, min(self._choices, len(usable)))
        return min(drawn, key=in_flight.__getitem__)

    def close(self) -> None:
        """Do nothing."""


class PickedCalls:
    """Makes each call at the replica that `picker` picks. `channels`, `calls`: of each replica, in one order.

    A replica whose channel is not connected is not picked, as with gRPC's round robin; if none is connected,
    all may be.
    """

    def __init__(self, channels: Sequence[grpc.aio.Channel], calls: Sequence[Calls], picker: Picker) -> None:
        self._channels = channels
        self._calls = calls
        self._methods = [one.by_method() for one in calls]
        self._picker = picker
        self._in_flight = [0] * len(calls)

    async def prepare(self) -> None:
        """Get ready for the first call, when the channels are connected."""
        await self._picker.prepare()

    async def _call(self, method: str, outgoing: OutgoingCall) -> Answer:
        place = self._picker.pick(self._usable(), self._in_flight)
        self._in_flight[place] += 1
        try:
            return await self._methods[place][method](outgoing)
        finally:
            self._in_flight[place] -= 1

    def _usable(self) -> Sequence[int]:
        # A channel whose connection has broken connects again only when it is asked to.
        states = [channel.get_state(try_to_connect=True) for channel in self._channels]
        ready = [place for place, state in enumerate(states) if state is grpc.ChannelConnectivity.READY]
        return ready or range(len(states))

    def cancel_open_calls(self) -> None:
        """End the open unary calls with CANCELLED, and what the picker has under way."""
        self._picker.close()
        for one in self._calls:
            one.cancel_open_calls()

    def by_method(self) -> Mapping[str, Callable[[OutgoingCall], Awaitable[Answer]]]:
        """Return the calls by the method's name."""
        return {name: partial(self._call, name) for name in self._methods[0]}
