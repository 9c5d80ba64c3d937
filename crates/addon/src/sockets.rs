//! The calls on a socket that are not made for every batch.

use crate::arguments::{Argument, refuse};
#[cfg(unix)]
use crate::claims::Claim;
use crate::hot::encode;
use crate::readiness::{READABLE, WRITABLE};
use crate::thread::{Open, Thread, stale};
use napi::{Env, Result};
use napi_derive::napi;
use socket2::Socket;
use std::mem::ManuallyDrop;
use std::time::Duration;
use wasi_udp_engine::errno::Errno;
use wasi_udp_engine::options::{Membership, SocketOption};
use wasi_udp_engine::reports::QUOTED_BYTES;
use wasi_udp_engine::socket::{Interest, Ready, UdpSocket, poll};
use wasi_udp_engine::sys;
use wasi_udp_engine::table::{SLOT_BYTES, Slot, read_slot, write_slot};

/// Opens a nonblocking socket of family 4 or 6; its handle.
#[napi(catch_unwind, ts_args_type = "family: 4 | 6")]
pub fn open(env: Env, family: Argument) -> Result<i32> {
    let ipv6 = match family.integer("family")? {
        4 => false,
        6 => true,
        other => return Err(refuse(format!("family must be 4 or 6, got {other}"))),
    };
    let socket = match UdpSocket::open(ipv6) {
        Ok(socket) => socket,
        Err(errno) => return Ok(-errno.0),
    };
    insert(&env, Open::new(socket))
}

/// Opens a descriptor of this thread's own for the system's socket behind another thread's `descriptor`, to wait on it here;
/// its handle.
#[napi(catch_unwind, ts_args_type = "descriptor: number")]
pub fn adopt(env: Env, descriptor: Argument) -> Result<i32> {
    let descriptor = descriptor.integer_in("descriptor", 0, i32::MAX)?;
    // SAFETY: nothing is done with the number but to duplicate it, which fails where it is no open descriptor; the wrapper
    // is never dropped, so the descriptor stays open, and its owner's.
    #[cfg(unix)]
    let other = ManuallyDrop::new(unsafe { <Socket as std::os::fd::FromRawFd>::from_raw_fd(descriptor) });
    // SAFETY: as above.
    #[cfg(windows)]
    let other = ManuallyDrop::new(unsafe {
        <Socket as std::os::windows::io::FromRawSocket>::from_raw_socket(descriptor as u64)
    });
    let duplicate = other.try_clone().and_then(|socket| Ok((socket.local_addr()?.is_ipv6(), socket)));
    match duplicate.map_err(Errno::from) {
        Ok((ipv6, socket)) => insert(&env, Open::new(UdpSocket::over(socket, ipv6))),
        Err(errno) => Ok(-errno.0),
    }
}

/// Takes over a UDP socket of IPv4 or IPv6 that the process has open as `descriptor`: closing the handle closes it. Its handle;
/// where it is another thing, or one that a thread of this process has already (EEXIST), be it a handle of this thread's event
/// loop, an error number, and the descriptor stays its owner's.
#[napi(catch_unwind, ts_args_type = "descriptor: number")]
pub fn take_over(env: Env, descriptor: Argument) -> Result<i32> {
    let descriptor = descriptor.integer_in("descriptor", 0, i32::MAX)?;
    #[cfg(unix)]
    {
        let thread = Thread::of(&env)?;
        // Two owners would close it under each other.
        let Some(claim) = Claim::take(descriptor) else { return Ok(-sys::EXISTS) };
        // SAFETY: the caller gives the descriptor away. Where it is none that is open, or another thing, the calls on it fail,
        // and it is given back unclosed.
        let socket = unsafe { <Socket as std::os::fd::FromRawFd>::from_raw_fd(descriptor) };
        let adopted = match sys::family_of(&socket).and_then(|_| thread.check_free(&socket)) {
            Ok(()) => UdpSocket::adopt(socket),
            Err(errno) => Err((socket, errno)),
        };
        match adopted {
            Ok(socket) => insert(&env, Open::claimed(claim, socket)),
            Err((socket, errno)) => {
                let _ = std::os::fd::IntoRawFd::into_raw_fd(socket);
                Ok(-errno.0)
            }
        }
    }
    #[cfg(windows)]
    {
        let _ = (env, descriptor);
        Ok(-sys::NOT_SUPPORTED)
    }
}

