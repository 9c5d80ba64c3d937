//! N-API exports over `wasi-udp-engine`: free functions of integers and buffers, no panic past this point.
//!
//! Results of 0 and above are success, negative ones the system's error number, negated; a malformed argument is a thrown
//! Error. `hot` holds the calls of every batch, `sockets` the others on a socket, `system` those on none.

// In a test build #[napi] registers nothing, so nothing uses the exports.
#![cfg_attr(test, allow(dead_code))]

mod arguments;
#[cfg(unix)]
mod claims;
mod hot;
mod readiness;
#[cfg(feature = "simulated")]
mod simulated;
mod slab;
mod sockets;
mod system;
mod thread;

use napi::bindgen_prelude::{JsValue, Object};
use napi::{Env, Result};
use napi_derive::napi;

/// Called when an environment, the main thread's or a worker's, loads the addon.
#[napi(module_exports)]
pub fn load(exports: Object, env: Env) -> Result<()> {
    thread::Thread::install(&env)?;
    hot::register(&env, exports.raw())
}
