//! The peers of `npm run bench`, one process each: `wasi-udp-peers KIND key=value ...`.
//!
//! A sender prints `ready`, then answers each line of standard input: `once` sends one batch and prints how many datagrams
//! the kernel accepted; a number sends for so many milliseconds and prints the nanoseconds a datagram. `failed: REASON`
//! answers what the kernel will not do. The lines of the others are in their files: `receiver.rs`, `reader.rs`, `arrivals.rs`, `queries.rs`.

#[cfg(target_os = "linux")]
mod arrivals;
#[cfg(target_os = "linux")]
mod clocks;
#[cfg(target_os = "linux")]
mod cores;
#[cfg(target_os = "linux")]
mod echo;
#[cfg(target_os = "linux")]
mod load;
#[cfg(target_os = "linux")]
mod messages;
#[cfg(target_os = "linux")]
mod queries;
#[cfg(target_os = "linux")]
mod reader;
#[cfg(target_os = "linux")]
mod receiver;
#[cfg(target_os = "linux")]
mod senders;
#[cfg(target_os = "linux")]
mod slices;

#[cfg(target_os = "linux")]
fn main() -> std::io::Result<()> {
    let mut words = std::env::args().skip(1);
    let kind = words.next().unwrap_or_default();
    let options = load::options(words);
    match kind.as_str() {
        "receiver" => return receiver::serve(&options),
        "recvmmsg" | "recvfrom" => return reader::serve(&kind, &options),
        "arrivals" => return arrivals::serve(&options),
        "epoll" => return echo::serve(&options),
        "queries" => return queries::serve(&options),
        _ => {}
    }
    let load = load::Load::new(&options);
    let socket = load.socket()?;
    let send = senders::by_name(&kind, &socket, &load);
    slices::serve(&socket, send)
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("peers: the peers use Linux's system calls");
    std::process::exit(1);
}
