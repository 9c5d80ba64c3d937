//! The calls that every batch makes: `send`, `checkSend`, `receive`.
//!
//! They are registered by hand: converting five arguments costs `#[napi]` some 130 ns more a call than the reads below.

use crate::arguments::{Argument, refuse};
use crate::thread::Thread;
use napi::bindgen_prelude::panic_to_error;
use napi::{Env, JsError, Result, check_status, sys};
use std::ffi::CStr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use wasi_udp_engine::errno::Errno;
use wasi_udp_engine::sys::MESSAGE_BYTES;
use wasi_udp_engine::table::{Batch, MAX_DATAGRAMS, ReceivedTable};

/// What a call comes to: a count, or an error number of the system.
type Outcome = std::result::Result<usize, Errno>;

/// `send(socket, payload, table, entries, addresses)`: the datagrams that the kernel accepted.
fn send(thread: &Thread, [socket, payload, table, entries, addresses]: [Argument<'_>; 5]) -> Result<Outcome> {
    let mut sockets = thread.sockets();
    let (socket, buffers) = sockets.named(&socket)?;
    let payload = payload.memory("payload")?.bytes();
    let table = table.memory("table")?.bytes();
    let entries = table_count(&entries, "entries")?;
    let addresses = table_count(&addresses, "addresses")?;
    let batch = Batch::new(payload, table, entries, addresses).map_err(|forged| refuse(forged.to_string()))?;
    Ok(socket.send(buffers, &batch))
}

/// `checkSend(socket)`: 1 where there is room to send, 0 where there is none. A pending error is taken and returned.
fn check_send(thread: &Thread, [socket]: [Argument<'_>; 1]) -> Result<Outcome> {
    let mut sockets = thread.sockets();
    let (socket, _) = sockets.named(&socket)?;
    Ok(socket.check_send().map(usize::from))
}

/// `receive(socket, payload, table, max)`: the datagrams received, at most `max`; their bytes are in the payload.
fn receive(thread: &Thread, [socket, payload, table, max]: [Argument<'_>; 4]) -> Result<Outcome> {
    let mut sockets = thread.sockets();
    let (socket, buffers) = sockets.named(&socket)?;
    let max = table_count(&max, "max")?;
    let (payload, table) = (payload.memory("payload")?, table.memory("table")?);
    let Some((payload, table)) = payload.bytes_mut(table) else {
        return Err(refuse("payload and table must be different ArrayBuffers, got the same twice"));
    };
    if payload.len() < MESSAGE_BYTES {
        let received = payload.len();
        return Err(refuse(format!("payload must have room for a datagram, {MESSAGE_BYTES} bytes, got {received}")));
    }
    let mut table = ReceivedTable::new(table, max).map_err(|forged| refuse(forged.to_string()))?;
    Ok(socket.receive(buffers, payload, &mut table).map(|()| table.len()))
}

fn table_count(argument: &Argument<'_>, name: &str) -> Result<usize> {
    Ok(argument.integer_in(name, 0, MAX_DATAGRAMS as i32)? as usize)
}

/// Adds the functions to the exports of an environment, whose thread each of them then carries: it need not be asked for.
pub fn register(env: &Env, exports: sys::napi_value) -> Result<()> {
    unsafe extern "C" fn raw_send(env: sys::napi_env, call: sys::napi_callback_info) -> sys::napi_value {
        // SAFETY: the runtime passes an environment and a call of it.
        unsafe { enter(env, call, send) }
    }
    unsafe extern "C" fn raw_check_send(env: sys::napi_env, call: sys::napi_callback_info) -> sys::napi_value {
        // SAFETY: as above.
        unsafe { enter(env, call, check_send) }
    }
    unsafe extern "C" fn raw_receive(env: sys::napi_env, call: sys::napi_callback_info) -> sys::napi_value {
        // SAFETY: as above.
        unsafe { enter(env, call, receive) }
    }
    let functions: [(&CStr, sys::napi_callback); 3] =
        [(c"send", Some(raw_send)), (c"checkSend", Some(raw_check_send)), (c"receive", Some(raw_receive))];
    let thread = ptr::from_ref(Thread::of(env)?).cast_mut().cast();
    for (name, callback) in functions {
        let mut function = ptr::null_mut();
        let length = name.count_bytes() as isize;
        // SAFETY: the environment and the exports are those of the call that loads the addon.
        unsafe {
            let status = sys::napi_create_function(env.raw(), name.as_ptr(), length, callback, thread, &mut function);
            check_status!(status, "napi_create_function")?;
            check_status!(sys::napi_set_named_property(env.raw(), exports, name.as_ptr(), function))?;
        }
    }
    Ok(())
}

/// Enters Rust from JavaScript: reads the arguments, runs the body, turns its outcome into a number. A refusal or a panic
/// becomes a thrown Error; neither crosses.
///
/// # Safety
/// `env` and `call` are those that the runtime passed to the callback.
#[inline]
unsafe fn enter<const N: usize>(
    env: sys::napi_env,
    call: sys::napi_callback_info,
    body: impl Fn(&Thread, [Argument<'_>; N]) -> Result<Outcome>,
) -> sys::napi_value {
    let run = || {
        let mut count = N;
        let mut values = [ptr::null_mut(); N];
        let mut thread = ptr::null_mut();
        // SAFETY: `values` has room for `count` of them; those that the caller left out become undefined.
        let status =
            unsafe { sys::napi_get_cb_info(env, call, &mut count, values.as_mut_ptr(), ptr::null_mut(), &mut thread) };
        check_status!(status, "napi_get_cb_info")?;
        // SAFETY: `register` named the thread of this environment, which is freed after the last call from JavaScript.
        // References to it are shared ones only.
        let thread = unsafe { &*thread.cast::<Thread>() };
        // SAFETY: the values are those of this call.
        let arguments = values.map(|value| unsafe { Argument::new(env, value) });
        let number = match body(thread, arguments)? {
            Ok(count) => count as i32,
            Err(errno) => -errno.0,
        };
        let mut result = ptr::null_mut();
        // SAFETY: the environment is the one that calls.
        check_status!(unsafe { sys::napi_create_int32(env, number, &mut result) })?;
        Ok(result)
    };
    let outcome = catch_unwind(AssertUnwindSafe(run)).map_err(panic_to_error).and_then(|result| result);
    outcome.unwrap_or_else(|error| {
        // SAFETY: the environment is the one that calls.
        unsafe { JsError::from(error).throw_into(env) };
        ptr::null_mut()
    })
}
