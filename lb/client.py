"""One client: it makes its planned calls over its own connections and records a row for each."""

import asyncio
import random
import time
from collections import deque
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lb.calls import Answer, OutgoingCall, VideoCalls
from lb.channel import connect, open_channel
from lb.clock import sleep_until
from lb.hedging import HedgedCalls
from lb.open_loop import OpenLoop
from lb.own_calls import OwnCalls
from lb.picking import Calls, LeastRequest, PickedCalls, Picker
from lb.plan import NOT_RECORDED, NS_PER_S, PlannedCall
from lb.probing import Probing, asks_over
from lb.rows import REQUEST_IDS_PER_CLIENT, answer_columns
from lb.session import Session
from lb.settings import ClientSettings
from lb.subsets import settings_of_client

Row = tuple[int | str, ...]


@dataclass
class Rows:
    """Finished rows, with the columns of lb.rows. One thread appends while another removes.

    `failures`: the gRPC code and the message of each failed request.
    """

    requests: deque[Row] = field(default_factory=deque)
    messages: deque[Row] = field(default_factory=deque)
    failures: deque[tuple[str, str]] = field(default_factory=deque)


class Client:
    """A client. Create and use it on one event loop. Every ledger names it by `number`."""

    def __init__(self, number: int, settings: ClientSettings, rows: Rows) -> None:
        self._number = number
        self._settings = settings = settings_of_client(settings, number)
        self._rows = rows
        self._channels = [open_channel(replace(settings, target=one)) for one in settings.channel_targets]
        self._makers = self._makers_of_calls()
        self._calls = [maker.by_method() for maker in self._makers]
        self._sequence = 0
        self._session: Session | None = None

    def _makers_of_calls(self) -> Sequence[VideoCalls | OwnCalls | HedgedCalls | PickedCalls]:
        """Return what makes the calls. Calls take these in turn."""
        settings = self._settings
        if settings.pick:
            each = [self._calls_over(channel) for channel in self._channels]
            return [PickedCalls(self._channels, each, self._picker())]
        if settings.service or settings.hedge_after_ms is None:
            return [self._calls_over(channel) for channel in self._channels]
        calls = [self._video_calls(channel) for channel in self._channels]
        # As gRPC's round robin does, each client begins its turns at a place of its own.
        turn = random.Random(f"turn/{settings.draw}/{self._number}").randrange(len(calls))
        return [HedgedCalls(calls, settings.hedge_after_ms / 1000, settings.hedge_attempts, turn)]

    def _calls_over(self, channel: Any) -> Calls:
        settings = self._settings
        return OwnCalls(channel, settings, self._number) if settings.service else self._video_calls(channel)

    def _video_calls(self, channel: Any) -> VideoCalls:
        settings = self._settings
        return VideoCalls(
            channel, settings.messages_per_stream, settings.message_gap_ms, settings.payload_bytes
        )

    def _picker(self) -> Picker:
        # Imported by a client that picks. Pydantic would be a sixth of the imports of every load process.
        from lb.policies import LeastRequestOptions, ProbingOptions

        settings = self._settings
        draws = random.Random(f"pick/{settings.draw}/{self._number}")
        if settings.pick == "probing":
            options = ProbingOptions.model_validate(dict(settings.pick_options))
            return Probing([asks_over(channel) for channel in self._channels], options, draws)
        return LeastRequest(LeastRequestOptions.model_validate(dict(settings.pick_options)), draws)

    async def connect(self) -> None:
        """Connect all channels: see lb.channel.connect. Then let the client's own policy get ready."""
        await asyncio.gather(*(connect(channel, self._settings.target) for channel in self._channels))
        for maker in self._makers:
            if isinstance(maker, PickedCalls):
                await maker.prepare()

    async def run_open_loop(
        self, plan: Iterator[PlannedCall], start_ns: int, end_ns: int | None = None
    ) -> None:
        """Send each call at its planned time and return when all have ended.

        `start_ns`, `end_ns`: start and end of the phase (monotonic ns). Without await_each_answer earlier
        calls delay nothing. With it a call waits until the call before it has ended, and calls that would be
        sent later than one deadline after `end_ns` are not sent (None: all are sent).
        """
        if self._settings.await_each_answer:
            await self._run_in_turn(plan, start_ns, end_ns)
            return
        await OpenLoop(plan, start_ns, self._planned_call).run()

    def _planned_call(self, call: PlannedCall, planned_ns: int) -> Coroutine[Any, Any, int]:
        return self.call(call.method, planned_ns, work_ns=call.work_ns)

    async def _run_in_turn(self, plan: Iterator[PlannedCall], start_ns: int, end_ns: int | None) -> None:
        deadline_ns = round(self._settings.deadline_s * NS_PER_S)
        answered_ns = 0
        for call in plan:
            planned_ns = start_ns + call.at_ns
            await sleep_until(planned_ns)
            if end_ns is not None and time.monotonic_ns() > end_ns + deadline_ns:
                self._sequence += 1 + sum(1 for _ in plan)  # calls that are not sent keep their numbers
                return
            answered_ns = await self.call(call.method, planned_ns, answered_ns, call.work_ns)

    async def run_closed_loop(
        self, plan: Iterator[PlannedCall], start_ns: int, end_ns: int, first_number: int = 0
    ) -> None:
        """Send each call one think time after the last answer, until `end_ns` (monotonic ns).

        `first_number`: of the first call, in request ids.
        """
        self._sequence = first_number
        planned_ns = start_ns
        for call in plan:
            planned_ns += call.at_ns
            if planned_ns >= end_ns:
                return
            await sleep_until(planned_ns)
            await self.call(call.method, planned_ns)
            planned_ns = time.monotonic_ns()

    async def call(
        self, method: str, planned_ns: int, not_before_ns: int = 0, work_ns: int = NOT_RECORDED
    ) -> int:
        """Make one call, planned for `planned_ns` (monotonic ns), record its row, and return when it ended.

        `not_before_ns`: when the answer came that the caller has waited for. Until then, and until the
        session's first answer, the call is not ready to be sent: that wait is no lag of the generator.
        `work_ns`: the service time that the replica is asked for; NOT_RECORDED: it draws one.
        """
        session, sequence = self._session_at(planned_ns), self._sequence
        self._sequence += 1
        ready_ns = max(planned_ns, not_before_ns)
        if session.first_call_sent and self._settings.await_first_answer:
            # The first answer brings the cookie. Before that the balancer cannot know the session.
            await session.first_call_ended.wait()
            ready_ns = max(ready_ns, session.first_answer_ns)
        session.first_call_sent = True
        request_id = self._number * REQUEST_IDS_PER_CLIENT + sequence
        outgoing = OutgoingCall(
            f"{self._settings.key_prefix}-{request_id}",
            session.metadata(request_id, work_ns),
            self._settings.deadline_s,
            planned_ns,
            session.update,
            sequence,
        )
        sent_ns = time.monotonic_ns()
        try:
            answer = await self._calls[sequence % len(self._calls)][method](outgoing)
            session.update(answer.initial)
            session.update(answer.trailing)
        except BaseException:
            session.end_first_call(time.monotonic_ns())  # so that later calls do not wait for ever
            raise
        session.end_first_call(answer.done_ns)
        identity = (request_id, self._number, session.number, method)
        self._record(identity, (planned_ns, ready_ns, sent_ns), answer)
        return answer.done_ns

    def _session_at(self, planned_ns: int) -> Session:
        """Return the session of a call planned for that time. Opens a new one if the last has ended."""
        session = self._session
        if session is None or (session.ends_ns is not None and planned_ns >= session.ends_ns):
            number = 0 if session is None else session.number + 1
            session = self._session = Session(self._number, number, planned_ns, self._settings)
        return session

    def _record(self, identity: Row, times_ns: tuple[int, int, int], answer: Answer) -> None:
        epoch_ns = self._settings.epoch_ns
        planned_ns, ready_ns, sent_ns = times_ns
        code, done_ns, initial_pairs, trailing_pairs, messages, error = answer
        # Of several values of a name the first counts.
        initial: dict[str, Any] = dict(reversed(initial_pairs))
        trailing: dict[str, Any] = dict(reversed(trailing_pairs))
        if code != "OK":
            self._rows.failures.append((code, error))
        self._rows.requests.append(
            (
                *identity,
                planned_ns - epoch_ns,
                ready_ns - epoch_ns,
                sent_ns - epoch_ns,
                done_ns - epoch_ns,
                *answer_columns(code, len(messages), initial, trailing, self._settings.replica_key),
            )
        )
        for number, (*instants_ns, replica) in enumerate(messages):
            planned_ns, sent_ns, received_ns = (at_ns - epoch_ns for at_ns in instants_ns)
            self._rows.messages.append((identity[0], number, planned_ns, sent_ns, received_ns, replica))

    async def close(self) -> None:
        """Close the connections. Calls that are still open end with CANCELLED."""
        for maker in self._makers:
            maker.cancel_open_calls()
        await asyncio.gather(*(channel.close() for channel in self._channels))
