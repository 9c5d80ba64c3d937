//! What one JavaScript thread owns: its sockets, the buffers they share, its readiness driver. All of it goes with the
//! thread's environment.

use crate::arguments::{Argument, refuse};
#[cfg(unix)]
use crate::claims::Claim;
use crate::readiness::{self, CleanupHook, Listener, Readiness};
use crate::slab::Slab;
use napi::{Env, Result, check_status, sys};
#[cfg(unix)]
use socket2::Socket;
use std::cell::{RefCell, RefMut};
use std::ffi::c_void;
use std::ptr;
use std::rc::Rc;
use wasi_udp_engine::errno::Errno;
use wasi_udp_engine::socket::{Buffers, UdpSocket};

/// The state of one environment (`napi_env`), which is to say of one JavaScript thread.
pub struct Thread {
    /// The sockets by handle, and the buffers of the system calls. Never borrowed while JavaScript runs.
    sockets: RefCell<Sockets>,
    readiness: Box<dyn Readiness>,
    /// Hears of ready sockets.
    pub listener: Rc<Listener>,
}

/// The sockets of a thread.
pub struct Sockets {
    /// By handle.
    pub slab: Slab<Open>,
    /// Used by one system call at a time.
    pub buffers: Buffers,
}

/// An open socket.
pub struct Open {
    /// What keeps others from taking its descriptor over. It goes before the socket, which closes the descriptor.
    #[cfg(unix)]
    _claim: Claim,
    /// The socket itself.
    pub socket: UdpSocket,
}

impl Open {
    /// A socket with a descriptor of its own.
    pub fn new(socket: UdpSocket) -> Self {
        Self {
            #[cfg(unix)]
            _claim: Claim::of(socket.as_socket()),
            socket,
        }
    }

    /// A socket with a descriptor that was claimed before.
    #[cfg(unix)]
    pub fn claimed(claim: Claim, socket: UdpSocket) -> Self {
        Self { _claim: claim, socket }
    }
}

impl Thread {
    /// Makes the state of an environment, when it loads the addon, and has it closed when the environment ends.
    pub fn install(env: &Env) -> Result<()> {
        let listener = Rc::new(Listener::new(env.raw()));
        let thread = Box::new(Self {
            sockets: RefCell::new(Sockets { slab: Slab::new(), buffers: Buffers::default() }),
            readiness: readiness::start(env, &listener)?,
            listener,
        });
        let thread = Box::into_raw(thread);
        // SAFETY: `thread` is a leaked box, which the environment holds from here on: `release` frees it after the last
        // call from JavaScript and after `close`.
        unsafe {
            let status = sys::napi_set_instance_data(env.raw(), thread.cast(), Some(release), ptr::null_mut());
            check_status!(status, "napi_set_instance_data")?;
            CleanupHook::add(env, (*thread).readiness.closes_later(), close, thread.cast())
        }
    }

    /// The state of the environment that calls.
    #[inline]
    pub fn of(env: &Env) -> Result<&Self> {
        let mut thread = ptr::null_mut();
        // SAFETY: the environment is the caller's.
        let status = unsafe { sys::napi_get_instance_data(env.raw(), &mut thread) };
        check_status!(status, "napi_get_instance_data")?;
        // SAFETY: `install` set it, or nobody; it is freed after the last call from JavaScript, so it outlives `env`, an
        // argument of this call. References to it are shared ones only.
        unsafe { thread.cast::<Self>().as_ref() }.ok_or_else(|| refuse("the addon is not loaded in this thread"))
    }

    /// The sockets, to use in this call.
    #[inline]
    pub fn sockets(&self) -> RefMut<'_, Sockets> {
        self.sockets.borrow_mut()
    }

    /// EEXIST where the event loop watches the descriptor for somebody else, who will close it.
    #[cfg(unix)]
    pub fn check_free(&self, socket: &Socket) -> std::result::Result<(), Errno> {
        self.readiness.check_free(socket)
    }

    /// Closes a socket: its watch first, then its descriptor.
    pub fn close(&self, handle: i32) -> Result<()> {
        let open = self.sockets().slab.remove(handle).ok_or_else(|| stale(handle))?;
        self.readiness.forget(handle, open.socket.as_socket());
        Ok(())
    }

    /// Has the listener hear, once, of the events of `interest`; 0 stops.
    pub fn watch(&self, handle: i32, interest: i32) -> Result<std::result::Result<(), Errno>> {
        let mut sockets = self.sockets();
        let open = sockets.open(handle)?;
        Ok(self.readiness.watch(handle, open.socket.as_socket(), interest))
    }

    /// How readiness is learned: `libuv` or `thread`.
    pub fn poller(&self) -> &'static str {
        self.readiness.name()
    }
}

impl Sockets {
    /// The socket of a handle.
    #[inline]
    pub fn open(&mut self, handle: i32) -> Result<&mut Open> {
        self.slab.get_mut(handle).ok_or_else(|| stale(handle))
    }

    /// The socket that an argument names, with the thread's buffers.
    #[inline]
    pub fn named(&mut self, socket: &Argument<'_>) -> Result<(&mut UdpSocket, &mut Buffers)> {
        let handle = socket.integer("socket")?;
        let open = self.slab.get_mut(handle).ok_or_else(|| stale(handle))?;
        Ok((&mut open.socket, &mut self.buffers))
    }
}

/// What to say of a handle that names nothing.
pub fn stale(handle: i32) -> napi::Error {
    refuse(format!(
        "socket must be a handle that open() gave to this thread, got {handle}: it was closed, or never opened"
    ))
}

/// The environment ends: no JavaScript runs any more. Whatever is still open is closed; the hook goes with the last of
/// libuv's handles.
fn close(hook: CleanupHook, thread: *mut c_void) {
    // SAFETY: `install` passed the thread, which `release` frees only after this hook is gone.
    let thread = unsafe { &*thread.cast::<Thread>() };
    thread.readiness.close(Rc::new(hook));
    thread.sockets().slab.clear();
}

/// Frees the state of an environment that is gone.
unsafe extern "C" fn release(_: sys::napi_env, thread: *mut c_void, _: *mut c_void) {
    // SAFETY: the pointer is the one of `install`, and the environment calls this once.
    drop(unsafe { Box::from_raw(thread.cast::<Thread>()) });
}
