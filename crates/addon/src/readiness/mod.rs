//! Readiness for an event loop: sockets are watched while somebody waits, and a function in JavaScript hears of events.
//!
//! A watch stays armed from one wait to the next, so that a loop that waits again and again costs no system call for it. One
//! that fires with nobody waiting is taken away.
//!
//! Two drivers meet the contract of [`Readiness`]: [`libuv`]'s poll handles, in the event loop itself, where the runtime has
//! them (Node.js, Electron); else [`poller`], one thread for the process.

mod libuv;
mod poller;
#[cfg(feature = "simulated")]
pub mod simulated;

use napi::bindgen_prelude::{JsObjectValue, Object};
use napi::{Env, Result, check_status, sys};
use socket2::Socket;
use std::cell::Cell;
use std::env;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::rc::Rc;
use wasi_udp_engine::errno::Errno;

/// Something to receive, as an interest and as an event. libuv has the same numbers.
pub const READABLE: i32 = 1;
/// Room to send.
pub const WRITABLE: i32 = 2;
/// Beside an interest: whoever waits does not keep the event loop alive.
pub const QUIET: i32 = 4;

/// In an answer: what the event set off goes on, in another call of `ready`.
const AGAIN: i32 = 8;

/// What a driver does for one thread.
pub trait Readiness {
    /// `libuv` or `thread`.
    fn name(&self) -> &'static str;

    /// Somebody waits for the events of `interest`, or nobody for any (0). The listener hears of them while they hold, and
    /// may hear of others that were waited for before. An error counts as every event that is watched. The event loop stays
    /// alive while somebody waits, unless `interest` has [`QUIET`].
    fn watch(&self, handle: i32, socket: &Socket, interest: i32) -> std::result::Result<(), Errno>;

    /// EEXIST where the event loop watches the descriptor for somebody else, who will close it.
    #[cfg(unix)]
    fn check_free(&self, _: &Socket) -> std::result::Result<(), Errno> {
        Ok(())
    }

    /// Forgets a socket, whose descriptor closes next. The listener hears no more of the handle.
    fn forget(&self, handle: i32, socket: &Socket);

    /// Whether closing takes turns of the event loop.
    fn closes_later(&self) -> bool;

    /// Forgets all sockets: the environment ends. The hook is dropped once nothing in the event loop is left.
    fn close(&self, hook: Rc<CleanupHook>);
}

/// The driver for an environment, chosen before any function of libuv is called. `WASI_UDP_POLLER=thread` chooses the thread.
pub fn start(env: &Env, listener: &Rc<Listener>) -> Result<Box<dyn Readiness>> {
    #[cfg(feature = "simulated")]
    if cfg!(feature = "simulated") {
        return Ok(Box::new(simulated::Simulated::new(listener)));
    }
    let forced = env::var_os("WASI_UDP_POLLER").is_some_and(|value| value == "thread");
    if !forced
        && !imitates_libuv(env)
        && let Some(driver) = libuv::Libuv::new(env, listener)
    {
        return Ok(Box::new(driver));
    }
    Ok(Box::new(poller::Poller::new(env, listener)?))
}

/// Whether the runtime exports functions of libuv that it does not run on: Bun's abort the process, Deno's (2.9) report
/// events that did not occur.
fn imitates_libuv(env: &Env) -> bool {
    let imitates = || {
        let process: Object = env.get_global().ok()?.get_named_property("process").ok()?;
        let versions: Object = process.get_named_property("versions").ok()?;
        Some(versions.has_named_property("bun").ok()? || versions.has_named_property("deno").ok()?)
    };
    imitates() == Some(true)
}

/// The functions in JavaScript that hear of ready sockets.
pub struct Listener {
    env: sys::napi_env,
    /// Null until onReady(). The environment frees them with itself.
    ready: Cell<sys::napi_ref>,
    wanted: Cell<sys::napi_ref>,
}

/// What came of telling the listener.
#[derive(Clone, Copy)]
pub struct Heard {
    /// Of the events, those that somebody waited for.
    pub heard: i32,
    /// The events that somebody waits for now.
    pub wanted: i32,
}

