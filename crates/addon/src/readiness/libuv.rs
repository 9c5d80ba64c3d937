//! libuv's poll handles, one a socket, in the thread's own event loop.
//!
//! The functions are looked up in the running process and never linked: a runtime may lack them. libuv allows one poll
//! handle a descriptor, and wants it closed before the descriptor.

use super::{CleanupHook, Heard, Listener, QUIET, Readiness, guarded};
use napi::{Env, sys};
use socket2::Socket;
use std::alloc::{self, Layout};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::sync::OnceLock;
use wasi_udp_engine::errno::Errno;

/// `UV_POLL` of `uv_handle_type` in uv.h.
const UV_POLL: c_int = 8;

#[cfg(unix)]
type Descriptor = c_int;
#[cfg(windows)]
type Descriptor = std::os::windows::io::RawSocket;

/// What is used of libuv: uv.h.
struct Functions {
    init: unsafe extern "C" fn(*mut sys::uv_loop_s, *mut c_void, Descriptor) -> c_int,
    start: unsafe extern "C" fn(*mut c_void, c_int, unsafe extern "C" fn(*mut c_void, c_int, c_int)) -> c_int,
    stop: unsafe extern "C" fn(*mut c_void) -> c_int,
    close: unsafe extern "C" fn(*mut c_void, unsafe extern "C" fn(*mut c_void)),
    keep_alive: unsafe extern "C" fn(*mut c_void),
    let_end: unsafe extern "C" fn(*mut c_void),
    /// `uv_handle_size(UV_POLL)`.
    size: usize,
}

/// The functions in this process; none where one is missing.
fn functions() -> Option<&'static Functions> {
    static FUNCTIONS: OnceLock<Option<Functions>> = OnceLock::new();
    let look_up = || {
        #[cfg(unix)]
        let process = libloading::os::unix::Library::this();
        #[cfg(windows)]
        let process = libloading::os::windows::Library::this().ok()?;
        // SAFETY: the types are those of uv.h, which is stable within libuv 1, and the process outlives the pointers.
        unsafe {
            let handle_size: unsafe extern "C" fn(c_int) -> usize = *process.get(b"uv_handle_size\0").ok()?;
            Some(Functions {
                #[cfg(unix)]
                init: *process.get(b"uv_poll_init\0").ok()?,
                #[cfg(windows)]
                init: *process.get(b"uv_poll_init_socket\0").ok()?,
                start: *process.get(b"uv_poll_start\0").ok()?,
                stop: *process.get(b"uv_poll_stop\0").ok()?,
                close: *process.get(b"uv_close\0").ok()?,
                keep_alive: *process.get(b"uv_ref\0").ok()?,
                let_end: *process.get(b"uv_unref\0").ok()?,
                size: handle_size(UV_POLL),
            })
        }
    };
    FUNCTIONS.get_or_init(look_up).as_ref()
}

/// The driver.
pub struct Libuv {
    event_loop: *mut sys::uv_loop_s,
    functions: &'static Functions,
    listener: Rc<Listener>,
    /// The poll handle of each socket that was ever watched.
    handles: RefCell<HashMap<i32, PollHandle>>,
}

impl Libuv {
    /// The driver for an environment's event loop; none where the runtime has no libuv.
    pub fn new(env: &Env, listener: &Rc<Listener>) -> Option<Self> {
        let functions = functions()?;
        let mut event_loop = ptr::null_mut();
        // SAFETY: the environment is the caller's.
        let status = unsafe { sys::napi_get_uv_event_loop(env.raw(), &mut event_loop) };
        if status != sys::Status::napi_ok || event_loop.is_null() {
            return None;
        }
        Some(Self { event_loop, functions, listener: Rc::clone(listener), handles: RefCell::default() })
    }
}

impl Readiness for Libuv {
    fn name(&self) -> &'static str {
        "libuv"
    }

    fn watch(&self, handle: i32, socket: &Socket, interest: i32) -> Result<(), Errno> {
        let mut handles = self.handles.borrow_mut();
        if let Some(poll) = handles.get(&handle) {
            return poll.block().watch(interest);
        }
        if interest == 0 {
            return Ok(());
        }
        let poll = PollHandle::new(self, handle, socket)?;
        poll.block().watch(interest)?;
        handles.insert(handle, poll);
        Ok(())
    }

    #[cfg(unix)]
    fn check_free(&self, socket: &Socket) -> Result<(), Errno> {
        // EEXIST where another handle of the loop watches it. This one was never started, and goes as it came.
        PollHandle::new(self, 0, socket).map(drop)
    }

    fn forget(&self, handle: i32, _: &Socket) {
        self.handles.borrow_mut().remove(&handle);
    }

    fn closes_later(&self) -> bool {
        true
    }

    fn close(&self, hook: Rc<CleanupHook>) {
        for (_, poll) in self.handles.borrow_mut().drain() {
            poll.block().hook.set(Some(Rc::clone(&hook)));
        }
    }
}

/// A `uv_poll_t` with what its callbacks need in front of it, in one allocation: the callbacks get a pointer to the former
/// and step back to the latter. Dropping it closes the handle, which frees the allocation when libuv says so.
struct PollHandle(NonNull<Block>);

#[repr(C, align(16))]
struct Block {
    functions: &'static Functions,
    listener: Rc<Listener>,
    handle: i32,
    /// The events that libuv watches for.
    armed: Cell<i32>,
    /// Whether the handle is being closed.
    closing: Cell<bool>,
    /// Dropped with the block: the environment waits for it.
    hook: Cell<Option<Rc<CleanupHook>>>,
}

impl Block {
    fn layout(functions: &Functions) -> Layout {
        let poll = Layout::from_size_align(functions.size, align_of::<Self>()).expect("libuv's handles are small");
        Layout::new::<Self>().extend(poll).expect("libuv's handles are small").0
    }

