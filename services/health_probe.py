"""Asks a gRPC server for its health, as a container's health check: `python -m services.health_probe`.

Asks $LB_LAB_HEALTH ("host:port", clear text; 127.0.0.1:50051 if unset) for its overall health. Exit status:
0 it is SERVING, 1 it is not, or did not answer in TIMEOUT_S.
"""

import os
import sys

import grpc

DEFAULT_ADDRESS = "127.0.0.1:50051"
CHECK = "/grpc.health.v1.Health/Check"
EVERYTHING = b""  # a HealthCheckRequest that names no service
SERVING = b"\x08\x01"  # a HealthCheckResponse; two bytes are not worth the protobuf library at each check
TIMEOUT_S = 2.0


def main() -> int:
    """Ask once; returns the exit status."""
    address = os.environ.get("LB_LAB_HEALTH") or DEFAULT_ADDRESS
    # A proxy of the environment is for the world outside.
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
