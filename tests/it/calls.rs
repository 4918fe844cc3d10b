//! What reaches an RPC, and what its answers mean.

mod addresses; // services without an address, and workers for some services
mod answers; // answers of RPC servers, byte for byte, and their meaning
mod credentials; // how a call shows who makes it
mod deliver; // verdicts, retries and leases of calls
mod encodings; // the same event as JSON, binary and gRPC
mod every; // services of every encoding, and one call of them
mod grpc; // what a gRPC server answers
mod headers; // which of an event's headers reach the RPC
mod proto_json; // the payload, compared with another implementation
mod protos; // files that a worker passes over
mod services; // a service's address and encoding, as the worker's options
mod subscribers; // the code of docs/subscribe.md
mod transports; // HTTP/2 and TLS
