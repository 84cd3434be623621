"""A batch of finished calls counts in Locust's statistics as the same calls one by one would."""

from hypothesis import given
from hypothesis import strategies as st
from locust.stats import RequestStats

from load.locust_adapter import CallFailedError, FinishedCall, add_calls

calls = st.builds(
    FinishedCall,
    st.sampled_from(["AddVideo", "GetVideo"]),
    st.sampled_from(["replica-0", "replica-1", "(no answer)"]),
    st.floats(0, 100_000),
    st.sampled_from(["OK", "OK", "UNAVAILABLE", "DEADLINE_EXCEEDED"]),
)


def figures(stats: RequestStats) -> dict[tuple[str, str], dict[str, object]]:
    entries = {("Aggregated", ""): stats.total, **stats.entries}
    return {
        key: {
            "requests": entry.num_requests,
            "failures": entry.num_failures,
            "mean_ms": round(entry.avg_response_time, 6),
            "least_ms": entry.min_response_time,
            "most_ms": entry.max_response_time,
            "times": dict(entry.response_times),
            "in_all_seconds": sum(entry.num_reqs_per_sec.values()),
        }
        for key, entry in entries.items()
    }


@given(st.lists(st.lists(calls, max_size=20), max_size=4))
def test_batches_count_as_their_calls_one_by_one(batches: list[list[FinishedCall]]) -> None:
    together, one_by_one = RequestStats(), RequestStats()
    for batch in batches:
        add_calls(together, batch)
        for call in batch:
            one_by_one.log_request(call.method, call.name, call.took_ms, 0)  # type: ignore[arg-type]
            if call.code != "OK":
                one_by_one.log_error(call.method, call.name, CallFailedError(call.code))
    assert figures(together) == figures(one_by_one)
    assert {key: error.occurrences for key, error in together.errors.items()} == {
        key: error.occurrences for key, error in one_by_one.errors.items()
    }


def test_a_worker_sends_its_batches_to_the_master_once() -> None:
    """The worker of a distributed load empties its entries when it reports them."""
    stats = RequestStats(use_response_times_cache=False)
    for _ in range(2):
        add_calls(stats, [FinishedCall("AddVideo", "replica-0", 5.0, "OK")])
        (report,) = stats.serialize_stats()
        assert (report["num_requests"], report["response_times"]) == (1, {5: 1})
