"""How Locust's users get to its workers: each where its client is played."""

from collections.abc import Iterator

from load.users import GrpcClientUser


class DealtDispatcher:
    """In the place of Locust's UsersDispatcher, which deals users out as it likes.

    `users`: Locust's name of a worker -> its users. They never move: nobody can play a lost worker's clients
    on, for nobody else has their sessions.
    """

    dispatch_in_progress = False

    def __init__(self, users: dict[str, int]) -> None:
        self._users = users

    def new_dispatch(self, target_user_count: int, spawn_rate: float, user_classes: object = None) -> None:
        """Locust asks for its users; their number is known."""

    def __iter__(self) -> Iterator[dict[str, dict[str, int]]]:
        yield {key: {GrpcClientUser.__name__: users} for key, users in self._users.items()}

    def add_worker(self, worker_node: object) -> None:
        """Nobody joins later."""

    def remove_worker(self, worker_node: object) -> None:
        """Users that are lost are not replaced."""
