//! The table of errors of every platform: what an error number means, and what it is called.

#![forbid(unsafe_code)]

use super::number;
use crate::errno::{ErrorCode, Row};

/// Each row: the name in POSIX, and the error-code of wasi:sockets/network that it means.
macro_rules! rows {
    ($($(#[$attribute:meta])* $name:ident => $code:ident,)*) => {
        &[$($(#[$attribute])* (number::$name, stringify!($name), ErrorCode::$code),)*]
    };
}

/// The table of errors.
pub const ERRORS: &[Row] = rows![
    EACCES => AccessDenied,
    EPERM => AccessDenied,
    EOPNOTSUPP => NotSupported,
    ENOPROTOOPT => NotSupported,
    EPROTONOSUPPORT => NotSupported,
    #[cfg(unix)]
    EPFNOSUPPORT => NotSupported,
    #[cfg(unix)]
    ESOCKTNOSUPPORT => NotSupported,
    EPROTOTYPE => InvalidArgument,
    EAFNOSUPPORT => InvalidArgument,
    EINVAL => InvalidArgument,
    EDESTADDRREQ => InvalidArgument,
    EISCONN => InvalidArgument,
    EFAULT => InvalidArgument,
    ENOTCONN => InvalidState,
    ENOMEM => OutOfMemory,
    ENOBUFS => OutOfMemory,
    ETIMEDOUT => Timeout,
    EAGAIN => WouldBlock,
    EMFILE => NewSocketLimit,
    ENFILE => NewSocketLimit,
    EADDRNOTAVAIL => AddressNotBindable,
    EADDRINUSE => AddressInUse,
    EHOSTUNREACH => RemoteUnreachable,
    EHOSTDOWN => RemoteUnreachable,
    ENETUNREACH => RemoteUnreachable,
    ENETDOWN => RemoteUnreachable,
    ENETRESET => RemoteUnreachable,
    // udp.wit: remote-unreachable is "ECONNRESET, ENETRESET on Windows, EHOSTUNREACH, ...". Windows answers WSAECONNRESET
    // where others say ECONNREFUSED: for an ICMP "port unreachable".
    ECONNRESET => RemoteUnreachable,
    #[cfg(target_os = "linux")]
    ENONET => RemoteUnreachable,
    ECONNREFUSED => ConnectionRefused,
    ECONNABORTED => ConnectionAborted,
    EMSGSIZE => DatagramTooLarge,
    // types.wit of 0.3 has `connection-broken` for it.
    #[cfg(unix)]
    EPIPE => Unknown,
    EIO => Unknown,
    EINTR => Unknown,
    EBADF => Unknown,
    ENOTSOCK => Unknown,
    // Of an interface that there is not.
    #[cfg(unix)]
    ENODEV => InvalidArgument,
    #[cfg(unix)]
    ENXIO => InvalidArgument,
    #[cfg(unix)]
    ENOSPC => OutOfMemory,
    #[cfg(unix)]
    EEXIST => Unknown,
    #[cfg(unix)]
    ENOENT => Unknown,
    #[cfg(unix)]
    ELOOP => Unknown,
    #[cfg(unix)]
    ENOSYS => NotSupported,
    #[cfg(unix)]
    EPROTO => Unknown,
];
