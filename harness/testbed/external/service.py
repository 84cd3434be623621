"""Prepares calls of a service that is not the lab's: its method, its requests, and who answers.

The method's messages come from a proto file or from reflection. Requests are JSON, as protobuf maps it.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import grpc
import grpc_tools
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection_pb2

from harness.errors import UserError, did_you_mean
from harness.spec.own_service import REFLECTION, OwnService
from harness.testbed.base import ServiceCalls
from harness.testbed.external.replicas import TIMEOUT_S, Target, failure, hint

# Both versions of reflection have messages with the same fields (github.com/grpc/grpc-proto).
REFLECTION_VERSIONS = ("v1", "v1alpha")
PROTOC_TIMEOUT_S = 30.0
MAX_REQUESTS = 10_000  # different ones, of all clients together
NUMBERS = 100  # values of {number} in a template: then they begin again


def service_calls(service: OwnService, target: Target, clients: int) -> ServiceCalls:
    """Return the calls of so many clients.

    Raises UserError, in one line that names the key, for a method that is not there or is of another kind,
    for a proto file or requests that cannot be read, and if reflection does not answer.
    """
    method = _method(service, target)
    if method.client_streaming:
        raise UserError(
            f"service.method: {service.method} takes a stream of requests; expected a unary call or a stream "
            "of answers"
        )
    requests = _requests(service, method.input_type, clients)
    return ServiceCalls(f"/{service.method}", method.server_streaming, requests, service.replica_key)


def name_told_by_service(calls: ServiceCalls, service: OwnService, target: Target, number: int) -> str:
    """Return the replica that answers one call, "" if only a log says who. Raises UserError if none is named.

    The call is one of the service's own, with the first request of a client, and is not in any ledger.
    """
    row = calls.requests[number % len(calls.requests)]
    metadata = (("x-lab-session", f"probe-{time.time_ns()}-{number}"),)
    with target.channel() as channel:
        kind: Any = channel.unary_stream if calls.streams else channel.unary_unary
        call = kind(calls.path)
        try:
            if calls.streams:
                answer = call(base64.b64decode(row[0]), timeout=TIMEOUT_S, metadata=metadata)
                for _ in answer:
                    pass
            else:
                _, answer = call.with_call(base64.b64decode(row[0]), timeout=TIMEOUT_S, metadata=metadata)
        except grpc.RpcError as error:
            what = f"--target {target.address}: {service.method}: {failure(error)}{hint(target, error)}"
            raise UserError(what) from error
        told = {**dict(answer.trailing_metadata() or ()), **dict(answer.initial_metadata() or ())}
    name = told.get(calls.replica_key, "") if calls.replica_key else ""
    if calls.replica_key and not name:
        there = ", ".join(sorted(told)) or "none"
        raise UserError(
            f"service.replica_from: answers of {service.method} have no {service.replica_from}; they have: "
            f"{there}"
        )
    return str(name)


def _method(service: OwnService, target: Target) -> MethodDescriptor:
    of_service, _, name = service.method.rpartition("/")
    where = REFLECTION if service.proto == REFLECTION else service.proto
    files = _reflected(of_service, target) if where == REFLECTION else _compiled(Path(service.proto))
    pool = DescriptorPool()
    for file in _dependencies_first(files):
        pool.Add(file)
    services = {
        one.full_name: one
        for file in files
        for one in pool.FindFileByName(file.name).services_by_name.values()
    }
    if of_service not in services:
        near = did_you_mean(of_service, services) or f"; it has {', '.join(services) or 'none'}"
        raise UserError(f"service.method: {where} has no service {of_service!r}{near}")
    methods = services[of_service].methods_by_name
    if name not in methods:
        near = did_you_mean(name, methods) or f"; it has {', '.join(methods)}"
        raise UserError(f"service.method: {of_service} has no method {name!r}{near}")
    return methods[name]


def _dependencies_first(files: Iterable[FileDescriptorProto]) -> Iterator[FileDescriptorProto]:
    """Yield each file after those that it imports."""
    by_name = {file.name: file for file in files}
    done: set[str] = set()

    def visit(file: FileDescriptorProto) -> Iterator[FileDescriptorProto]:
        if file.name in done:
            return
        done.add(file.name)
        for name in file.dependency:
            if name in by_name:
                yield from visit(by_name[name])
        yield file

    for file in by_name.values():
        yield from visit(file)


def _compiled(proto: Path) -> list[FileDescriptorProto]:
    """Return the files of a proto file and its imports, which are looked for beside it."""
    if not proto.is_file():
        raise UserError(f"service.proto: {proto}: no such file; expected a proto file, or `reflection`")
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "set"
        of_google = Path(grpc_tools.__file__).parent / "_proto"
        command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{proto.parent}", f"-I{of_google}"]
        command += ["--include_imports", f"--descriptor_set_out={out}", str(proto)]
        done = subprocess.run(  # noqa: S603 - our own interpreter
            command, capture_output=True, text=True, timeout=PROTOC_TIMEOUT_S, check=False
        )
        if done.returncode or not out.exists():
            # protoc prints warnings of its libraries, too.
            told = [line for line in done.stderr.splitlines() if re.search(r"\.proto:\d+:\d+: ", line)]
            raise UserError(f"service.proto: {(told or [f'protoc cannot read {proto}'])[0][:300]}")
        return list(FileDescriptorSet.FromString(out.read_bytes()).file)


def _reflected(symbol: str, target: Target) -> list[FileDescriptorProto]:
    """Return the file that declares `symbol` and all that it imports, from the server's reflection."""
    problem = ""
    for version in REFLECTION_VERSIONS:
        try:
            with target.channel() as channel:
                return _files_of(channel, version, symbol)
        except grpc.RpcError as error:
            problem = f"{failure(error)}{hint(target, error)}"
            if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
                break
    raise UserError(
        f"service.proto: reflection of --target {target.address}: {problem}; does the server have it, and "
        "does the load balancer pass it on? Otherwise name a proto file"
    )


