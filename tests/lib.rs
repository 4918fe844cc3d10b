//! Every kind of field, as `outbox-build` generates it.

pub mod proto {
    ::outbox::include_proto!();
}
