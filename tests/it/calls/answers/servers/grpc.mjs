// A gRPC server of the official library for Node.js. The first part of a path names the answer: /CASE/SERVICE/METHOD. It
// prints its port, and ends when its standard input closes.
import * as grpc from "@grpc/grpc-js";

const long = (bytes) => "x".repeat(bytes);
const failed = (code, details, metadata) => ({ code, details, metadata });
const with_ = (pairs) => {
  const metadata = new grpc.Metadata();
  for (const [name, value] of pairs) {
    metadata.set(name, value);
  }
  return metadata;
};
const exists = grpc.status.ALREADY_EXISTS;
const cases = {
  ok: (_, reply) => reply(null, Buffer.alloc(0)),
  large: (_, reply) => reply(null, Buffer.alloc(3_000_000)),
  crash: () => {
    throw new Error("a bug");
  },
  "long-message": (_, reply) => reply(failed(exists, long(20_000))),
  "longer-message": (_, reply) => reply(failed(exists, long(100_000))),
  "long-details": (_, reply) =>
    reply(failed(exists, "details", with_([["grpc-status-details-bin", Buffer.alloc(100_000)]]))),
  "many-trailers": (_, reply) =>
    reply(failed(exists, "trailers", with_(Array.from({ length: 300 }, (_, n) => [`x-trace-${n}`, long(100)])))),
  unicode: (_, reply) => reply(failed(exists, "café 100 % \u{1f600}")),
  pushback: (_, reply) => reply(failed(grpc.status.UNAVAILABLE, "later", with_([["grpc-retry-pushback-ms", "1500"]]))),
  initial: (call, reply) => {
    call.sendMetadata(with_([["x-early", "yes"]]));
    reply(failed(exists, "after headers"));
  },
};
for (let code = 1; code <= 16; code += 1) {
  cases[code] = (_, reply) => reply(failed(code, `as told: ${code}`));
}

const bytes = { serialize: (buffer) => buffer, deserialize: (buffer) => buffer };
const server = new grpc.Server({ "grpc.default_compression_algorithm": 2 });
for (const [name, handler] of Object.entries(cases)) {
  const path = `/${name}/every.v1.EveryGrpcService/Take`;
  server.register(path, handler, bytes.serialize, bytes.deserialize, "unary");
}
server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) => {
  console.log(error ?? port);
});
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
