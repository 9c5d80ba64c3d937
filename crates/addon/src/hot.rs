//! The calls that every batch makes: `send`, `checkSend`, `receive`, `watch`.
//!
//! They are registered by hand: converting five arguments costs `#[napi]` some 130 ns more a call than the reads below.

use crate::arguments::{Argument, refuse};
use crate::readiness::{QUIET, READABLE, WRITABLE};
use crate::thread::Thread;
use napi::bindgen_prelude::panic_to_error;
use napi::{Env, JsError, Result, check_status, sys};
use std::ffi::CStr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use wasi_udp_engine::errno::Errno;
use wasi_udp_engine::socket::Left;
use wasi_udp_engine::sys::MESSAGE_BYTES;
use wasi_udp_engine::table::{Batch, MAX_DATAGRAMS, ReceivedTable};

/// What a call comes to: a count or an error number of the system, and what it left with the socket.
type Outcome = (std::result::Result<usize, Errno>, Left);

/// Beside the number of addresses: each has a record of what goes beside its datagrams. Part of the contract with
/// `ts/native/layout.ts`.
const HAS_RECORDS: i32 = 1 << 16;

/// `send(socket, payload, table, entries, addresses)`: the datagrams that the kernel accepted.
fn send(thread: &Thread, [socket, payload, table, entries, addresses]: [Argument<'_>; 5]) -> Result<Outcome> {
    let mut sockets = thread.sockets();
    let (socket, buffers) = sockets.named(&socket)?;
    let payload = payload.memory("payload")?.bytes();
    let table = table.memory("table")?.bytes();
    let entries = table_count(&entries, "entries")?;
    let addresses = addresses.integer("addresses")?;
    let has_records = addresses >= HAS_RECORDS;
    let count = if has_records { addresses - HAS_RECORDS } else { addresses };
    if !(0..=MAX_DATAGRAMS as i32).contains(&count) {
        return Err(refuse(format!("addresses must be an integer from 0 to {MAX_DATAGRAMS}, got {addresses}")));
    }
    let make = if has_records { Batch::with_records } else { Batch::new };
    let batch = make(payload, table, entries, count as usize);
    let batch = batch.map_err(|forged| refuse(forged.to_string()))?;
    let result = socket.send(buffers, &batch);
    Ok((result, Left { drained: false, ..socket.left() }))
}

/// `checkSend(socket)`: 1 where there is room to send, 0 where there is none. A pending error is taken and returned.
fn check_send(thread: &Thread, [socket]: [Argument<'_>; 1]) -> Result<Outcome> {
    let mut sockets = thread.sockets();
    let (socket, _) = sockets.named(&socket)?;
    let result = socket.check_send().map(usize::from);
    Ok((result, Left { drained: false, ..socket.left() }))
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
    let result = socket.receive(buffers, payload, &mut table).map(|()| table.len());
    Ok((result, socket.left()))
}

/// `watch(socket, interest)`: has the listener hear of the events of `interest` (1 readable, 2 writable) as long as somebody
/// waits for them; 0: nobody waits. An error counts as each. While somebody waits, the event loop stays alive, unless 4 is added.
fn watch(thread: &Thread, [socket, interest]: [Argument<'_>; 2]) -> Result<Outcome> {
    let interest = interest.integer_in("interest", 0, READABLE | WRITABLE | QUIET)?;
    let watched = thread.watch(socket.integer("socket")?, interest)?;
    Ok((watched.map(|()| 0), Left::default()))
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
    unsafe extern "C" fn raw_watch(env: sys::napi_env, call: sys::napi_callback_info) -> sys::napi_value {
        // SAFETY: as above.
        unsafe { enter(env, call, watch) }
    }
    let functions: [(&CStr, sys::napi_callback); 4] = [
        (c"send", Some(raw_send)),
        (c"checkSend", Some(raw_check_send)),
        (c"receive", Some(raw_receive)),
        (c"watch", Some(raw_watch)),
    ];
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

/// A result as JavaScript gets it: a count of at most 16 bits, or an error number, negated; with what was left in the bits
/// above. The bits are part of the contract with `ts/native/layout.ts`.
pub fn encode((result, left): Outcome) -> i32 {
    let bits = [(left.datagrams, 1 << 16), (left.error, 1 << 17), (left.drained, 1 << 18), (left.reports, 1 << 19)];
    let above: i32 = bits.into_iter().filter_map(|(is_set, bit)| is_set.then_some(bit)).sum();
    match result {
        Ok(count) => count as i32 | above,
        Err(errno) => -(errno.0 | above),
    }
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
        let number = encode(body(thread, arguments)?);
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
