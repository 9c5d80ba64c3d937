//! Batched UDP sends and receives: tables, runs, system calls, partial counts.
//!
//! Plain Rust: no N-API, no WASI. A batch is a payload buffer and a [`table`] of where each datagram lies and goes;
//! [`runs`] groups what may leave as one segmented message; [`outgoing`] sends with prefix semantics over any
//! [`outgoing::Kernel`]; [`socket::UdpSocket`] puts that on the system calls of [`sys`].

pub mod ancillary;
pub mod errno;
pub mod options;
pub mod outgoing;
pub mod reports;
pub mod runs;
pub mod socket;
pub mod sys;
pub mod table;