/// The family of the socket: 4, or 6 where it is one of IPv6, be it of IPv4 as well.
#[napi(catch_unwind, ts_args_type = "socket: number")]
pub fn family(env: Env, socket: Argument) -> Result<i32> {
    with(&env, &socket, |open| Ok(if open.socket.is_ipv6() { 6 } else { 4 }))
}

/// Takes a socket in; its handle.
fn insert(env: &Env, open: Open) -> Result<i32> {
    let handle = Thread::of(env)?.sockets().slab.insert(open);
    handle.ok_or_else(|| refuse("a thread has at most 2^20 sockets: close some"))
}

/// Binds the socket to the address of a slot.
#[napi(catch_unwind, ts_args_type = "socket: number, slot: Uint8Array")]
pub fn bind(env: Env, socket: Argument, slot: Argument) -> Result<i32> {
    let address = address(&slot.slot("slot")?)?;
    with(&env, &socket, |open| open.socket.bind(address).map(|()| 0))
}

/// Connects or reconnects the socket; the bound address survives.
#[napi(catch_unwind, ts_args_type = "socket: number, slot: Uint8Array")]
pub fn connect(env: Env, socket: Argument, slot: Argument) -> Result<i32> {
    let address = address(&slot.slot("slot")?)?;
    with(&env, &socket, |open| open.socket.connect(address).map(|()| 0))
}

/// Dissolves the connection; the bound address survives.
#[napi(catch_unwind, ts_args_type = "socket: number")]
pub fn disconnect(env: Env, socket: Argument) -> Result<i32> {
    with(&env, &socket, |open| open.socket.disconnect().map(|()| 0))
}

/// Writes the bound address into a slot.
#[napi(catch_unwind, ts_args_type = "socket: number, slot: Uint8Array")]
pub fn local_address(env: Env, socket: Argument, slot: Argument) -> Result<i32> {
    write_address(&env, &socket, &slot, UdpSocket::local_address)
}

/// Writes the peer's address into a slot.
#[napi(catch_unwind, ts_args_type = "socket: number, slot: Uint8Array")]
pub fn remote_address(env: Env, socket: Argument, slot: Argument) -> Result<i32> {
    write_address(&env, &socket, &slot, UdpSocket::remote_address)
}

/// Reads an option.
#[napi(catch_unwind, ts_args_type = "socket: number, option: number")]
pub fn get_option(env: Env, socket: Argument, option: Argument) -> Result<i32> {
    let option = known(&option)?;
    with(&env, &socket, |open| open.socket.option(option))
}

/// Sets an option.
#[napi(catch_unwind, ts_args_type = "socket: number, option: number, value: number")]
pub fn set_option(env: Env, socket: Argument, option: Argument, value: Argument) -> Result<i32> {
    let option = known(&option)?;
    let value = value.integer_in("value", 0, option.most())?;
    with(&env, &socket, |open| open.socket.set_option(option, value).map(|()| 0))
}

/// Joins a multicast group on an interface (0 for the system's choice), or leaves it; of one source, or of any where its slot is
/// all zeros. Ports are not looked at.
#[napi(
    catch_unwind,
    ts_args_type = "socket: number, join: number, interface: number, group: Uint8Array, source: Uint8Array"
)]
pub fn set_membership(
    env: Env,
    socket: Argument,
    join: Argument,
    interface: Argument,
    group: Argument,
    source: Argument,
) -> Result<i32> {
    let join = join.integer_in("join", 0, 1)? == 1;
    let interface = interface.integer_in("interface", 0, i32::MAX)? as u32;
    let group = address(&group.slot("group")?)?.ip();
    let source = source.slot("source")?;
    let source = if source == [0; SLOT_BYTES] { None } else { Some(address(&source)?.ip()) };
    let membership = Membership { group, source, interface };
    with(&env, &socket, |open| open.socket.set_membership(&membership, join).map(|()| 0))
}

