"""The basics of gRPC: diagrams of recorded exchanges, and commands that exist."""

import re
import shlex
from pathlib import Path

import pytest

from harness.paths import ROOT
from harness.record.manifest import MANIFEST, Manifest
from harness.record.record_file import read_record
from harness.record.stored_runs import StoredRun
from harness.site.basics import basics_page
from harness.site.chosen import choose_runs
from harness.site.run_facts import RunFacts, read_facts
from harness.site.sequence import METHODS, Exchange, exchanges_from
from harness.site.texts import read_text
from lb.driver_options import parse
from tests.unit.docs.prose import sentences, words
from tests.unit.synthetic.synthetic_run import GOLDEN

pytestmark = pytest.mark.whole_run

COMMANDS = sorted(
    set(re.findall(r"(?:^|`)(python -m lb\.driver [^`\n#]+?)\s*(?:`|$|#)", read_text("basics.md"), re.M))
)


@pytest.fixture(scope="module")
def facts() -> RunFacts:
    return read_facts(StoredRun(GOLDEN, read_record(GOLDEN / MANIFEST, Manifest)))


@pytest.fixture(scope="module")
def exchanges(facts: RunFacts) -> dict[str, Exchange]:
    return dict(exchanges_from(facts))


def test_a_unary_exchange_is_a_request_of_the_ledgers(
    facts: RunFacts, exchanges: dict[str, Exchange]
) -> None:
    exchange = exchanges["AddVideo"]
    request_id = int(exchange.origin.rpartition(" ")[2])
    cell = next(cell for cell in facts.run.cells if cell.record.route == "envoy")
    row = cell.requests().filter(request_id=request_id).collect().row(0, named=True)
    assert exchange.parties == ("client", "Envoy", row["replica"])
    *_, last = exchange.steps
    assert last.at_ms == pytest.approx((row["done_ns"] - row["sent_ns"]) / 1e6)


def test_the_moments_of_an_exchange_are_in_order(exchanges: dict[str, Exchange]) -> None:
    assert {"AddVideo", "ListVideos"} <= set(exchanges)
    for exchange in exchanges.values():
        times = [step.at_ms for step in exchange.steps if step.at_ms is not None]
        assert times == sorted(times)
        assert times[0] == 0


def test_the_page_draws_what_was_recorded_and_says_what_was_not(
    tmp_path: Path, exchanges: dict[str, Exchange]
) -> None:
    page = basics_page(choose_runs(tmp_path), exchanges)
    assert page.count('<figure class="sequence">') == len(exchanges)
    for method in set(METHODS) - set(exchanges):
        assert f"No {method} was recorded yet" in page
    assert "[[" not in page
    assert exchanges["AddVideo"].text in page


@pytest.mark.parametrize("command", COMMANDS)
def test_the_driver_takes_the_options_of_each_command(command: str) -> None:
    options = parse(shlex.split(command.replace("$SERVER", "127.0.0.1:8080"))[3:])
    assert options.target == "127.0.0.1:8080"


def test_commands_of_other_clients_stand_in_the_docs_that_are_tested() -> None:
    tested = (ROOT / "docs" / "clients.md").read_text()
    lines = re.findall(r"^grpcurl .*$", read_text("basics.md"), re.M)
    assert len(lines) >= 2
    for line in lines:
        assert line.replace(" -v ", " ") in tested.replace(" -v ", " ")


def test_no_sentence_is_too_long() -> None:
    assert not [one for one in sentences(read_text("basics.md")) if words(one) > 30]
