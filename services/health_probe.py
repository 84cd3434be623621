"""The health check of a container: asks a gRPC server for its health. `python -m services.health_probe`.

It asks the server at $LB_LAB_HEALTH ("host:port" without TLS; 127.0.0.1:50051 if unset) for the health of the
whole server. Exit status: 0 it answered SERVING, 1 it gave another answer, or none within TIMEOUT_S.
"""

import os
import sys

import grpc

DEFAULT_ADDRESS = "127.0.0.1:50051"
CHECK = "/grpc.health.v1.Health/Check"
EVERYTHING = b""  # a HealthCheckRequest that names no service
SERVING = b"\x08\x01"  # a HealthCheckResponse, as bytes: importing protobuf for each check would be slow
TIMEOUT_S = 2.0


def main() -> int:
    """Ask once and return the exit status."""
    address = os.environ.get("LB_LAB_HEALTH") or DEFAULT_ADDRESS
    # A web proxy from the environment must not be used.
    with grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0)]) as channel:
        try:
            answer: bytes = channel.unary_unary(CHECK, bytes, bytes)(EVERYTHING, timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            print(f"{address}: {error.code().name}: {error.details()}", file=sys.stderr)
            return 1
    if answer != SERVING:
        print(f"{address}: not serving", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
