//! Linux: system calls that a filter refuses as such, seccomp(2), as a container or a sandbox may have.

use super::Refusal;
use crate::errno::Errno;
use std::ptr;

/// A system call that a filter may refuse while others do the same work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the calls' own names")]
pub enum Call {
    Sendto,
    Sendmmsg,
    Sendmsg,
    Recvmmsg,
    Recvmsg,
    Recvfrom,
    /// recvmsg(2) with the flag MSG_ERRQUEUE.
    ErrorQueue,
    EpollCreate1,
    EpollCtl,
    EpollPwait,
}

impl Call {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Sendto,
        Self::Sendmmsg,
        Self::Sendmsg,
        Self::Recvmmsg,
        Self::Recvmsg,
        Self::Recvfrom,
        Self::ErrorQueue,
        Self::EpollCreate1,
        Self::EpollCtl,
        Self::EpollPwait,
    ];

    /// The name, and what follows where it is refused.
    fn describe(self) -> (&'static str, &'static str) {
        match self {
            Self::Sendto => ("sendto", "a datagram alone leaves by sendmmsg or sendmsg"),
            Self::Sendmmsg => ("sendmmsg", "each datagram, or run of them, of a list is a call of its own"),
            Self::Sendmsg => ("sendmsg", "without sendmmsg too, datagrams leave one by one, by sendto"),
            Self::Recvmmsg => ("recvmmsg", "each datagram, or run of them, is received by a call of its own"),
            Self::Recvmsg => ("recvmsg", "without recvmmsg too, datagrams come one by one, by recvfrom"),
            Self::Recvfrom => ("recvfrom", "nothing is missed where recvmmsg or recvmsg is there"),
            Self::ErrorQueue => (
                "recvmsg with MSG_ERRQUEUE",
                "a connected socket sends each datagram, or run of them, by a call of its own",
            ),
            Self::EpollCreate1 => ("epoll_create1", "a polling thread cannot start"),
            Self::EpollCtl => ("epoll_ctl", "the event loop watches no socket"),
            Self::EpollPwait => ("epoll_pwait", "a polling thread hears of no socket"),
        }
    }

    /// The error by which the system refuses the call as such; none where it does not.
    ///
    /// The call is made on no descriptor (-1), and with no flags that are known: where it is allowed, it answers EBADF, EFAULT
    /// or EINVAL, and neither a socket nor a firewall sees anything of it. A filter sees numbers alone, and refuses it as any
    /// other.
    pub fn refusal(self) -> Option<Errno> {
        let (number, third) = match self {
            Self::Sendto => (libc::SYS_sendto, 0),
            Self::Sendmmsg => (libc::SYS_sendmmsg, 0),
            Self::Sendmsg => (libc::SYS_sendmsg, 0),
            Self::Recvmmsg => (libc::SYS_recvmmsg, 0),
            Self::Recvmsg => (libc::SYS_recvmsg, 0),
            Self::Recvfrom => (libc::SYS_recvfrom, 0),
            Self::ErrorQueue => (libc::SYS_recvmsg, libc::MSG_ERRQUEUE),
            Self::EpollCreate1 => (libc::SYS_epoll_create1, 0),
            Self::EpollCtl => (libc::SYS_epoll_ctl, 0),
            Self::EpollPwait => (libc::SYS_epoll_pwait, 0),
        };
        let nothing = ptr::null_mut::<libc::c_void>();
        // SAFETY: no call does anything: there is no descriptor -1, and no flags of that value, and every pointer is null with
        // a length of 0.
        let answer = unsafe { libc::syscall(number, -1, nothing, third, 0, nothing, 0) };
        // Before anything else: the error number is the thread's last.
        let errno = Errno::last();
        (answer == -1 && is_refusal(errno)).then_some(errno)
    }
}

/// The calls that the system refuses this thread, and what follows.
pub fn refusals() -> Vec<Refusal> {
    let refusal = |call: Call| {
        let (name, consequence) = call.describe();
        call.refusal().map(|errno| Refusal { call: name, consequence, errno })
    };
    Call::ALL.into_iter().filter_map(refusal).collect()
}

/// Whether a filter refuses by that error. EPERM is a firewall's answer too.
fn is_refusal(errno: Errno) -> bool {
    matches!(errno, Errno(libc::ENOSYS | libc::EPERM))
}

/// The calls that the system is known to refuse a thread. A filter is a thread's, and never taken off again.
#[derive(Debug, Default)]
pub struct Refused([bool; Call::ALL.len()]);

impl Refused {
    /// Whether the call is known to be refused.
    #[inline]
    pub fn has(&self, call: Call) -> bool {
        self.0[call as usize]
    }

    /// Whether a call that answered with that error was refused as such, rather than what it was to do; remembers it.
    #[cold]
    pub fn learn(&mut self, call: Call, errno: Errno) -> bool {
        let refused = is_refusal(errno) && call.refusal().is_some();
        self.0[call as usize] |= refused;
        refused
    }
}