/// Has IPv4 multicast datagrams leave from an address of this machine, by its interface: that of the slot, or 0.0.0.0 for the
/// system's choice.
#[napi(catch_unwind, ts_args_type = "socket: number, slot: Uint8Array")]
pub fn set_multicast_address(env: Env, socket: Argument, slot: Argument) -> Result<i32> {
    let std::net::IpAddr::V4(from) = address(&slot.slot("slot")?)?.ip() else {
        return Err(refuse("slot must hold an address of IPv4"));
    };
    with(&env, &socket, |open| open.socket.set_multicast_address(from).map(|()| 0))
}

/// The index of the network interface of that name, as the system knows it; 0 where there is none.
#[napi(catch_unwind)]
pub fn interface_index(name: String) -> u32 {
    sys::interface_index(&name).unwrap_or(0)
}

/// Closes the socket: its readiness handle first, then the descriptor.
#[napi(catch_unwind, ts_args_type = "socket: number")]
pub fn close(env: Env, socket: Argument) -> Result<()> {
    Thread::of(&env)?.close(socket.integer("socket")?)
}

/// Gives back an error that a later pass of one list consumed: the next check, send or receive reports it, where it is of
/// the kind that the kernel reports once. 0, and what is left with the socket.
#[napi(catch_unwind, ts_args_type = "socket: number, errno: number")]
pub fn defer_error(env: Env, socket: Argument, errno: Argument) -> Result<i32> {
    let errno = Errno(errno.integer_in("errno", 1, i32::MAX)?);
    with(&env, &socket, |open| {
        open.socket.defer_error(errno);
        Ok(encode((Ok(0), open.socket.left())))
    })
}

/// Bytes of a report: see [`take_report`].
const REPORT_BYTES: usize = 16 + SLOT_BYTES + QUOTED_BYTES;

/// Takes the oldest report of an error that a datagram met: its error number, whether an ICMP message told it, the MTU that it
/// exceeded, and how many bytes of its payload are quoted, in four 32-bit numbers; where it was to go, as a slot (of family 0 where
/// that is not known); the bytes. 1, or 0 where there is none.
#[napi(catch_unwind, ts_args_type = "socket: number, report: Uint8Array")]
pub fn take_report(env: Env, socket: Argument, report: Argument) -> Result<i32> {
    const WORDS: usize = 4;
    let thread = Thread::of(&env)?;
    let mut sockets = thread.sockets();
    let Some(taken) = sockets.open(socket.integer("socket")?)?.socket.take_report() else { return Ok(0) };
    let words = [taken.errno.0 as u32, taken.icmp.into(), taken.mtu, taken.data.len() as u32];
    let mut bytes = [0; REPORT_BYTES];
    let (head, rest) = bytes.split_at_mut(WORDS * 4);
    for (word, value) in head.as_chunks_mut().0.iter_mut().zip(words) {
        *word = u32::to_ne_bytes(value);
    }
    let (slot, data) = rest.split_at_mut(SLOT_BYTES);
    if let Some(destination) = taken.destination {
        slot.copy_from_slice(&write_slot(destination));
    }
    data[..taken.data.len()].copy_from_slice(&taken.data);
    report.write_bytes("report", &bytes)?;
    Ok(1)
}

/// Waits until one of the sockets of a list is ready, at most so long, -1 for ever; how many are.
///
/// An item is three numbers: the socket, its interest (1 readable, 2 writable), and the events that are there, which are
/// written: an error counts as each that is asked for, a kept datagram as readable.
#[napi(catch_unwind, ts_args_type = "list: Int32Array, count: number, timeoutMs: number")]
pub fn poll_sync(env: Env, list: Argument, count: Argument, timeout_ms: Argument) -> Result<i32> {
    const ITEM_WORDS: usize = 3;
    let list = list.integers("list")?;
    let room = i32::try_from(list.len() / ITEM_WORDS).unwrap_or(i32::MAX);
    let items = &mut list[..ITEM_WORDS * count.integer_in("count", 0, room)? as usize];
    let timeout = match timeout_ms.integer_in("timeoutMs", -1, i32::MAX)? {
        -1 => None,
        milliseconds => Some(Duration::from_millis(milliseconds as u64)),
    };
    let sockets = Thread::of(&env)?.sockets();
    let interest = |item: &[i32]| {
        let socket = &sockets.slab.get(item[0]).ok_or_else(|| stale(item[0]))?.socket;
        if !(1..=READABLE | WRITABLE).contains(&item[1]) {
            return Err(refuse(format!("interest must be 1 (readable), 2 (writable) or 3, got {}", item[1])));
        }
        let (readable, writable) = (item[1] & READABLE != 0, item[1] & WRITABLE != 0);
        Ok(Interest { socket, readable, writable, ready: Ready::default() })
    };
    let mut interests = items.chunks_exact(ITEM_WORDS).map(interest).collect::<Result<Vec<_>>>()?;
    let ready = match poll(&mut interests, timeout) {
        Ok(ready) => ready as i32,
        Err(errno) => -errno.0,
    };
    for (item, interest) in items.chunks_exact_mut(ITEM_WORDS).zip(&interests) {
        let Ready { readable, writable } = interest.ready;
        item[2] = if readable { READABLE } else { 0 } | if writable { WRITABLE } else { 0 };
    }
    Ok(ready)
}

