//! One thread for the process waits for the watched sockets of all JavaScript threads, and tells each by a threadsafe
//! function. For runtimes whose event loop cannot be asked.

use super::{CleanupHook, Heard, Listener, QUIET, READABLE, Readiness, WRITABLE, guarded};
use napi::bindgen_prelude::JsValue;
use napi::{Env, Result, check_status, sys};
use polling::{Event, Events};
use socket2::Socket;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::c_void;
use std::ptr;
use std::rc::Rc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;
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

/// Events on their way to their JavaScript thread; or an error number, negated: the system does not watch any more.
struct Fired {
    key: usize,
    handle: i32,
    events: i32,
}

/// The driver.
pub struct Poller {
    local: Rc<Local>,
}

/// What the driver shares with the events that arrive in its thread.
struct Local {
    /// The polling thread, once a socket was watched.
    shared: Cell<Option<&'static Shared>>,
    env: sys::napi_env,
    function: Cell<sys::napi_threadsafe_function>,
    listener: Rc<Listener>,
    /// By handle, the sockets that the poller knows.
    watches: RefCell<HashMap<i32, Watch>>,
    /// For how many of them somebody waits. The function keeps the event loop alive while there is one.
    waited: Cell<usize>,
}

#[derive(Clone, Copy)]
struct Watch {
    key: usize,
    source: Source,
    /// The events that are watched, and have not arrived here. The poller reports once what it is asked for, so an event that
    /// finds nobody is not watched any more, and one that is waited for again is asked for again.
    armed: i32,
    /// Whether somebody waits who keeps the event loop alive.
    waited: bool,
}

/// Starts the polling thread when the first socket is watched. It lives as long as the process.
fn shared() -> std::result::Result<&'static Shared, Errno> {
    static SHARED: Mutex<Option<&'static Shared>> = Mutex::new(None);
    let mut started = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(shared) = *started {
        return Ok(shared);
    }
    let poller = polling::Poller::new()?;
    let shared: &'static Shared = Box::leak(Box::new(Shared { poller, registered: Mutex::default() }));
    // The thread's code must stay, though the worker that loaded the addon ends.
    napi::bindgen_prelude::retain_current_module_for_unload_safety();
    thread::Builder::new().name("wasi-udp-poller".into()).spawn(|| shared.run())?;
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
            let waited = self.poller.wait(&mut events, None).map_err(Errno::from);
            let mut registered = self.lock();
            for event in events.iter() {
                if let Some(registration) = registered.by_key.get_mut(&event.key) {
                    self.fire(registration, event);
                }
            }
            if let Err(errno) = waited {
                // Of the others nobody would hear: whoever waits is told, and may wait again.
                for (&key, registration) in &mut registered.by_key {
                    if std::mem::take(&mut registration.interest) != 0 {
                        registration.tell(key, -errno.0);
                    }
                }
                drop(registered);
                thread::sleep(Duration::from_millis(1));
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
            if let Err(error) = self.poller.modify(source, wanted(key, registration.interest)) {
                registration.tell(key, -Errno::from(error).0);
            }
        }
        if events != 0 {
            registration.tell(key, events);
        }
    }
}

impl Registration {
    /// Sends events, or an error number, negated, to the registration's environment. Under the lock.
    fn tell(&self, key: usize, events: i32) {
        let fired = Box::into_raw(Box::new(Fired { key, handle: self.handle, events }));
        let mode = sys::ThreadsafeFunctionCallMode::nonblocking;
        // SAFETY: the environment has not ended: it would have removed the registration, under the lock that we hold.
        // `fired` is leaked to `arrived`.
        let status = unsafe { sys::napi_call_threadsafe_function(self.function.0, fired.cast(), mode) };
        if status != sys::Status::napi_ok {
            // SAFETY: the function did not take it.
            drop(unsafe { Box::from_raw(fired) });
        }
    }
}

