//! What reaches an RPC, and what its answer means.

mod answers; // what RPC servers answer, byte for byte, and what each answer means
mod deliver; // verdicts, retries, leases, transports of the RPC call
mod encodings; // the same event as JSON, binary and gRPC
mod every; // services of every encoding, and one call of them
mod grpc; // what a gRPC server answers
mod headers; // what an event may tell its RPC besides the payload
mod proto_json; // the payload, against another implementation
mod services; // how a service is told to the worker
mod transports; // HTTP/2 and TLS
