//! Error numbers of the operating system, and what they mean: one table a platform.

#![forbid(unsafe_code)]

use crate::sys;
use std::fmt;
use std::io;

/// An error number of the operating system: errno, or the WSA code on Windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

/// A row of a platform's table: the number, its name, and the error-code of wasi:sockets/network that it means.
pub type Row = (i32, &'static str, ErrorCode);

/// The error-code enum of wasi:sockets/network, as far as a UDP socket's errors go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the WIT's own names")]
pub enum ErrorCode {
    Unknown,
    AccessDenied,
    NotSupported,
    InvalidArgument,
    OutOfMemory,
    Timeout,
    WouldBlock,
    InvalidState,
    NewSocketLimit,
    AddressNotBindable,
    AddressInUse,
    RemoteUnreachable,
    ConnectionRefused,
    ConnectionReset,
    ConnectionAborted,
    DatagramTooLarge,
}

impl ErrorCode {
    /// The name in the WIT.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::AccessDenied => "access-denied",
            Self::NotSupported => "not-supported",
            Self::InvalidArgument => "invalid-argument",
            Self::OutOfMemory => "out-of-memory",
            Self::Timeout => "timeout",
            Self::WouldBlock => "would-block",
            Self::InvalidState => "invalid-state",
            Self::NewSocketLimit => "new-socket-limit",
            Self::AddressNotBindable => "address-not-bindable",
            Self::AddressInUse => "address-in-use",
            Self::RemoteUnreachable => "remote-unreachable",
            Self::ConnectionRefused => "connection-refused",
            Self::ConnectionReset => "connection-reset",
            Self::ConnectionAborted => "connection-aborted",
            Self::DatagramTooLarge => "datagram-too-large",
        }
    }
}

impl Errno {
    /// The error number of the system call that has just failed on this thread.
    pub fn last() -> Self {
        io::Error::last_os_error().into()
    }

    fn row(self) -> Option<&'static Row> {
        sys::ERRORS.iter().find(|row| row.0 == self.0)
    }

    /// The error-code that a guest sees.
    pub fn error_code(self) -> ErrorCode {
        self.row().map_or(ErrorCode::Unknown, |row| row.2)
    }

    /// The name, such as `ECONNREFUSED`.
    pub fn name(self) -> String {
        self.row().map_or_else(|| format!("error {}", self.0), |row| row.1.to_owned())
    }

    /// The operating system's description.
    pub fn message(self) -> String {
        let text = io::Error::from_raw_os_error(self.0).to_string();
        text.split(" (os error").next().unwrap_or_default().to_owned()
    }

    /// Whether the socket has no room for now. ENOBUFS counts, as libuv counts it: BSD and macOS answer it for a full
    /// interface queue.
    pub fn would_block(self) -> bool {
        sys::WOULD_BLOCK.contains(&self.0)
    }

    /// Whether a segmented message that met this error may still go plainly: its size, the path or the device refused.
    pub fn refuses_segmentation(self) -> bool {
        sys::REFUSES_SIZE.contains(&self.0) || sys::REFUSES_OFFLOAD.contains(&self.0)
    }

    /// Whether the refusal speaks of this size and larger ones, rather than of segmentation as such.
    pub fn refuses_size(self) -> bool {
        sys::REFUSES_SIZE.contains(&self.0)
    }

    /// Whether what looks like a refusal of segmentation may as well be an error that an ICMP message left on the socket:
    /// EMSGSIZE tells of a path's MTU either way.
    pub fn is_ambiguous(self) -> bool {
        self.refuses_size() || self.is_reported_once()
    }

    /// Whether the kernel reports the error once and then forgets it: an ICMP message's error, pending on the socket.
    pub fn is_reported_once(self) -> bool {
        sys::REPORTED_ONCE.contains(&self.0)
    }
}

impl From<io::Error> for Errno {
    fn from(error: io::Error) -> Self {
        Self(error.raw_os_error().unwrap_or(sys::UNKNOWN))
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.message())
    }
}

impl std::error::Error for Errno {}
