//! The benchmark's sender of WASI 0.3 as a program in Rust is: by bindings that wit-bindgen generates, each datagram a `Vec` of its
//! own, as many calls in flight as its argument says. `send to=A.B.C.D:PORT sizes=BYTES batch=COUNT connected=BOOL` answers the
//! lines that crates/peers answers: `once` sends COUNT datagrams, a number is the milliseconds of a slice.

mod bindings {
    wit_bindgen::generate!({
        path: "../../../../build/rust-guest/guest.wit",
        world: "guest",
        generate_all,
    });
}

use bindings::wasi::cli0_2_12::{environment::get_arguments, stdin::get_stdin, stdout::get_stdout};
use bindings::wasi::clocks0_3_0::monotonic_clock::now;
use bindings::wasi::io::streams::{InputStream, OutputStream};
use bindings::wasi::sockets0_3_0::types::{IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, UdpSocket};
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::cell::Cell;

/// The least nanoseconds that are measured as one, so that reading the clock does not count.
const CHUNK: u64 = 500_000;

/// The least calls that are measured as one: the quickest of all calls tells its luck.
const LEAST_CALLS: usize = 16;

/// What is sent, and where to.
struct Load {
    socket: UdpSocket,
    remote: Option<IpSocketAddress>,
    size: usize,
    in_flight: usize,
}

impl Load {
    /// A socket as the arguments want it.
    fn new(arguments: &[String]) -> Self {
        let value = |name: &str| arguments.iter().find_map(|argument| argument.strip_prefix(name));
        let number = |name| value(name).and_then(|value| value.parse().ok()).expect(name);
        let to: std::net::SocketAddrV4 = value("to=").and_then(|to| to.parse().ok()).expect("to=A.B.C.D:PORT");
        let remote = ipv4(to.port(), to.ip().octets());
        let socket = UdpSocket::create(IpAddressFamily::Ipv4).expect("a socket");
        let is_connected = value("connected=") == Some("true");
        if is_connected {
            socket.connect(remote).expect("connect");
        } else {
            socket.bind(ipv4(0, [0; 4])).expect("bind");
        }
        Self { socket, remote: (!is_connected).then_some(remote), size: number("sizes="), in_flight: number("batch=") }
    }

    /// Sends `wanted` datagrams, and returns how many were accepted.
    async fn send(&self, wanted: usize) -> usize {
        let left = Cell::new(wanted);
        let accepted = Cell::new(0);
        let mut tasks: FuturesUnordered<_> = (0..self.in_flight)
            .map(async |_| {
                while left.get() > 0 {
                    left.set(left.get() - 1);
                    if self.socket.send(vec![0x5a; self.size], self.remote).await.is_ok() {
                        accepted.set(accepted.get() + 1);
                    }
                }
            })
            .collect();
        while tasks.next().await.is_some() {}
        drop(tasks);
        accepted.get()
    }

    /// The nanoseconds a datagram of the quickest chunk in so many milliseconds; `chunk` datagrams are measured as one.
    async fn slice(&self, milliseconds: u64, chunk: &mut usize) -> f64 {
        let mut least = f64::INFINITY;
        let end = now() + milliseconds * 1_000_000;
        while now() < end || least == f64::INFINITY {
            let begin = now();
            let accepted = self.send(*chunk).await;
            let elapsed = now() - begin;
            if elapsed < CHUNK {
                *chunk *= 2;
            } else {
                least = least.min(elapsed as f64 / accepted.max(1) as f64);
            }
        }
        least
    }
}

fn ipv4(port: u16, [a, b, c, d]: [u8; 4]) -> IpSocketAddress {
    IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address: (a, b, c, d) })
}

/// The next line of standard input, byte by byte.
fn read_line(input: &InputStream) -> Option<String> {
    let mut line = String::new();
    loop {
        match input.blocking_read(1).ok()?.first()? {
            b'\n' => return Some(line),
            &byte => line.push(byte.into()),
        }
    }
}

fn print(output: &OutputStream, line: &str) {
    output.blocking_write_and_flush(format!("{line}\n").as_bytes()).expect("standard output");
}

struct Guest;

impl bindings::exports::wasi::cli0_3_0::run::Guest for Guest {
    async fn run() -> Result<(), ()> {
        let load = Load::new(&get_arguments());
        let mut chunk = load.in_flight.max(LEAST_CALLS);
        let (input, output) = (get_stdin(), get_stdout());
        print(&output, "ready");
        while let Some(line) = read_line(&input) {
            let answer = match line.parse() {
                Ok(milliseconds) => format!("{:.2}", load.slice(milliseconds, &mut chunk).await),
                Err(_) => load.send(load.in_flight).await.to_string(),
            };
            print(&output, &answer);
        }
        Ok(())
    }
}

bindings::export!(Guest with_types_in bindings);
