"""The logs of several proxy nodes become one ledger, which names the node of each request."""

from pathlib import Path

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from harness.fields import connection_prefix, is_proxy, node_number, proxy_names
from harness.record.access_log import NODE, log_name
from harness.record.ledger_files import scan_proxy, store_ledgers
from tests.unit.synthetic.access_lines import access_line


@given(count=st.integers(1, 300))
def test_names_of_nodes_are_different_and_known_as_proxies(count: int) -> None:
    names = proxy_names(count)
    assert len(set(names)) == len(set(map(log_name, names))) == count
    assert [node_number(name) for name in names] == list(range(count))
    assert all(map(is_proxy, names))
    assert len({connection_prefix(name) for name in names}) == count
    assert not any(map(is_proxy, ("replica-0", "load", "envoys")))


def test_the_logs_of_nodes_become_one_ledger(tmp_path: Path) -> None:
    nodes = ["envoy-0", "envoy-1", "envoy-2"]
    lines = access_line(request_id=3, connection=1) + access_line(request_id=1, connection=2)
    (tmp_path / "access.envoy-0.log").write_text(lines)
    killed = access_line(request_id=2, connection=1) + access_line(request_id=4)[:9]
    (tmp_path / "access.envoy-1.log").write_text(killed)
    expected = [(1, 2, "envoy-0"), (2, 1, "envoy-1"), (3, 1, "envoy-0")]  # the third node has no log

    def found() -> list[tuple[int, int, str]]:
        rows = scan_proxy(tmp_path, nodes)
        assert rows is not None
        return sorted(rows.select("request_id", "connection", NODE).collect().rows())

    assert found() == expected
    store_ledgers(tmp_path, [], nodes)
    assert [path.name for path in tmp_path.iterdir()] == ["proxy.parquet"]
    assert pl.read_parquet(tmp_path / "proxy.parquet")["request_id"].to_list() == [1, 2, 3]
    assert found() == expected
