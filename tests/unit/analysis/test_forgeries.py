"""A record that was forged contradicts itself, even if the forger has sealed it again.

Each forgery changes a run that is sound, and seals it. What cannot be noticed is listed, too: whoever changes
every ledger alike leaves nothing to compare.
"""

import shutil

import polars as pl
import pytest

from harness.analysis.summary import summarise
from harness.errors import UserError
from harness.record.run_directory import read_run
from tests.unit.synthetic import stories
from tests.unit.synthetic.forger import DONE, ID, SENT, Forger
from tests.unit.synthetic.synthetic_run import EXPERIMENT, synthesise_run

pytestmark = pytest.mark.whole_run

MS = 1_000_000
TABLES = ("requests", "replicas", "proxy")
OK = pl.col("code") == "OK"
TENTH = SENT + (DONE - SENT) // 10

PROXIED = EXPERIMENT.replace("at_least_times: 12", "at_least_times: 4")
RETRIED = stories.experiment(
    {"retried": "route: envoy, policy: random, retries: {by: proxy, attempts: 3, on: [UNAVAILABLE]}"},
    replicas=", fail_share: 0.3",
    expect="[{arm: retried, metric: error_share, at_most: 0.5}]",
    repeats=3,
)
DIRECT = stories.experiment(
    {"direct": "route: direct, policy: round_robin"},
    replicas=", fail_share: 0.1, fail_code: INTERNAL",
    expect="[{arm: direct, metric: error_share, at_most: 0.5}]",
    repeats=3,
)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Name -> a sound run, and its cell that most forgeries change."""
    folder = tmp_path_factory.mktemp("sound")
    return {
        "proxied": (synthesise_run(folder, PROXIED), "sticky.1"),
        "retried": (synthesise_run(folder, RETRIED, requests=150, name="retried"), "retried.1"),
        "direct": (synthesise_run(folder, DIRECT, requests=150, name="direct"), "direct.1"),
    }


@pytest.fixture
def forger_of(sound, tmp_path):
    def copy(name):
        run, first = sound[name]
        return Forger(shutil.copytree(run, tmp_path / name), first)

    return copy


def slowest(forger, share):
    """The ids of the slowest requests of the measured window."""
    rows = forger.read("requests").sort(DONE - SENT)
    return rows["request_id"].tail(round(share * rows.height)).to_list()


def without_slowest(forger, *, hidden):
    """Remove the slowest 4 % from all ledgers; `hidden`: number the others without gaps, and plan fewer."""
    gone = slowest(forger, 0.04)
    forger.keep(~ID.is_in(gone))
    if hidden:
        rows = forger.read("requests").sort("request_id")
        number = (pl.int_range(pl.len()).over("client") + pl.col("client").cast(pl.Int64) * 10**9).alias(
            "new"
        )
        new = rows.select("request_id", number)
        for stem in (*TABLES, "messages"):
            forger.table(
                stem,
                lambda table: table.join(new, on="request_id").with_columns(request_id="new").drop("new"),
            )
        start_ns, end_ns = (forger.record()[f"measure_{end}_ns"] for end in ("start", "end"))
        inside = rows.filter(pl.col("planned_ns").is_between(start_ns, end_ns, closed="left"))
        forger.cell_json(planned_requests=inside.height)


def foreign_calls(forger, first_id):
    """5,000 more calls in the ledger of a replica."""

    def add(rows):
        row = rows.head(1)
        ids = pl.Series("request_id", [first_id + n if first_id >= 0 else -1 for n in range(5000)])
        more = pl.concat([row] * 5000).with_columns(ids)
        return pl.concat([rows, more])

    forger.table("replicas", add)


def half_copied(forger):
    """Every second request of repeat 2 is that of repeat 1, in all ledgers."""
    for stem in TABLES:
        first, second = (forger.read(stem, f"sticky.{repeat}") for repeat in (1, 2))
        mixed = pl.concat([first.filter(ID % 2 == 0), second.filter(ID % 2 == 1)])
        mixed.write_parquet(forger.folder("sticky.2") / f"{stem}.parquet")


def copied_later(forger):
    """Repeat 2 is repeat 1, everything a little later."""
    forger.copy("sticky.1", "sticky.2")
    later = 1234567
    cell = "sticky.2"
    forger.rows(
        "requests",
        cell=cell,
        **{n: pl.col(n) + later for n in ("planned_ns", "ready_ns", "sent_ns", "done_ns")},
    )
    forger.rows("replicas", cell=cell, arrived_ns=pl.col("arrived_ns") + later, done_ns=DONE + later)
    forger.rows("proxy", cell=cell, start_unix_ns=pl.col("start_unix_ns") + later)
    record = forger.record(cell)
    forger.cell_json(cell, epoch_unix_ns=record["epoch_unix_ns"] + 60_000_000_000)
    forger.rows("proxy", cell=cell, start_unix_ns=pl.col("start_unix_ns") + 60_000_000_000)


def moved_replica(forger, *stems):
    """Requests that replica-0 answered are those of replica-3 in these ledgers."""
    some = ID % 3 == 0
    name = {"requests": "replica", "replicas": "replica"}
    for stem in stems:
        if stem == "proxy":
            address = forger.record()["replicas"]
            forger.rows(
                stem, some & (pl.col("upstream") == address["replica-0"]), upstream=address["replica-3"]
            )
        else:
            forger.rows(stem, some & (pl.col(name[stem]) == "replica-0"), **{name[stem]: "replica-3"})
    forger.rows("messages", some & (pl.col("replica") == "replica-0"), replica="replica-3")


def one_more(forger):
    """A request that never was, in all ledgers."""
    number = forger.read("requests").filter(client=0)["request_id"].max() + 1
    for stem in TABLES:
        forger.table(
            stem,
            lambda rows: pl.concat(
                [rows, rows.filter(ID.min() == ID).with_columns(request_id=pl.lit(number, pl.Int64))]
            ),
        )


def twice(forger):
    """The clients' ledger has each row of a client twice."""
    forger.table("requests", lambda rows: pl.concat([rows, rows.filter(client=1)]))