impl Listener {
    /// Nobody listens yet.
    pub fn new(env: sys::napi_env) -> Self {
        Self { env, ready: Cell::new(ptr::null_mut()), wanted: Cell::new(ptr::null_mut()) }
    }

    /// Makes functions those that hear, instead of those of before.
    pub fn set(&self, ready: sys::napi_value, wanted: sys::napi_value) -> Result<()> {
        for (place, function) in [(&self.ready, ready), (&self.wanted, wanted)] {
            let mut reference = ptr::null_mut();
            // SAFETY: called from JavaScript of this environment, which `function` is an argument of; the former reference
            // was made here, and is not used after this.
            unsafe {
                let status = sys::napi_create_reference(self.env, function, 1, &mut reference);
                check_status!(status, "napi_create_reference")?;
                let former = place.replace(reference);
                if !former.is_null() {
                    sys::napi_delete_reference(self.env, former);
                }
            }
        }
        Ok(())
    }

    /// Tells of events, or of an error number, negated. What the function throws is an uncaught exception, as in any event
    /// handler. Called from the event loop.
    ///
    /// Nothing of the addon may be borrowed: JavaScript runs, and may call any export.
    fn call(&self, handle: i32, events: i32) -> Heard {
        self.call_with(handle, events, || ())
    }

    /// As `call`, with something to do before it asks what is wanted.
    ///
    /// What the event set off may go on in steps: each is a callback of the runtime's own, with its ticks and microtasks behind
    /// it, and what one throws is no matter of the next.
    fn call_with(&self, handle: i32, events: i32, between: impl Fn()) -> Heard {
        let nobody = Heard { heard: 0, wanted: 0 };
        if self.ready.get().is_null() {
            return nobody;
        }
        let Some(first) = self.step(handle, events, &between) else { return nobody };
        let mut wanted = first.wanted;
        while wanted & AGAIN != 0 {
            wanted = self.step(handle, 0, &between).map_or(0, |step| step.wanted);
        }
        Heard { heard: first.heard & !AGAIN, wanted }
    }

    /// One call of `ready`, and of `wanted`, which need not be asked where `ready` says that there is more.
    fn step(&self, handle: i32, events: i32, between: &impl Fn()) -> Option<Heard> {
        // SAFETY: the drivers call this on the environment's own thread, from the event loop, and not after `close`, so the
        // environment and the references are alive. The values live in the scope that is opened here.
        unsafe {
            let mut scope = ptr::null_mut();
            if sys::napi_open_handle_scope(self.env, &mut scope) != sys::Status::napi_ok {
                return None;
            }
            // Where it threw, whatever was waited for is so still.
            let heard = self.tell(handle, events).unwrap_or(events);
            between();
            let wanted = if heard & AGAIN == 0 { self.ask(handle).unwrap_or(0) } else { AGAIN };
            sys::napi_close_handle_scope(self.env, scope);
            Some(Heard { heard, wanted })
        }
    }

    /// Calls `ready`, and runs microtasks behind it; what it answered.
    ///
    /// # Safety
    /// As in `call`, within a handle scope.
    unsafe fn tell(&self, handle: i32, events: i32) -> Option<i32> {
        // SAFETY: the caller's.
        unsafe {
            let (mut function, mut global) = (ptr::null_mut(), ptr::null_mut());
            let mut arguments = [ptr::null_mut(); 2];
            sys::napi_get_reference_value(self.env, self.ready.get(), &mut function);
            sys::napi_get_global(self.env, &mut global);
            sys::napi_create_int32(self.env, handle, &mut arguments[0]);
            sys::napi_create_int32(self.env, events, &mut arguments[1]);
            let (count, values) = (arguments.len(), arguments.as_ptr());
            let mut result = ptr::null_mut();
            let status =
                sys::napi_make_callback(self.env, ptr::null_mut(), global, function, count, values, &mut result);
            self.integer(status, result)
        }
    }