/// Names the functions that hear of watched sockets; those last named hear.
///
/// `ready(socket, events)` hears of events, or of the error number, negated, with which the system refused to watch; it
/// answers for which of the events somebody waited. Then what it set off runs (microtasks). Then `wanted(socket)` tells for
/// which events somebody waits now.
#[napi(
    catch_unwind,
    ts_args_type = "ready: (socket: number, events: number) => number, wanted: (socket: number) => number"
)]
pub fn on_ready(env: Env, ready: Argument, wanted: Argument) -> Result<()> {
    Thread::of(&env)?.listener.set(ready.function("ready")?, wanted.function("wanted")?)
}

/// The descriptor, for tests and for code that waits on it elsewhere. It stays the addon's.
#[napi(catch_unwind, ts_args_type = "socket: number")]
pub fn descriptor(env: Env, socket: Argument) -> Result<i32> {
    with(&env, &socket, |open| {
        #[cfg(unix)]
        return Ok(std::os::fd::AsRawFd::as_raw_fd(open.socket.as_socket()));
        // Handles of Windows have 32 significant bits.
        #[cfg(windows)]
        return Ok(std::os::windows::io::AsRawSocket::as_raw_socket(open.socket.as_socket()) as i32);
    })
}

/// What the socket has sent: system calls, datagrams, runs that left as one segmented message, runs that the kernel would
/// not segment.
#[napi(catch_unwind, ts_args_type = "socket: number")]
pub fn statistics(env: Env, socket: Argument) -> Result<Vec<f64>> {
    let thread = Thread::of(&env)?;
    let statistics = thread.sockets().named(&socket)?.0.statistics();
    let counts = [statistics.calls, statistics.datagrams, statistics.segmented_runs, statistics.refused_runs];
    Ok(counts.map(|count| count as f64).into())
}

/// Runs a body on the socket that an argument names; its result, or the system's error number, negated.
fn with(
    env: &Env,
    socket: &Argument<'_>,
    body: impl FnOnce(&mut Open) -> std::result::Result<i32, Errno>,
) -> Result<i32> {
    let mut sockets = Thread::of(env)?.sockets();
    let open = sockets.open(socket.integer("socket")?)?;
    Ok(body(open).unwrap_or_else(|errno| -errno.0))
}

/// Writes an address that the system knows of a socket into a slot.
fn write_address(
    env: &Env,
    socket: &Argument<'_>,
    slot: &Argument<'_>,
    address_of: impl FnOnce(&UdpSocket) -> std::result::Result<std::net::SocketAddr, Errno>,
) -> Result<i32> {
    let mut address = None;
    let result = with(env, socket, |open| {
        address = Some(address_of(&open.socket)?);
        Ok(0)
    })?;
    if let Some(address) = address {
        slot.write_bytes("slot", &write_slot(address))?;
    }
    Ok(result)
}

fn address(slot: &Slot) -> Result<std::net::SocketAddr> {
    read_slot(slot).ok_or_else(|| refuse("slot must hold an address: family 4 or 6, and a port up to 65535"))
}

fn known(option: &Argument<'_>) -> Result<SocketOption> {
    let number = option.integer_in("option", 1, SocketOption::LAST)?;
    SocketOption::of(number).ok_or_else(|| refuse("option must be one of those of the engine"))
}
