"""The errors of a replica."""

import grpc


class RpcStatusError(Exception):
    """Ends a call with this gRPC status, which is not OK, and a message for the caller.

    `after_headers`: initial metadata is sent before the status. Otherwise the answer is trailers-only.
    """

    def __init__(self, code: grpc.StatusCode, message: str, *, after_headers: bool = False) -> None:
        super().__init__(message)
        self.after_headers = after_headers
        self.code = code
        self.message = message


class CannotStartError(Exception):
    """The replica cannot start; the message says why."""