    /// Calls `wanted`; what it answered.
    ///
    /// # Safety
    /// As in `call`, within a handle scope.
    unsafe fn ask(&self, handle: i32) -> Option<i32> {
        // SAFETY: the caller's.
        unsafe {
            let (mut function, mut global, mut argument) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
            sys::napi_get_reference_value(self.env, self.wanted.get(), &mut function);
            sys::napi_get_global(self.env, &mut global);
            sys::napi_create_int32(self.env, handle, &mut argument);
            let mut result = ptr::null_mut();
            let status = sys::napi_call_function(self.env, global, function, 1, &argument, &mut result);
            self.integer(status, result)
        }
    }

    /// The integer that a function answered; none where it answered another value or threw: that is an uncaught exception.
    ///
    /// # Safety
    /// As in `call`, within a handle scope.
    unsafe fn integer(&self, status: sys::napi_status, result: sys::napi_value) -> Option<i32> {
        let mut number = 0;
        // SAFETY: the caller's.
        unsafe {
            if status == sys::Status::napi_ok {
                return (sys::napi_get_value_int32(self.env, result, &mut number) == sys::Status::napi_ok)
                    .then_some(number);
            }
            let mut pending = false;
            sys::napi_is_exception_pending(self.env, &mut pending);
            if pending {
                let mut exception = ptr::null_mut();
                sys::napi_get_and_clear_last_exception(self.env, &mut exception);
                sys::napi_fatal_exception(self.env, exception);
            }
        }
        None
    }
}

/// Runs what an event loop called; a panic, which would be a defect, ends here and is told on standard error.
fn guarded(body: impl FnOnce()) {
    // The panic hook has printed where and why; there is nobody to return it to.
    let _ = catch_unwind(AssertUnwindSafe(body));
}

/// What an environment that ends waits for, where closing takes turns of its event loop: until this is dropped.
pub struct CleanupHook(Option<sys::napi_async_cleanup_hook_handle>);

struct Registered {
    hook: fn(CleanupHook, *mut c_void),
    data: *mut c_void,
}

impl CleanupHook {
    /// Has `hook` called when the environment ends, with `data`. The event loop runs on until the hook is dropped, where that
    /// may be `later`; elsewhere an ordinary hook does, since some runtimes (Deno 2.9) free the other kind twice.
    ///
    /// # Safety
    /// `data` lives until then.
    pub unsafe fn add(env: &Env, later: bool, hook: fn(Self, *mut c_void), data: *mut c_void) -> Result<()> {
        unsafe extern "C" fn run_later(handle: sys::napi_async_cleanup_hook_handle, registered: *mut c_void) {
            // SAFETY: the environment passes what was registered, once.
            unsafe { run(Some(handle), registered) };
        }
        unsafe extern "C" fn run_now(registered: *mut c_void) {
            // SAFETY: as above.
            unsafe { run(None, registered) };
        }
        unsafe fn run(handle: Option<sys::napi_async_cleanup_hook_handle>, registered: *mut c_void) {
            // SAFETY: the pointer is the leaked box of `add`, and comes once.
            let registered = unsafe { Box::from_raw(registered.cast::<Registered>()) };
            guarded(|| (registered.hook)(CleanupHook(handle), registered.data));
        }
        let registered = Box::into_raw(Box::new(Registered { hook, data })).cast();
        // SAFETY: the environment is the caller's; `registered` is leaked to it.
        let status = unsafe {
            match later {
                true => sys::napi_add_async_cleanup_hook(env.raw(), Some(run_later), registered, ptr::null_mut()),
                false => sys::napi_add_env_cleanup_hook(env.raw(), Some(run_now), registered),
            }
        };
        check_status!(status, "the environment takes no cleanup hook")
    }
}

impl Drop for CleanupHook {
    fn drop(&mut self) {
        if let Some(handle) = self.0 {
            // SAFETY: the handle is the one that the environment passed to the hook, and waits for.
            unsafe { sys::napi_remove_async_cleanup_hook(handle) };
        }
    }
}
