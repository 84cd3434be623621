"""Server reflection, v1 and v1alpha, for asyncio and threaded servers: clients need no proto file.

grpcio-reflection 1.85.1 serves v1alpha only. It also finds no methods, because protobuf's own
`FindFileContainingSymbol` finds none (https://github.com/grpc/grpc/issues/34743). ghz and `grpcurl describe`
of a method need that. Here the servicer of grpcio-reflection gets a pool that finds methods, and serves
v1, too: the messages of both versions have the same fields (https://github.com/grpc/grpc-proto).
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.protobuf import descriptor_pool, json_format
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection, reflection_pb2

V1ALPHA = reflection.SERVICE_NAME
V1 = V1ALPHA.replace("v1alpha", "v1")
METHOD = "ServerReflectionInfo"
THREADS = 4  # a client may keep its stream open for as long as it likes


def add_reflection(files: Sequence[FileDescriptor], server: grpc.aio.Server | grpc.Server) -> None:
    """Add both versions of reflection to a server that has the services of the proto `files`.

    On a threaded server it has threads of its own: an open stream takes none from the calls.
    """
    names = [service.full_name for file in files for service in file.services_by_name.values()]
    names += [V1ALPHA, V1]
    pool = _Descriptors(files)
    if isinstance(server, grpc.aio.Server):
        answer = reflection.aio.ReflectionServicer(names, pool).ServerReflectionInfo
    else:
        answer = _with_own_threads(reflection.ReflectionServicer(names, pool).ServerReflectionInfo)
    handler = grpc.stream_stream_rpc_method_handler(
        answer,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    for version in (V1ALPHA, V1):
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(version, {METHOD: handler}),))


class _Descriptors:
    """A descriptor pool with some proto files and those of reflection. It finds methods, too."""

    def __init__(self, files: Sequence[FileDescriptor]) -> None:
        self._pool = descriptor_pool.DescriptorPool()
        for file in (*files, reflection_pb2.DESCRIPTOR):
            _copy(file, self._pool)
        self._pool.AddSerializedFile(_v1_file().SerializeToString())

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:  # noqa: N802
        """Return the file that declares `symbol` (full name). Raises KeyError."""
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            return self._pool.FindMethodByName(symbol).containing_service.file

    def __getattr__(self, name: str) -> Any:
        """Return the pool's other methods."""
        return getattr(self._pool, name)


def _copy(file: FileDescriptor, pool: descriptor_pool.DescriptorPool) -> None:
    """Add the file to the pool, after the files that it imports."""
    for imported in file.dependencies:
        _copy(imported, pool)
    pool.AddSerializedFile(file.serialized_pb)


def _v1_file() -> FileDescriptorProto:
    """Return the file of v1: v1alpha's with the other package."""
    file = FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(file)
    file.ClearField("options")  # they say that v1alpha is deprecated, and how other languages name it
    return json_format.Parse(json_format.MessageToJson(file).replace("v1alpha", "v1"), FileDescriptorProto())


def _with_own_threads(answer: Callable[..., Any]) -> Callable[..., Any]:
    """Return the handler so that grpcio's threaded server runs it in a pool of its own."""

    def handle(requests: Any, context: grpc.ServicerContext) -> Any:
        return answer(requests, context)

    # Source: grpcio's _server.py, which reads this attribute of a handler.
    handle.experimental_thread_pool = ThreadPoolExecutor(THREADS, "reflection")  # type: ignore[attr-defined]
    return handle
