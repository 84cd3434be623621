"""The one exception by which the video service says no to its caller."""

import grpc


class RefusedError(Exception):
    """Ends a call with a gRPC status other than OK and a message for the caller."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