    fn poll(block: NonNull<Self>) -> *mut c_void {
        // SAFETY: the allocation goes on behind the block, by `layout`; the block's size is a multiple of its alignment.
        unsafe { block.add(1).as_ptr().cast() }
    }

    /// Somebody waits for the events of `interest`, or nobody. What else is watched stays so, until it finds nobody.
    fn watch(&self, interest: i32) -> Result<(), Errno> {
        let events = interest & !QUIET;
        if events & !self.armed.get() != 0 {
            self.arm(self.armed.get() | events)?;
        }
        let poll = Self::poll(self.into());
        // SAFETY: the handle was started by `PollHandle::new` and is not closed.
        unsafe {
            if events != 0 && interest & QUIET == 0 {
                (self.functions.keep_alive)(poll);
            } else {
                (self.functions.let_end)(poll);
            }
        }
        Ok(())
    }

    /// Has libuv watch for exactly those events. They are level-triggered: nothing that is there already is missed.
    fn arm(&self, interest: i32) -> Result<(), Errno> {
        let poll = Self::poll(self.into());
        // SAFETY: as above.
        let status = unsafe {
            match interest {
                0 => (self.functions.stop)(poll),
                _ => (self.functions.start)(poll, interest, ready),
            }
        };
        if status < 0 {
            return Err(errno(status));
        }
        self.armed.set(interest);
        Ok(())
    }

    /// # Safety
    /// `poll` came from `poll()` of a block that is not freed.
    unsafe fn of(poll: *mut c_void) -> NonNull<Self> {
        // SAFETY: the caller's promise.
        unsafe { NonNull::new_unchecked(poll.cast::<Self>().sub(1)) }
    }

    /// # Safety
    /// libuv holds no pointer into the block, and nobody uses it afterwards.
    unsafe fn free(block: NonNull<Self>) {
        // SAFETY: the caller's promise; the layout is the one that it was allocated with.
        unsafe {
            let layout = Self::layout(block.as_ref().functions);
            block.drop_in_place();
            alloc::dealloc(block.as_ptr().cast(), layout);
        }
    }
}

impl PollHandle {
    fn new(driver: &Libuv, handle: i32, socket: &Socket) -> Result<Self, Errno> {
        let functions = driver.functions;
        let layout = Block::layout(functions);
        // SAFETY: the layout is not empty.
        let memory = unsafe { alloc::alloc_zeroed(layout) };
        let block = NonNull::new(memory.cast::<Block>()).unwrap_or_else(|| alloc::handle_alloc_error(layout));
        let listener = Rc::clone(&driver.listener);
        // SAFETY: the memory is ours, large and aligned enough, by the layout. The event loop is the one of this thread's
        // environment, which outlives its sockets.
        let status = unsafe {
            block.write(Block {
                functions,
                listener,
                handle,
                armed: Cell::new(0),
                closing: Cell::new(false),
                hook: Cell::new(None),
            });
            (functions.init)(driver.event_loop, Block::poll(block), descriptor(socket))
        };
        if status < 0 {
            // SAFETY: a handle that failed to start is not part of the loop.
            unsafe { Block::free(block) };
            return Err(errno(status));
        }
        Ok(Self(block))
    }

    fn block(&self) -> &Block {
        // SAFETY: the block is freed after the handle was closed, which is after `self` was dropped. It is only shared:
        // what changes in it is in cells.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for PollHandle {
    fn drop(&mut self) {
        self.block().closing.set(true);
        // SAFETY: the handle was started by `new` and is closed here only. libuv keeps the block until `closed`.
        unsafe { (self.block().functions.close)(Block::poll(self.0), closed) };
    }
}

/// libuv calls this on the loop's thread: `events` came, or none and a negative status where an error is pending; then it has
/// stopped the watch.
unsafe extern "C" fn ready(poll: *mut c_void, status: c_int, events: c_int) {
    guarded(|| {
        // SAFETY: libuv passes the pointer that it was given, and calls back for no handle that is closed. What the listener
        // does may close it; even then libuv frees it, by `closed`, in a later phase of its loop.
        let block = unsafe { Block::of(poll).as_ref() };
        let armed = block.armed.get();
        let fired = if status < 0 { armed } else { events & armed };
        if status < 0 {
            block.armed.set(0);
        }
        let Heard { heard, wanted } = block.listener.call(block.handle, fired);
        if block.closing.get() {
            return;
        }
        // What found nobody is watched no longer; what is waited for is.
        let rest = block.armed.get() & !(fired & !heard) | wanted & !QUIET;
        let mut settled = if rest == block.armed.get() { Ok(()) } else { block.arm(rest) };
        settled = settled.and_then(|()| block.watch(wanted));
        if let Err(errno) = settled {
            block.listener.call(block.handle, -errno.0);
        }
    });
}

/// libuv calls this when it holds the handle no longer.
unsafe extern "C" fn closed(poll: *mut c_void) {
    // SAFETY: libuv passes the pointer that it was given, once; the driver let go of the handle when it closed it.
    guarded(|| unsafe { Block::free(Block::of(poll)) });
}

#[cfg(unix)]
fn descriptor(socket: &Socket) -> Descriptor {
    std::os::fd::AsRawFd::as_raw_fd(socket)
}

#[cfg(windows)]
fn descriptor(socket: &Socket) -> Descriptor {
    std::os::windows::io::AsRawSocket::as_raw_socket(socket)
}

/// libuv's errors are the system's, negated, but for Windows, where they are libuv's own.
fn errno(status: c_int) -> Errno {
    if cfg!(unix) { Errno(-status) } else { Errno(wasi_udp_engine::sys::UNKNOWN) }
}
