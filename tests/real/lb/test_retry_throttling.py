"""A client's retry budget (gRPC's retryThrottling): how many attempts reach a failing replica."""

import asyncio
from dataclasses import replace

import pytest
from clients import SETTINGS, calls, run_clients
from replica_process import StartReplica

from lb.policies import THROTTLE_TOKENS, ClientRetries, service_config

CALLS = 20
ATTEMPTS = 3


@pytest.mark.parametrize("clients", [1, 3])
@pytest.mark.parametrize("budget_percent", [None, 10])
def test_a_budget_ends_the_retries_of_each_client_once_half_its_tokens_are_gone(
    budget_percent: float | None, clients: int, start_replica: StartReplica
) -> None:
    server = start_replica(fail_share=1, fail_code="UNAVAILABLE")
    retries = ClientRetries(ATTEMPTS, backoff_ms=5, budget_percent=budget_percent)
    settings = replace(
        SETTINGS, target=server.address, service_config=service_config("pick_first", retries=retries)
    )
    rows, _ = run_clients(
        settings, clients, lambda everyone: asyncio.gather(*(calls(one, CALLS) for one in everyone))
    )
    assert [row["code"] for row in rows] == ["UNAVAILABLE"] * CALLS * clients
    # Every failure takes a token. The failure that leaves half of the tokens is not retried.
    retried = CALLS * (ATTEMPTS - 1) if budget_percent is None else 3
    assert THROTTLE_TOKENS == 10
    assert len(server.rows_within((CALLS + retried) * clients)) == (CALLS + retried) * clients


def test_calls_that_succeed_earn_retries(start_replica: StartReplica) -> None:
    server = start_replica("--seed", "5", fail_share=0.2, fail_code="UNAVAILABLE")

    def attempts(budget_percent: float, prefix: str) -> int:
        before = len(server.ledger())
        retries = ClientRetries(2, backoff_ms=5, budget_percent=budget_percent)
        config = service_config("pick_first", retries=retries)
        settings = replace(SETTINGS, target=server.address, service_config=config, key_prefix=prefix)
        run_clients(settings, 1, lambda clients: calls(clients[0], 200))
        return len(server.rows_within(before + 200)) - before - 200

    # One call in five fails. 100 % earns more tokens than failures take; 1 % earns hardly any.
    assert attempts(100, "rich") > 25
    assert attempts(1, "poor") < 12
