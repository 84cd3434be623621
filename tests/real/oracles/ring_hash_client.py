"""A gRPC client with ring_hash. It needs its own process, because grpc reads the environment on import.

python ring_hash_client.py RING_SIZE ADDRESSES KEY...     prints JSON: key -> the replica that answered
"""

import json
import os
import sys

os.environ["GRPC_EXPERIMENTAL_RING_HASH_SET_REQUEST_HASH_KEY"] = "true"

import grpc

from lb.policies import service_config
from services import video_service_pb2 as pb
from services.video_service_pb2_grpc import VideoServiceStub


def main(ring_size: str, addresses: str, *keys: str) -> None:
    size = int(ring_size)
    config = service_config("ring_hash", {"min_ring_size": size, "max_ring_size": size})
    options = [("grpc.service_config", config), ("grpc.enable_http_proxy", 0)]
    with grpc.insecure_channel(f"ipv4:{addresses}", options=options) as channel:
        stub = VideoServiceStub(channel)
        found = {}
        for key in keys:
            _, call = stub.AddVideo.with_call(
                pb.Video(id=f"ring-{key}", title="Ring"), metadata=(("x-lab-session", key),), timeout=20
            )
            found[key] = dict(call.initial_metadata())["x-lab-replica"]
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
