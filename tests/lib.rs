//! The whole line, against real servers: see `it/`.
