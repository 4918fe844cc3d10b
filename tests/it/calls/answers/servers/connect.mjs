// A Connect server of the official library. The first part of a path names the answer: /CASE/SERVICE/METHOD. It prints its
// ports, one for HTTP/1.1 and one for HTTP/2, and ends when its standard input closes.
import * as http from "node:http";
import * as http2 from "node:http2";
import { create, createFileRegistry } from "@bufbuild/protobuf";
import {
  FileDescriptorProtoSchema,
  StringValueSchema,
  file_google_protobuf_empty,
  file_google_protobuf_struct,
  file_google_protobuf_wrappers,
} from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";

// JSON is read as a Struct, with any fields. Binary is read as an Empty, which keeps unknown fields.
const method = (input, output) => ({ name: "Take", inputType: input, outputType: output });
const file = create(FileDescriptorProtoSchema, {
  name: "every.proto",
  package: "every.v1",
  syntax: "proto3",
  dependency: ["empty", "struct", "wrappers"].map((name) => `google/protobuf/${name}.proto`),
  service: [
    { name: "EveryJsonService", method: [method(".google.protobuf.Struct", ".google.protobuf.Struct")] },
    { name: "EveryProtoService", method: [method(".google.protobuf.Empty", ".google.protobuf.StringValue")] },
    { name: "EveryGrpcService", method: [method(".google.protobuf.Empty", ".google.protobuf.StringValue")] },
  ],
});
const known = [file_google_protobuf_empty, file_google_protobuf_struct, file_google_protobuf_wrappers];
const registry = createFileRegistry(file, (name) => known.find((one) => `${one.name}.proto` === name));

const message = (context) => context.requestHeader.get("x-case");
const long = (bytes) => "x".repeat(bytes);
const detail = (bytes) => ({ desc: StringValueSchema, value: { value: long(bytes) } });
const cases = {
  ok: () => "",
  large: () => long(3_000_000),
  crash: () => {
    throw new Error("a bug");
  },
  message: () => {
    throw new ConnectError(long(60_000), Code.AlreadyExists);
  },
  details: () => {
    throw new ConnectError("details", Code.AlreadyExists, undefined, [detail(40_000)]);
  },
  "long-message": () => {
    throw new ConnectError(long(70_000), Code.AlreadyExists);
  },
  "long-details": () => {
    throw new ConnectError("details", Code.AlreadyExists, undefined, [detail(100_000)]);
  },
  unicode: () => {
    throw new ConnectError("café 100 % \u{1f600}\n\u0000", Code.AlreadyExists);
  },
  "many-headers": () => {
    const headers = Array.from({ length: 300 }, (_, n) => [`x-trace-${n}`, long(100)]);
    throw new ConnectError("headers", Code.AlreadyExists, headers);
  },
  later: () => {
    throw new ConnectError("later", Code.ResourceExhausted, { "retry-after": "7" });
  },
};

const take = (isJson) => (_, context) => {
  const name = message(context);
  const code = Object.entries(Code).find(([key]) => key === name)?.[1];
  if (code !== undefined) {
    throw new ConnectError(`as told: ${name}`, code);
  }
  const said = cases[name]();
  return isJson ? { said } : { value: said };
};

const routes = (router) => {
  for (const name of ["EveryJsonService", "EveryProtoService", "EveryGrpcService"]) {
    router.service(registry.getService(`every.v1.${name}`), { take: take(name === "EveryJsonService") });
  }
};

const all = connectNodeAdapter({ routes, jsonOptions: { ignoreUnknownFields: true } });
const connectOnly = connectNodeAdapter({ routes, grpc: false, grpcWeb: false });
const small = connectNodeAdapter({ routes, readMaxBytes: 1 });
const handler = (request, response) => {
  const [, name, ...rest] = request.url.split("/");
  if (name === "destroy") {
    (request.stream?.session ?? request.socket).destroy();
    return;
  }
  if (name === "half") {
    response.writeHead(200, { "content-type": "application/json", "content-length": "4000" });
    response.write("{");
    setImmediate(() => response.destroy());
    return;
  }
  if (name === "slow") {
    return;
  }
  request.url = `/${rest.join("/")}`;
  request.headers["x-case"] = name;
  const answer = { "connect-only": connectOnly, small }[name] ?? all;
  answer(request, response);
};

const servers = [http.createServer(handler), http2.createServer(handler)];
for (const server of servers) {
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
}
console.log(servers.map((server) => server.address().port).join(" "));
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
