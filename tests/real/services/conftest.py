"""Real replicas for the tests: a process each, always stopped."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from replica_process import Server, StartReplica, start_server


@pytest.fixture
def start_replica(tmp_path: Path) -> Iterator[StartReplica]:
    servers: list[Server] = []

    def start(*options: str) -> Server:
        servers.append(start_server(tmp_path, len(servers), *options))
        return servers[-1]

    yield start
    for server in servers:
        server.channel.close()
        server.process.kill()
        server.process.communicate()


@pytest.fixture
def server(start_replica: StartReplica) -> Server:
    return start_replica()
