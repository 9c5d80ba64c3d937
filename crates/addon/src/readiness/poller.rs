//! One thread for the process waits for the watched sockets of all JavaScript threads, and tells each by a threadsafe
//! function. For runtimes whose event loop cannot be asked.

use super::{CleanupHook, Listener, READABLE, Readiness, WRITABLE, guarded};
use napi::bindgen_prelude::JsValue;
use napi::{Env, Result, check_status, sys};
use polling::{Event, Events};
use socket2::Socket;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::c_void;
use std::io;
use std::ptr;
use std::rc::Rc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use wasi_udp_engine::errno::Errno;

/// What the JavaScript threads share with the polling thread.
struct Shared {
    poller: polling::Poller,
    registered: Mutex<Registered>,
}

/// Registrations by the key that the poller knows the socket by.
#[derive(Default)]
struct Registered {
    by_key: HashMap<usize, Registration>,
    last_key: usize,
}

/// One call of watch(). Each has a key of its own, so that an event of an earlier one, or of a socket whose descriptor has
/// a new owner, finds nobody. The socket stays known to the poller, with no events asked for, until it is forgotten.
struct Registration {
    handle: i32,
    /// The socket's descriptor. The socket is forgotten before it closes.
    source: Source,
    /// The events that are watched.
    interest: i32,
    /// Called under the lock alone, where the registration is there: its environment removes it before it ends.
    function: ThreadsafeFunction,
}

#[derive(Clone, Copy)]
struct ThreadsafeFunction(sys::napi_threadsafe_function);
// SAFETY: a threadsafe function may be called from any thread, until its environment ends (see `Registration::function`).
unsafe impl Send for ThreadsafeFunction {}

/// An event on its way to its JavaScript thread.
struct Fired {
    key: usize,
    handle: i32,
    events: i32,
}

/// The driver.
pub struct Poller {
    shared: &'static Shared,
    local: Rc<Local>,
}

/// What the driver shares with the events that arrive in its thread.
struct Local {
    env: sys::napi_env,
    function: Cell<sys::napi_threadsafe_function>,
    listener: Rc<Listener>,
    /// By handle, the sockets that the poller knows.
    watches: RefCell<HashMap<i32, Watch>>,
    /// How many of them are watched for something. The function keeps the event loop alive while any is.
    watched: Cell<usize>,
}

#[derive(Clone, Copy)]
struct Watch {
    key: usize,
    /// The events that are watched, and have not arrived here.
    interest: i32,
}

/// Starts the polling thread when the first environment needs it. It lives as long as the process.
fn shared() -> Result<&'static Shared> {
    static SHARED: Mutex<Option<&'static Shared>> = Mutex::new(None);
    let failed = |error: io::Error| napi::Error::from_reason(format!("the polling thread does not start: {error}"));
    let mut started = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(shared) = *started {
        return Ok(shared);
    }
    let poller = polling::Poller::new().map_err(failed)?;
    let shared: &'static Shared = Box::leak(Box::new(Shared { poller, registered: Mutex::default() }));
    // The thread's code must stay, though the worker that loaded the addon ends.
    napi::bindgen_prelude::retain_current_module_for_unload_safety();
    thread::Builder::new().name("wasi-udp-poller".into()).spawn(|| shared.run()).map_err(failed)?;
    Ok(started.insert(shared))
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Registered> {
        self.registered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The polling thread.
    fn run(&self) {
        let mut events = Events::new();
        loop {
            events.clear();
            if let Err(error) = self.poller.wait(&mut events, None) {
                panic!("waiting for sockets failed: {error}");
            }
            let mut registered = self.lock();
            for event in events.iter() {
                if let Some(registration) = registered.by_key.get_mut(&event.key) {
                    self.fire(registration, event);
                }
            }
        }
    }

    /// Tells the environment of a socket's events, and asks for the rest of its interest. Under the lock.
    fn fire(&self, registration: &mut Registration, Event { key, readable, writable, .. }: Event) {
        let occurred = (if readable { READABLE } else { 0 }) | (if writable { WRITABLE } else { 0 });
        let events = occurred & registration.interest;
        registration.interest &= !events;
        if registration.interest != 0 {
            // SAFETY: the descriptor is open: its socket would have been forgotten, under the lock that we hold.
            let source = unsafe { BorrowedSource::borrow_raw(registration.source) };
            // The poller reports once what it is asked for, so the rest is asked for again.
            self.poller.modify(source, wanted(key, registration.interest)).expect("the socket is known to the poller");
        }
        if events == 0 {
            return;
        }
        let fired = Box::into_raw(Box::new(Fired { key, handle: registration.handle, events }));
        let mode = sys::ThreadsafeFunctionCallMode::nonblocking;
        // SAFETY: the environment has not ended: it would have removed the registration, under the lock that we hold.
        // `fired` is leaked to `arrived`.
        let status = unsafe { sys::napi_call_threadsafe_function(registration.function.0, fired.cast(), mode) };
        if status != sys::Status::napi_ok {
            // SAFETY: the function did not take it.
            drop(unsafe { Box::from_raw(fired) });
        }
    }
}

impl Poller {
    /// The driver for an environment.
    pub fn new(env: &Env, listener: &Rc<Listener>) -> Result<Self> {
        let shared = shared()?;
        let local = Rc::new(Local {
            env: env.raw(),
            function: Cell::new(ptr::null_mut()),
            listener: Rc::clone(listener),
            watches: RefCell::default(),
            watched: Cell::new(0),
        });
        let name = env.create_string("wasi-udp readiness")?;
        let mut function = ptr::null_mut();
        let context = Rc::into_raw(Rc::clone(&local)).cast_mut().cast();
        // SAFETY: the environment is the caller's; `context` is one count of `local`, which `finished` gives back.
        unsafe {
            let status = sys::napi_create_threadsafe_function(
                env.raw(),
                ptr::null_mut(),
                ptr::null_mut(),
                name.raw(),
                0,
                1,
                context,
                Some(finished),
                context,
                Some(arrived),
                &mut function,
            );
            check_status!(status, "napi_create_threadsafe_function")?;
            check_status!(sys::napi_unref_threadsafe_function(env.raw(), function))?;
        }
        local.function.set(function);
        Ok(Self { shared, local })
    }
}

