//! Batched UDP sends and receives: tables, runs, system calls, partial counts.
//!
//! Plain Rust: no N-API, no WASI. See ARCHITECTURE.md for the way of one send.

pub mod table;
