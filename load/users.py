"""Locust's side of a client: it is spawned, counted and shown by Locust; lb.client makes its calls."""

from typing import Any

from locust import User, task
from locust.exception import StopUser


class GrpcClientUser(User):
    """One user stands for one client of the orchestra, from spawn until the performance has ended."""

    abstract = False

    @task
    def play(self) -> Any:
        """Wait while the event loop plays; answers reach Locust's statistics through the bookkeeper."""
        self.environment.performance_ended.wait()
        raise StopUser
