"""The errors of a replica."""

import grpc


class RpcStatusError(Exception):
    """Ends a call with a gRPC status other than OK and a message for the caller.

    after_headers: initial metadata goes first, so that it is no trailers-only answer.
    """

    def __init__(self, code: grpc.StatusCode, message: str, *, after_headers: bool = False) -> None:
        super().__init__(message)
        self.after_headers = after_headers
        self.code = code
        self.message = message


class CannotStartError(Exception):
    """The replica cannot serve; the message says why."""