def _files_of(channel: grpc.Channel, version: str, symbol: str) -> list[FileDescriptorProto]:
    info: Any = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        reflection_pb2.ServerReflectionRequest.SerializeToString,
        reflection_pb2.ServerReflectionResponse.FromString,
    )

    def ask(**request: str) -> list[FileDescriptorProto]:
        (answer,) = info(iter([reflection_pb2.ServerReflectionRequest(**request)]), timeout=TIMEOUT_S)
        if answer.HasField("error_response"):
            what, why = " ".join(request.values()), answer.error_response.error_message
            raise UserError(f"service.method: the server's reflection has no {what} ({why[:200]})")
        encoded = answer.file_descriptor_response.file_descriptor_proto
        return [FileDescriptorProto.FromString(one) for one in encoded]

    found = {file.name: file for file in ask(file_containing_symbol=symbol)}
    while missing := {name for file in found.values() for name in file.dependency} - found.keys():
        for name in sorted(missing):
            found |= {file.name: file for file in ask(file_by_filename=name)}
    return list(found.values())


def _requests(service: OwnService, kind: Descriptor, clients: int) -> list[list[str]]:
    """Return the serialised requests in base64, a row for each client. Rows may stand for several clients."""
    if isinstance(service.requests, str):
        return [_of_file(Path(service.requests), kind)]
    text = json.dumps(service.requests)
    numbers = range(NUMBERS if "{number}" in text else 1)
    rows = range(max(1, min(clients, MAX_REQUESTS // len(numbers))) if "{client}" in text else 1)
    return [
        [_encoded(_filled(service.requests, client, n), kind, "service.requests") for n in numbers]
        for client in rows
    ]


def _filled(template: Any, client: int, number: int) -> Any:
    """Return the template with the two numbers in its texts."""
    if isinstance(template, str):
        return template.replace("{client}", str(client)).replace("{number}", str(number))
    if isinstance(template, dict):
        return {key: _filled(value, client, number) for key, value in template.items()}
    if isinstance(template, list):
        return [_filled(value, client, number) for value in template]
    return template


def _of_file(path: Path, kind: Descriptor) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"service.requests: {path}: cannot be read ({error})") from None
    found = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}:{number}: expected one request as JSON ({error})") from None
        found.append(_encoded(value, kind, f"{path}:{number}"))
    if not 0 < len(found) <= MAX_REQUESTS:
        raise UserError(
            f"service.requests: {path} has {len(found):,} requests; expected 1 to {MAX_REQUESTS:,}"
        )
    return found


def _encoded(value: Any, kind: Descriptor, where: str) -> str:
    """Return the request as a serialised message in base64. A wrapper or timestamp is no JSON object."""
    message = message_factory.GetMessageClass(kind)()
    try:
        json_format.Parse(json.dumps(value), message)
    except (json_format.ParseError, ValueError, RecursionError) as error:
        raise UserError(f"{where}: is no {kind.full_name} ({' '.join(str(error).split())[:200]})") from None
    return base64.b64encode(message.SerializeToString()).decode()
