"""A gRPC server of the official library for Python. The first part of a path is the name of what it answers:
/CASE/SERVICE/METHOD. It prints its port, and ends when its standard input does."""

import sys
from concurrent import futures

import grpc


def failed(code, details, trailers=()):
    def handle(_, context):
        context.set_trailing_metadata(trailers)
        context.abort(code, details)

    return handle


def crash(_, context):
    raise ValueError("a bug")


EXISTS = grpc.StatusCode.ALREADY_EXISTS
CASES = {
    "ok": lambda _, context: b"",
    "large": lambda _, context: bytes(3_000_000),
    "crash": crash,
    "long-message": failed(EXISTS, "x" * 20_000),
    "longer-message": failed(EXISTS, "x" * 100_000),
    "long-details": failed(EXISTS, "details", (("grpc-status-details-bin", bytes(40_000)),)),
    "many-trailers": failed(EXISTS, "trailers", tuple((f"x-trace-{n}", "x" * 100) for n in range(300))),
    "unicode": failed(EXISTS, "café 100 % \U0001f600"),
    "pushback": failed(grpc.StatusCode.UNAVAILABLE, "later", (("grpc-retry-pushback-ms", "1500"),)),
}
for status in grpc.StatusCode:
    if status.value[0]:
        CASES[str(status.value[0])] = failed(status, f"as told: {status.value[0]}")


class Handler(grpc.GenericRpcHandler):
    def service(self, details):
        handle = CASES.get(details.method.split("/")[1])
        return handle and grpc.unary_unary_rpc_method_handler(handle)


server = grpc.server(futures.ThreadPoolExecutor(8), handlers=[Handler()], compression=grpc.Compression.Gzip)
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
sys.stdin.read()