impl Readiness for Poller {
    fn name(&self) -> &'static str {
        "thread"
    }

    fn watch(&self, handle: i32, socket: &Socket, interest: i32) -> std::result::Result<(), Errno> {
        let former = self.local.watches.borrow().get(&handle).copied();
        if former.is_none() && interest == 0 {
            return Ok(());
        }
        let mut registered = self.shared.lock();
        registered.last_key += 1;
        let key = registered.last_key;
        match former {
            Some(former) => {
                registered.by_key.remove(&former.key);
                self.shared.poller.modify(socket, wanted(key, interest))?;
            }
            // SAFETY: the socket is forgotten, and so deleted from the poller, before it closes.
            None => unsafe { self.shared.poller.add(socket, wanted(key, interest))? },
        }
        let registration = Registration {
            handle,
            source: raw(socket),
            interest,
            function: ThreadsafeFunction(self.local.function.get()),
        };
        registered.by_key.insert(key, registration);
        drop(registered);
        self.local.note(handle, Some(Watch { key, interest }));
        Ok(())
    }

    fn forget(&self, handle: i32, socket: &Socket) {
        let Some(watch) = self.local.watches.borrow().get(&handle).copied() else { return };
        let mut registered = self.shared.lock();
        registered.by_key.remove(&watch.key);
        self.shared.poller.delete(socket).expect("the socket is known to the poller");
        drop(registered);
        self.local.note(handle, None);
    }

    fn closes_later(&self) -> bool {
        false
    }

    fn close(&self, _hook: Rc<CleanupHook>) {
        let mut registered = self.shared.lock();
        for (_, watch) in self.local.watches.borrow_mut().drain() {
            if let Some(Registration { source, .. }) = registered.by_key.remove(&watch.key) {
                // SAFETY: the environment's sockets close after its watches.
                let source = unsafe { BorrowedSource::borrow_raw(source) };
                self.shared.poller.delete(source).expect("the socket is known to the poller");
            }
        }
        drop(registered);
        let mode = sys::ThreadsafeFunctionReleaseMode::abort;
        // SAFETY: the environment has not closed the function yet (hooks run newest first, and this one was added after
        // it), and nobody calls it any more: the registrations are gone.
        unsafe { sys::napi_release_threadsafe_function(self.local.function.get(), mode) };
    }
}

impl Local {
    /// Notes what a socket is watched for; none once it is forgotten.
    fn note(&self, handle: i32, watch: Option<Watch>) {
        let mut watches = self.watches.borrow_mut();
        let former = match watch {
            Some(watch) => watches.insert(handle, watch),
            None => watches.remove(&handle),
        };
        let is_watched = |watch: Option<Watch>| usize::from(watch.is_some_and(|watch| watch.interest != 0));
        let before = self.watched.get();
        let now = before + is_watched(watch) - is_watched(former);
        self.watched.set(now);
        // SAFETY: called in the environment's own thread, while it lives.
        unsafe {
            match (before, now) {
                (0, 1..) => sys::napi_ref_threadsafe_function(self.env, self.function.get()),
                (1.., 0) => sys::napi_unref_threadsafe_function(self.env, self.function.get()),
                _ => sys::Status::napi_ok,
            };
        }
    }

    /// The watch that events are of; none where it was replaced or forgotten while they were on their way.
    fn watch_of(&self, fired: &Fired) -> Option<Watch> {
        self.watches.borrow().get(&fired.handle).copied().filter(|watch| watch.key == fired.key)
    }
}

/// The environment calls this in its thread with what `fire` sent; with none where it ends.
unsafe extern "C" fn arrived(env: sys::napi_env, _: sys::napi_value, context: *mut c_void, fired: *mut c_void) {
    // SAFETY: `fire` leaked the box to this call.
    let fired = unsafe { Box::from_raw(fired.cast::<Fired>()) };
    if env.is_null() {
        return;
    }
    guarded(|| {
        // SAFETY: `context` holds a count of the Rc until `finished`, which comes after the last call.
        let local = unsafe { &*context.cast::<Local>() };
        if let Some(watch) = local.watch_of(&fired) {
            local.note(fired.handle, Some(Watch { interest: watch.interest & !fired.events, ..watch }));
            local.listener.call(fired.handle, fired.events);
        }
    });
}

/// The environment calls this when the function is gone.
unsafe extern "C" fn finished(_: sys::napi_env, context: *mut c_void, _: *mut c_void) {
    // SAFETY: the count of `Poller::new`, given back once.
    drop(unsafe { Rc::from_raw(context.cast::<Local>()) });
}

/// What the poller is asked for.
fn wanted(key: usize, interest: i32) -> Event {
    Event::new(key, interest & READABLE != 0, interest & WRITABLE != 0)
}

#[cfg(unix)]
use std::os::fd::{BorrowedFd as BorrowedSource, RawFd as Source};
#[cfg(windows)]
use std::os::windows::io::{BorrowedSocket as BorrowedSource, RawSocket as Source};

fn raw(socket: &Socket) -> Source {
    #[cfg(unix)]
    return std::os::fd::AsRawFd::as_raw_fd(socket);
    #[cfg(windows)]
    return std::os::windows::io::AsRawSocket::as_raw_socket(socket);
}