impl Poller {
    /// The driver for an environment.
    pub fn new(env: &Env, listener: &Rc<Listener>) -> Result<Self> {
        let local = Rc::new(Local {
            shared: Cell::new(None),
            env: env.raw(),
            function: Cell::new(ptr::null_mut()),
            listener: Rc::clone(listener),
            watches: RefCell::default(),
            waited: Cell::new(0),
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
        Ok(Self { local })
    }
}

impl Readiness for Poller {
    fn name(&self) -> &'static str {
        "thread"
    }

    fn watch(&self, handle: i32, socket: &Socket, interest: i32) -> std::result::Result<(), Errno> {
        self.local.watch(handle, raw(socket), interest)
    }

    fn forget(&self, handle: i32, socket: &Socket) {
        let Some(watch) = self.local.watches.borrow().get(&handle).copied() else { return };
        let Some(shared) = self.local.shared.get() else { return };
        let mut registered = shared.lock();
        registered.by_key.remove(&watch.key);
        // A poller that fails to forget a descriptor loses it when it closes, next; its events find no registration.
        let _ = shared.poller.delete(socket);
        drop(registered);
        self.local.note(handle, None);
    }

    fn closes_later(&self) -> bool {
        false
    }

    fn close(&self, _hook: Rc<CleanupHook>) {
        if let Some(shared) = self.local.shared.get() {
            let mut registered = shared.lock();
            for (_, watch) in self.local.watches.borrow_mut().drain() {
                if let Some(Registration { source, .. }) = registered.by_key.remove(&watch.key) {
                    // SAFETY: the environment's sockets close after its watches.
                    let source = unsafe { BorrowedSource::borrow_raw(source) };
                    // As in `forget`.
                    let _ = shared.poller.delete(source);
                }
            }
        }
        let mode = sys::ThreadsafeFunctionReleaseMode::abort;
        // SAFETY: the environment has not closed the function yet (hooks run newest first, and this one was added after
        // it), and nobody calls it any more: the registrations are gone.
        unsafe { sys::napi_release_threadsafe_function(self.local.function.get(), mode) };
    }
}

impl Local {
    /// Somebody waits for the events of `interest`, or nobody.
    fn watch(&self, handle: i32, source: Source, interest: i32) -> std::result::Result<(), Errno> {
        let former = self.watches.borrow().get(&handle).copied();
        let mut watch = former.unwrap_or(Watch { key: 0, source, armed: 0, waited: false });
        let events = interest & !QUIET;
        watch.waited = events != 0 && interest & QUIET == 0;
        if events & !watch.armed != 0 {
            watch.armed |= events;
            let shared = match self.shared.get() {
                Some(shared) => shared,
                None => shared()?,
            };
            self.shared.set(Some(shared));
            let mut registered = shared.lock();
            registered.last_key += 1;
            let key = registered.last_key;
            // SAFETY: the descriptor is open: its socket is forgotten, and so deleted from the poller, before it closes.
            let borrowed = unsafe { BorrowedSource::borrow_raw(source) };
            match former {
                Some(former) => {
                    shared.poller.modify(borrowed, wanted(key, watch.armed))?;
                    registered.by_key.remove(&former.key);
                }
                // SAFETY: as above.
                None => unsafe { shared.poller.add(source, wanted(key, watch.armed))? },
            }
            let function = ThreadsafeFunction(self.function.get());
            registered.by_key.insert(key, Registration { handle, source, interest: watch.armed, function });
            watch.key = key;
        }
        // A socket that the poller does not know, and that nobody waits for, is left alone.
        if former.is_some() || watch.armed != 0 {
            self.note(handle, Some(watch));
        }
        Ok(())
    }

    /// Notes the watch of a socket; none once it is forgotten.
    fn note(&self, handle: i32, watch: Option<Watch>) {
        let mut watches = self.watches.borrow_mut();
        let former = match watch {
            Some(watch) => watches.insert(handle, watch),
            None => watches.remove(&handle),
        };
        let is_waited = |watch: Option<Watch>| usize::from(watch.is_some_and(|watch| watch.waited));
        let before = self.waited.get();
        let now = before + is_waited(watch) - is_waited(former);
        self.waited.set(now);
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

    /// Tells the listener of events that arrived, and watches on for what is waited for then.
    fn hear(&self, fired: &Fired) {
        let Some(watch) = self.watch_of(fired) else { return };
        let armed = if fired.events < 0 { 0 } else { watch.armed & !fired.events };
        self.note(fired.handle, Some(Watch { armed, ..watch }));
        let Heard { wanted, .. } = self.listener.call(fired.handle, fired.events);
        // The listener may have closed the socket.
        if !self.watches.borrow().contains_key(&fired.handle) {
            return;
        }
        if let Err(errno) = self.watch(fired.handle, watch.source, wanted) {
            self.listener.call(fired.handle, -errno.0);
        }
    }
}

/// The environment calls this in its thread with what `fire` sent; with none where it ends.
unsafe extern "C" fn arrived(env: sys::napi_env, _: sys::napi_value, context: *mut c_void, fired: *mut c_void) {
    // SAFETY: `fire` leaked the box to this call.
    let fired = unsafe { Box::from_raw(fired.cast::<Fired>()) };
    if env.is_null() {
        return;
    }
    // SAFETY: `context` holds a count of the Rc until `finished`, which comes after the last call.
    guarded(|| unsafe { &*context.cast::<Local>() }.hear(&fired));
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
