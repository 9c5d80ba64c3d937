//! The calls on no socket: what this binary is, what the system offers, what its error numbers mean.

use crate::arguments::Argument;
use crate::thread::Thread;
use napi::bindgen_prelude::Unknown;
use napi::{Env, JsValue, Result, sys as napi_sys};
use napi_derive::napi;
use std::env;
use wasi_udp_engine::errno::Errno;
use wasi_udp_engine::socket::UdpSocket;
use wasi_udp_engine::{ancillary, sys, table};

/// The layout of the table that this binary reads; the JavaScript half compares it with its own.
#[napi(catch_unwind)]
pub fn layout() -> Vec<u32> {
    vec![
        table::LAYOUT_VERSION,
        table::MAX_DATAGRAMS as u32,
        table::ENTRY_BYTES as u32,
        table::ADDRESSES_OFFSET as u32,
        table::SLOT_BYTES as u32,
        table::RECORDS_OFFSET as u32,
        ancillary::RECORD_BYTES as u32,
        table::TABLE_BYTES as u32,
    ]
}

/// The version of this binary, equal to package.json's.
#[napi(catch_unwind)]
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// What an error number of the system means.
#[napi(object)]
pub struct ErrorInfo {
    /// The error-code of wasi:sockets/network.
    pub code: String,
    /// The system's name, such as `ECONNREFUSED`.
    pub name: String,
    /// The system's description.
    pub message: String,
}

/// What an error number of the system means.
#[napi(catch_unwind, ts_args_type = "errno: number")]
pub fn error_info(errno: Argument) -> Result<ErrorInfo> {
    let errno = Errno(errno.integer_in("errno", 1, i32::MAX)?);
    Ok(ErrorInfo { code: errno.error_code().name().into(), name: errno.name(), message: errno.message() })
}

/// Has the runtime deal with what was thrown as with an exception that nobody caught: at once, and where a handler took it, the caller
/// goes on.
#[napi(catch_unwind, ts_args_type = "error: unknown")]
pub fn fatal_exception(env: Env, error: Unknown) {
    // SAFETY: the environment and the value are those of the current call.
    unsafe { napi_sys::napi_fatal_exception(env.raw(), error.raw()) };
}

/// What of the system is in use.
#[napi(object)]
pub struct Features {
    /// The system and processor that the binary is for, such as `linux-x86_64`.
    pub platform: String,
    /// The system call that sends.
    pub backend: String,
    /// Whether runs leave as segmented messages.
    pub segmentation: bool,
    /// Whether the kernel hands over runs of received datagrams as one message.
    pub receive_coalescing: bool,
    /// How an event loop learns of readiness: `libuv` or `thread`.
    pub poller: String,
    /// Why something is not in use.
    pub notes: Vec<String>,
}

/// What of the system is in use, tried out on a socket of its own.
#[napi(catch_unwind)]
pub fn features(env: Env) -> Result<Features> {
    let mut notes = Vec::new();
    let mut segmentation = false;
    let mut receive_coalescing = false;
    match UdpSocket::open(false) {
        Ok(mut socket) => {
            segmentation = socket.segmentation();
            match socket.coalesce_receives(true) {
                Ok(()) => receive_coalescing = true,
                Err(errno) => notes.push(format!("receives are not coalesced: the system answered {errno}")),
            }
        }
        Err(errno) => notes.push(format!("no UDP socket can be opened: the system answered {errno}")),
    }
    if !segmentation {
        let off = env::var_os("WASI_UDP_GSO").is_some_and(|value| value == "0");
        let why = if off { "WASI_UDP_GSO=0 turns it off" } else { "the system does not offer it" };
        notes.push(format!("datagrams are not segmented by the system: {why}"));
    }
    for sys::Refusal { call, consequence, errno } in sys::refusals() {
        notes.push(format!("the system refuses {call}, by {}: {consequence}", errno.name()));
    }
    let poller = Thread::of(&env)?.poller();
    if poller == "thread" {
        let forced = env::var_os("WASI_UDP_POLLER").is_some_and(|value| value == "thread");
        let why = if forced { "WASI_UDP_POLLER=thread asks for it" } else { "the runtime has no libuv to ask" };
        notes.push(format!("a thread polls the sockets: {why}"));
    }
    Ok(Features {
        platform: format!("{}-{}", env::consts::OS, env::consts::ARCH),
        backend: sys::BACKEND.into(),
        segmentation,
        receive_coalescing,
        poller: poller.into(),
        notes,
    })
}
