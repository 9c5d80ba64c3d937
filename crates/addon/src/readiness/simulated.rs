//! Readiness over the simulated kernel: events come when whoever drives the simulation asks for a turn, and only then.

#![forbid(unsafe_code)]

use super::{CleanupHook, Heard, Listener, READABLE, Readiness, WRITABLE};
use socket2::Socket;
use std::cell::{Cell, RefCell};
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;
use wasi_udp_engine::errno::Errno;
use wasi_udp_engine::sys::simulated::{State, kernel};

thread_local! {
    /// The driver of this thread.
    static CURRENT: RefCell<Option<Rc<Driver>>> = const { RefCell::new(None) };
}

/// The driver of this thread's environment.
pub fn current() -> Option<Rc<Driver>> {
    CURRENT.with_borrow(Clone::clone)
}

/// The driver, as the environment has it.
pub struct Simulated(Rc<Driver>);

/// The watches of an environment.
pub struct Driver {
    listener: Rc<Listener>,
    /// In the order in which they were first watched, so that no handle's value decides anything.
    watches: RefCell<Vec<Watch>>,
    /// The error number with which the next watch that has to be armed is refused; 0 for none.
    refusal: Cell<i32>,
}

#[derive(Clone, Copy)]
struct Watch {
    handle: i32,
    socket: RawFd,
    /// The events that are watched.
    armed: i32,
    /// Whether somebody waits.
    waited: bool,
}

/// Which of the other drivers a turn behaves like.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// As libuv: level-triggered; an error ends the watch; microtasks run before it asks what is wanted.
    EventLoop,
    /// As the polling thread: an event that was told is watched no longer; microtasks run at the end of the turn.
    Thread,
}

impl Simulated {
    /// The driver for an environment.
    pub fn new(listener: &Rc<Listener>) -> Self {
        let driver =
            Rc::new(Driver { listener: Rc::clone(listener), watches: RefCell::default(), refusal: Cell::new(0) });
        CURRENT.set(Some(Rc::clone(&driver)));
        Self(driver)
    }
}

impl Readiness for Simulated {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn watch(&self, handle: i32, socket: &Socket, interest: i32) -> Result<(), Errno> {
        self.0.watch(handle, socket.as_raw_fd(), interest)
    }

    fn forget(&self, handle: i32, socket: &Socket) {
        self.0.watches.borrow_mut().retain(|watch| watch.handle != handle);
        kernel(|kernel| kernel.close(socket.as_raw_fd()));
    }

    fn closes_later(&self) -> bool {
        false
    }

    fn close(&self, _: Rc<CleanupHook>) {
        self.0.watches.borrow_mut().clear();
        CURRENT.set(None);
    }
}

impl Driver {
    /// Has the next watch that has to be armed refused with an error number; 0 for none.
    pub fn refuse(&self, errno: i32) {
        self.refusal.set(errno);
    }

    /// For how many sockets somebody waits.
    pub fn waited(&self) -> usize {
        self.watches.borrow().iter().filter(|watch| watch.waited).count()
    }

    fn watch(&self, handle: i32, socket: RawFd, interest: i32) -> Result<(), Errno> {
        let mut watches = self.watches.borrow_mut();
        let place = watches.iter().position(|watch| watch.handle == handle).unwrap_or_else(|| {
            watches.push(Watch { handle, socket, armed: 0, waited: false });
            watches.len() - 1
        });
        let watch = &mut watches[place];
        if interest & !watch.armed != 0 {
            match self.refusal.take() {
                0 => watch.armed |= interest,
                errno => return Err(Errno(errno)),
            }
        }
        watch.waited = interest != 0;
        Ok(())
    }

    /// One turn of the event loop: tells of every watched event that is there; how many sockets had one. `drain` runs
    /// microtasks.
    pub fn turn(&self, style: Style, drain: &dyn Fn()) -> i32 {
        let before: Vec<i32> = self.watches.borrow().iter().map(|watch| watch.handle).collect();
        let mut told = 0;
        for handle in before {
            let Some(Watch { socket, armed, .. }) = self.find(handle) else { continue };
            let Some(State { readable, writable, error }) = kernel(|kernel| kernel.state(socket)) else { continue };
            let events = if readable { READABLE } else { 0 } | if writable { WRITABLE } else { 0 };
            let fired = if error { armed } else { events & armed };
            if fired == 0 {
                continue;
            }
            if error || style == Style::Thread {
                self.disarm(handle, fired);
            }
            told += 1;
            let between: &dyn Fn() = if style == Style::EventLoop { drain } else { &|| () };
            let Heard { heard, wanted } = self.listener.call_with(handle, fired, between);
            // What found nobody is watched no longer; what is waited for is.
            self.disarm(handle, fired & !heard & !wanted);
            // The listener may have closed the socket.
            if self.find(handle).is_some()
                && let Err(errno) = self.watch(handle, socket, wanted)
            {
                self.listener.call_with(handle, -errno.0, between);
            }
        }
        drain();
        told
    }

    fn find(&self, handle: i32) -> Option<Watch> {
        self.watches.borrow().iter().find(|watch| watch.handle == handle).copied()
    }

    fn disarm(&self, handle: i32, events: i32) {
        if let Some(watch) = self.watches.borrow_mut().iter_mut().find(|watch| watch.handle == handle) {
            watch.armed &= !events;
        }
    }
}
