//! The exports by which a test drives the simulated kernel. Sockets are named by their descriptors, hosts by 32 bits: an IPv4
//! address, or the last word of an address in fd00::/96.

use crate::arguments::{Argument, refuse};
use crate::readiness::simulated::{Driver, Style, current};
use napi::Result;
use napi_derive::napi;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use wasi_udp_engine::errno::Errno;
use wasi_udp_engine::sys::simulated::{Icmp, Kernel, Settings, hash, kernel};

/// Begins anew, with a kernel that has no sockets. The settings stand in the order of `Settings`.
#[napi(catch_unwind, ts_args_type = "seed: number, settings: Int32Array")]
pub fn simulate(seed: Argument, settings: Argument) -> Result<()> {
    let seed = seed.integer("seed")?;
    let &mut [
        interrupts,
        no_buffers,
        meanwhile,
        unreachable,
        refuses_offload,
        splits,
        largest_segment,
        send_buffer,
        receive_buffer,
        drain,
        one_by_one,
        no_error_queue,
    ] = settings.integers("settings")?
    else {
        return Err(refuse("settings must be 12 numbers"));
    };
    let settings = Settings {
        interrupts: interrupts as u32,
        no_buffers: no_buffers as u32,
        meanwhile: meanwhile as u32,
        unreachable: unreachable as u32,
        refuses_offload: refuses_offload as u32,
        splits: splits as u32,
        largest_segment: largest_segment as u32,
        send_buffer: send_buffer as u32,
        receive_buffer: receive_buffer as u32,
        drain: drain as u32,
        one_by_one: one_by_one != 0,
        no_error_queue: no_error_queue != 0,
    };
    kernel(|kernel| *kernel = Kernel::new(seed as u64, settings));
    driver()?.refuse(0);
    Ok(())
}

/// Lets so many ticks of the clock go by.
#[napi(catch_unwind, ts_args_type = "ticks: number")]
pub fn simulate_advance(ticks: Argument) -> Result<()> {
    let ticks = ticks.integer_in("ticks", 0, i32::MAX)?;
    kernel(|kernel| kernel.advance(ticks as u64));
    Ok(())
}

/// Datagrams of one length arrive, with numbers that count on from the first: each begins with its number, as far as it has
/// room, in little-endian order, and goes on with that number's low byte. How many the kernel took.
#[napi(
    catch_unwind,
    ts_args_type = "descriptor: number, family: 4 | 6, host: number, port: number, first: number, length: number, count: number"
)]
pub fn simulate_arrivals(
    descriptor: Argument,
    family: Argument,
    host: Argument,
    port: Argument,
    first: Argument,
    length: Argument,
    count: Argument,
) -> Result<i32> {
    let socket = descriptor.integer("descriptor")?;
    let source = address(&family, &host, &port)?;
    let first = first.integer("first")?;
    let length = length.integer_in("length", 0, 65_507)? as usize;
    let count = count.integer("count")?;
    Ok(kernel(|kernel| {
        let arrives = |number: &i32| {
            let mut bytes = vec![*number as u8; length];
            for (byte, of_number) in bytes.iter_mut().zip(number.to_le_bytes()) {
                *byte = of_number;
            }
            kernel.arrival(socket, source, bytes)
        };
        (first..first + count).take_while(arrives).count() as i32
    }))
}

/// An ICMP message about a peer comes to a socket after so many ticks.
#[napi(
    catch_unwind,
    ts_args_type = "descriptor: number, family: 4 | 6, host: number, port: number, errno: number, ticks: number"
)]
pub fn simulate_icmp(
    descriptor: Argument,
    family: Argument,
    host: Argument,
    port: Argument,
    errno: Argument,
    ticks: Argument,
) -> Result<()> {
    let socket = descriptor.integer("descriptor")?;
    let peer = address(&family, &host, &port)?;
    let errno = Errno(errno.integer("errno")?);
    let ticks = ticks.integer_in("ticks", 0, i32::MAX)?;
    kernel(|kernel| kernel.send_icmp(Icmp { socket, peer, errno }, ticks as u64));
    Ok(())
}

/// Has a peer refuse what it is sent, after so many ticks at most; with -1, take it.
#[napi(catch_unwind, ts_args_type = "family: 4 | 6, host: number, port: number, ticks: number")]
pub fn simulate_refusing(family: Argument, host: Argument, port: Argument, ticks: Argument) -> Result<()> {
    let peer = address(&family, &host, &port)?;
    let delay = u64::try_from(ticks.integer("ticks")?).ok();
    kernel(|kernel| kernel.set_refusing(peer, delay));
    Ok(())
}

/// What poll(2) would tell of a socket: 1 readable, 2 writable, 4 an error; -1 where it is closed.
#[napi(catch_unwind, ts_args_type = "descriptor: number")]
pub fn simulate_state(descriptor: Argument) -> Result<i32> {
    let socket = descriptor.integer("descriptor")?;
    let bits = |on, bit| if on { bit } else { 0 };
    Ok(kernel(|kernel| kernel.state(socket))
        .map_or(-1, |state| bits(state.readable, 1) | bits(state.writable, 2) | bits(state.error, 4)))
}

/// Takes what has happened, the oldest first, five numbers each, as many as there is room for: how many.
#[napi(catch_unwind, ts_args_type = "events: Int32Array")]
pub fn simulate_events(events: Argument) -> Result<i32> {
    let room = events.integers("events")?;
    Ok(kernel(|kernel| {
        let (rows, _) = room.as_chunks_mut::<5>();
        let count = rows.len().min(kernel.events.len());
        for (row, event) in rows.iter_mut().zip(kernel.events.drain(..count)) {
            *row = event;
        }
        count as i32
    }))
}

/// One turn of the event loop: how many sockets had an event. `drain` runs microtasks; `style` is 0 for libuv's, 1 for the
/// polling thread's.
#[napi(catch_unwind, ts_args_type = "drain: () => void, style: number")]
pub fn simulate_turn(drain: Argument, style: Argument) -> Result<i32> {
    let style = if style.integer("style")? == 0 { Style::EventLoop } else { Style::Thread };
    let drain = drain.callback("drain")?;
    Ok(driver()?.turn(style, &drain))
}

/// Has the next watch that has to be armed refused with an error number; 0 for none.
#[napi(catch_unwind, ts_args_type = "errno: number")]
pub fn simulate_watch_refusal(errno: Argument) -> Result<()> {
    driver()?.refuse(errno.integer("errno")?);
    Ok(())
}

/// How many sockets are open, and for how many of them somebody waits.
#[napi(catch_unwind)]
pub fn simulate_open() -> Result<Vec<i32>> {
    Ok(vec![kernel(|kernel| kernel.open_sockets()) as i32, driver()?.waited() as i32])
}

/// The hash of a buffer's bytes, as events have it.
#[napi(catch_unwind, ts_args_type = "bytes: ArrayBuffer")]
pub fn simulate_hash(bytes: Argument) -> Result<i32> {
    Ok(hash(bytes.memory("bytes")?.bytes()))
}

fn driver() -> Result<Rc<Driver>> {
    current().ok_or_else(|| refuse("this thread has no simulation"))
}

fn address(family: &Argument<'_>, host: &Argument<'_>, port: &Argument<'_>) -> Result<SocketAddr> {
    let host = host.integer("host")? as u32;
    let port = port.integer_in("port", 1, 65_535)? as u16;
    Ok(match family.integer("family")? {
        4 => SocketAddr::from((Ipv4Addr::from(host), port)),
        _ => SocketAddr::from((Ipv6Addr::from(0xfd00 << 112 | u128::from(host)), port)),
    })
}