FORGERIES = {
    # What the issue names.
    "all codes UNAVAILABLE": lambda f: f.rows("requests", code="UNAVAILABLE"),
    "ends before sends": lambda f: f.rows("requests", done_ns=SENT - MS),
    "latencies cut by 90 %": lambda f: f.rows("requests", done_ns=TENTH),
    "OK without a replica": lambda f: f.rows("requests", OK & (ID % 7 == 0), replica=""),
    "replica codes INTERNAL": lambda f: f.rows("replicas", code="INTERNAL"),
    "Envoy 503 with 7 attempts": lambda f: f.rows("proxy", http=503, attempts=7),
    "5,000 foreign calls": lambda f: foreign_calls(f, -1),
    "the slowest 4 % removed": lambda f: without_slowest(f, hidden=False),
    "repeat 2 is a copy of repeat 1": lambda f: f.copy("sticky.1", "sticky.2"),
    # The same, better hidden.
    "5,000 foreign calls with ids": lambda f: foreign_calls(f, 900_000_000_000),
    "latencies cut at client and proxy": lambda f: (
        f.rows("requests", done_ns=TENTH),
        f.rows("proxy", duration_us=pl.col("duration_us") // 12, duration_ms=pl.col("duration_ms") // 12),
    ),
    "latencies cut at client and replicas": lambda f: (
        f.rows("requests", done_ns=TENTH),
        f.rows("replicas", done_ns=pl.col("arrived_ns"), queue_ns=0, service_ns=0),
    ),
    "the slowest 4 % removed, the rest numbered anew": lambda f: without_slowest(f, hidden=True),
    "half of repeat 2 is repeat 1": half_copied,
    "repeat 2 is repeat 1, later": copied_later,
    "another arm's cell": lambda f: f.copy("round_robin.1", "sticky.1"),
    "another arm's clients": lambda f: f.copy("round_robin.1", "sticky.1", "requests"),
    # Times.
    "the plan follows the sends": lambda f: f.rows("requests", planned_ns=SENT, ready_ns=SENT),
    "sent early": lambda f: f.rows("requests", ID % 5 == 0, sent_ns=pl.col("planned_ns") - MS),
    "ready before planned": lambda f: f.rows("requests", ready_ns=pl.col("planned_ns") - 1),
    "Envoy an hour ago": lambda f: f.rows("proxy", start_unix_ns=pl.col("start_unix_ns") - 3_600_000_000_000),
    "Envoy 50 ms late": lambda f: f.rows("proxy", start_unix_ns=pl.col("start_unix_ns") + 50 * MS),
    "Envoy without times": lambda f: f.rows("proxy", start_unix_ns=None),
    "replicas 10 ms early": lambda f: f.rows("replicas", arrived_ns=pl.col("arrived_ns") - 10 * MS),
    "replicas finish 1 s later": lambda f: f.rows("replicas", done_ns=DONE + 1000 * MS),
    "longer service than time there": lambda f: (
        f.rows("requests", service_ns=pl.col("service_ns") + 5 * MS),
        f.rows("replicas", service_ns=pl.col("service_ns") + 5 * MS),
    ),
    "negative queues": lambda f: (f.rows("requests", queue_ns=-1), f.rows("replicas", queue_ns=-1)),
    "the proxy was quicker than the replica": lambda f: f.rows(
        "proxy", duration_us=pl.col("duration_us") // 2, duration_ms=pl.col("duration_ms") // 2
    ),
    # Who answered, and what.
    "another replica at the client": lambda f: moved_replica(f, "requests"),
    "another replica at client and proxy": lambda f: moved_replica(f, "requests", "proxy"),
    "another replica at client and replicas": lambda f: moved_replica(f, "requests", "replicas"),
    "failures hidden by the client": lambda f: f.rows("requests", ~OK, code="OK"),
    "failures hidden by the replicas": lambda f: f.rows("replicas", ~OK, code="OK"),
    "failures hidden by Envoy": lambda f: f.rows("proxy", pl.col("grpc") != "OK", grpc="OK"),
    "failures removed by the client": lambda f: f.table("requests", lambda rows: rows.filter(OK)),
    "failures removed from all ledgers": lambda f: f.keep(
        ~ID.is_in(f.read("requests").filter(~OK)["request_id"].to_list())
    ),
    "another code at Envoy": lambda f: f.rows("proxy", pl.col("grpc") != "OK", grpc="RESOURCE_EXHAUSTED"),
    "deadlines that had not come": lambda f: f.rows("requests", ID % 9 == 0, code="DEADLINE_EXCEEDED"),
    "cancelled by nobody": lambda f: f.rows("requests", ID % 9 == 0, code="CANCELLED"),
    "cancelled at client and proxy": lambda f: (
        f.rows("requests", ID % 9 == 0, code="CANCELLED", replica=""),
        f.rows("proxy", ID % 9 == 0, grpc=None, http=0, flags="DC", details="downstream_remote_disconnect"),
    ),
    "queues not as the replica says": lambda f: f.rows("requests", queue_ns=0),
    "in flight not as the replica says": lambda f: f.rows("requests", in_flight=1000),
    "one connection for all": lambda f: f.rows("requests", connection="1"),
    "another method": lambda f: f.rows("requests", method="GetVideos"),
    "another client's requests": lambda f: f.rows("requests", client=7),
    # Which requests there are.
    "a request that never was": one_more,
    "rows twice": twice,
    "a stream without a message": lambda f: f.table("messages", lambda rows: rows.slice(1)),
    "messages of another replica": lambda f: f.rows("messages", ID % 2 == 0, replica="replica-3"),
    "messages before their send": lambda f: f.rows("messages", received_ns=SENT - 1),
    "messages of nobody": lambda f: f.rows("messages", request_id=ID + 900_000_000_000),
    "a shorter window": lambda f: f.cell_json(measure_end_ns=f.record()["measure_end_ns"] - 500 * MS),
    "a later window": lambda f: f.cell_json(
        measure_start_ns=f.record()["measure_start_ns"] + 100 * MS,
        measure_end_ns=f.record()["measure_end_ns"] + 100 * MS,
    ),
    "fewer planned": lambda f: f.cell_json(planned_requests=f.record()["planned_requests"] - 1),
    # Excuses.
    "more attempts allowed": lambda f: f.cell_json(max_attempts=7),
    "another route": lambda f: f.cell_json(route="direct"),
    "another policy": lambda f: f.cell_json(policy="random"),
    "clients that wait": lambda f: f.cell_json(awaits_answers=True),
    "ledgers that nobody can read": lambda f: f.cell_json(missing_ledgers={"replica": "not ours"}),
    "clocks of their own": lambda f: f.cell_json(own_clocks=True),
    "ledgers said to be incomplete": lambda f: f.cell_json(incomplete_ledgers=["replica-0"]),
    "another repeat": lambda f: f.cell_json(repeat=2),
}
WITH_RETRIES = {
    "more attempts than the policy has": lambda f: f.rows("proxy", attempts=4),
    "more attempts than the proxy made": lambda f: f.rows("proxy", attempts=1),
    "repeated after another code": lambda f: f.rows("replicas", ~OK, code="INTERNAL"),
    "repeated after OK": lambda f: f.rows("replicas", code="OK"),
    "sent to the proxy again and again": lambda f: f.table("proxy", lambda rows: pl.concat([rows] * 4)),
    "attempts at replicas that nobody made": lambda f: f.table(
        "replicas", lambda rows: pl.concat([rows] * 4)
    ),
}
DIRECTLY = {
    "all codes UNAVAILABLE": lambda f: f.rows("requests", code="UNAVAILABLE"),
    "another code": lambda f: f.rows("requests", ~OK, code="RESOURCE_EXHAUSTED"),
    "failures hidden by the client": lambda f: f.rows("requests", ~OK, code="OK"),
    "failures hidden by the replicas": lambda f: f.rows("replicas", ~OK, code="OK"),
    "latencies cut by 90 %": lambda f: f.rows("requests", done_ns=TENTH),
    "replicas before the send": lambda f: f.rows("replicas", arrived_ns=pl.col("arrived_ns") - MS),
    "another peer": lambda f: f.rows("replicas", peer="127.0.0.1:1"),
    "answered by another replica": lambda f: moved_replica(f, "requests"),
    "the slowest 4 % removed": lambda f: without_slowest(f, hidden=False),
    "repeat 2 is a copy of repeat 1": lambda f: f.copy("direct.1", "direct.2"),
    "5,000 foreign calls": lambda f: foreign_calls(f, -1),
}
ALL = {
    **{("proxied", name): forge for name, forge in FORGERIES.items()},
    **{("retried", name): forge for name, forge in WITH_RETRIES.items()},
    **{("direct", name): forge for name, forge in DIRECTLY.items()},
}


def reasons(run):
    summary = summarise(read_run(run))
    return summary.verdict, summary.invalid_reasons


@pytest.mark.parametrize("name", ["proxied", "retried", "direct"])
def test_a_sound_run_contradicts_nothing(forger_of, name):
    forger = forger_of(name)
    forger.seal()
    verdict, found = reasons(forger.run)
    assert found == []
    assert verdict == "held"


@pytest.mark.parametrize(("base", "name"), ALL)
def test_a_forgery_is_noticed(forger_of, base, name):
    forger = forger_of(base)
    ALL[base, name](forger)
    forger.seal()
    verdict, found = reasons(forger.run)
    assert verdict == "inconclusive"
    assert found
    assert all("seal" not in reason for reason in found)


@pytest.mark.parametrize(("requests", "noticed"), [(2, False), (3, True)])
def test_envoy_may_be_interrupted_between_its_two_clocks(forger_of, requests, noticed):
    """The duration of such a request is too short: it seems to leave Envoy before the replica's end."""
    forger = forger_of("proxied")
    assert forger.read("requests").height < 3000
    slow = forger.read("replicas").filter(pl.col("service_ns") > 8 * MS, OK)["request_id"].to_list()
    short = {"duration_us": pl.col("duration_us") // 4, "duration_ms": pl.col("duration_ms") // 4}
    forger.rows("proxy", ID.is_in(slow[:requests]), **short)
    forger.seal()
    found = reasons(forger.run)[1]
    assert [f"{requests} requests left the proxy with OK before the end" in reason for reason in found] == (
        [True] if noticed else []
    )


def test_times_at_the_end_of_64_bits_are_refused_in_one_line(forger_of):
    """The plan that begins there does not fit into a table."""
    forger = forger_of("proxied")
    forger.rows("requests", planned_ns=2**63 - 1)
    forger.seal()
    with pytest.raises(UserError, match=r"sticky\.1") as caught:
        reasons(forger.run)
    assert "\n" not in str(caught.value)


# What no check of contents can notice: every ledger tells the same tale.
UNNOTICED = {
    "all of it happened later": lambda f: (
        f.rows("requests", done_ns=DONE + MS),
        f.rows("replicas", done_ns=DONE + MS),
        f.rows("proxy", duration_us=pl.col("duration_us") + 1000, duration_ms=pl.col("duration_ms") + 1),
    ),
    "less queue, more service": lambda f: [
        f.rows(stem, queue_ns=0, service_ns=pl.col("queue_ns") + pl.col("service_ns"))
        for stem in ("requests", "replicas")
    ],
    "another replica in all ledgers": lambda f: moved_replica(f, *TABLES),
    "another expectation": lambda f: (f.run / "experiment.yaml").write_text(
        (f.run / "experiment.yaml").read_text().replace("at_least_times: 4", "at_least_times: 2")
    ),
}


@pytest.mark.parametrize("name", UNNOTICED)
def test_a_forgery_of_all_ledgers_alike_breaks_only_the_seals(forger_of, name):
    forger = forger_of("proxied")
    UNNOTICED[name](forger)
    verdict, found = reasons(forger.run)
    assert verdict == "inconclusive"
    assert any("the seal of" in reason for reason in found)
    forger.seal()
    assert reasons(forger.run)[1] == []
