"""The replica's ledger: each row is in the file at once, and is read back unchanged."""

from pathlib import Path

import pytest

from services.call import NO_REQUEST_ID, Call, Metadata, address_of, request_of
from services.lab_control_pb2 import LedgerRow
from services.ledger import COLUMNS, Ledger


def row_of(number: int) -> tuple[Call, LedgerRow]:
    call = Call(number, "GetVideo", "127.0.0.1:4321", number + 1, 3, queue_ns=5, service_ns=7, messages=2)
    expected = LedgerRow(
        request_id=number,
        method="GetVideo",
        peer="127.0.0.1:4321",
        arrived_ns=number + 1,
        done_ns=number + 9,
        queue_ns=5,
        service_ns=7,
        in_flight=3,
        messages=2,
        code="OK",
    )
    return call, expected


def test_the_file_is_csv_with_a_header_and_complete_at_any_time(tmp_path: Path) -> None:
    path = tmp_path / "replica-0.csv"
    ledger = Ledger(path)
    assert path.read_text() == ",".join(COLUMNS) + "\n"
    ledger.append(row_of(17)[0], 26, "OK")
    assert path.read_text().splitlines()[1:] == ["17,GetVideo,127.0.0.1:4321,18,26,5,7,3,2,OK"]
    ledger.close()


@pytest.mark.parametrize("named", [True, False])
def test_rows_read_back_over_many_chunks(tmp_path: Path, named: bool) -> None:
    ledger = Ledger(tmp_path / "ledger.csv" if named else None)
    assert list(ledger.rows()) == []
    rows = [row_of(number) for number in range(3000)]  # more than 100 kB
    for call, expected in rows:
        ledger.append(call, expected.done_ns, expected.code)
    assert list(ledger.rows()) == [expected for _, expected in rows]
    ledger.close()


def test_an_existing_ledger_is_continued(tmp_path: Path) -> None:
    for number in (1, 2):
        ledger = Ledger(tmp_path / "ledger.csv")
        ledger.append(row_of(number)[0], number + 9, "OK")
        assert [row.request_id for row in ledger.rows()] == list(range(1, number + 1))
        ledger.close()


@pytest.mark.parametrize(
    ("metadata", "request_id", "identity"),
    [
        ((("user-agent", "x"), ("x-lab-request-id", "3000000017")), 3_000_000_017, ""),
        ((("x-lab-draw", "1.2"), ("x-lab-request-id", "17")), 17, "1.2/17"),
        ((("x-lab-request-id", "17"), ("x-lab-draw", "1.2"), ("x-lab-draw", "3")), 17, "1.2/17"),
        ((("x-lab-request-id", "17"), ("x-lab-request-id", "18")), 17, ""),
        ((("x-lab-draw", "1.2"),), NO_REQUEST_ID, ""),
        ((("user-agent", "x"),), NO_REQUEST_ID, ""),
        ((), NO_REQUEST_ID, ""),
        ((("x-lab-request-id", "seven"), ("x-lab-draw", "1.2")), NO_REQUEST_ID, ""),
        ((("x-lab-request-id", b"17"),), NO_REQUEST_ID, ""),
        ((("x-lab-request-id", "-5"),), NO_REQUEST_ID, ""),
        ((("x-lab-request-id", "9" * 30),), NO_REQUEST_ID, ""),
    ],
)
def test_request_id_and_identity(metadata: Metadata, request_id: int, identity: str) -> None:
    assert request_of(metadata) == (request_id, identity)


@pytest.mark.parametrize(
    ("peer", "text"),
    [
        ("ipv4:127.0.0.1:4321", "127.0.0.1:4321"),
        ("ipv6:%5B::1%5D:4321", "[::1]:4321"),
        ("unix:/x", "unix:/x"),
    ],
)
def test_address(peer: str, text: str) -> None:
    assert address_of(peer) == text
