//! The timed slices of a sender.

use socket2::Socket;
use std::io::{self, BufRead, Write};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// Sends one batch; how many of its datagrams the kernel accepted.
pub type SendBatch<'a> = Box<dyn FnMut() -> io::Result<usize> + 'a>;

/// The least time that is measured as one, so that reading the clock does not count.
const CHUNK: Duration = Duration::from_micros(500);

/// Answers the lines of standard input until it ends.
pub fn serve(socket: &Socket, mut send: SendBatch<'_>) -> io::Result<()> {
    let mut send = || match send() {
        Ok(sent) => Ok(sent),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait_for_room(socket).map(|()| 0),
        Err(error) => Err(error),
    };
    let mut batches = 1;
    println!("ready");
    for line in io::stdin().lock().lines() {
        let answer = match line?.parse() {
            Ok(milliseconds) => slice(&mut send, &mut batches, Duration::from_millis(milliseconds)),
            Err(_) => send().map(|sent| sent as f64),
        };
        match answer {
            Ok(number) => println!("{number}"),
            Err(error) => println!("failed: {error}"),
        }
        io::stdout().flush()?;
    }
    Ok(())
}

/// The nanoseconds a datagram of the quickest chunk: others met what else the machine does. `batches`, the batches of a
/// chunk, is doubled until they take long enough.
fn slice(send: &mut impl FnMut() -> io::Result<usize>, batches: &mut u32, length: Duration) -> io::Result<f64> {
    let started = Instant::now();
    let mut least = f64::INFINITY;
    while started.elapsed() < length || least.is_infinite() {
        let (begin, mut sent) = (Instant::now(), 0);
        for _ in 0..*batches {
            sent += send()?;
        }
        let elapsed = begin.elapsed();
        if elapsed < CHUNK {
            *batches *= 2;
        } else if sent > 0 {
            least = least.min(elapsed.as_nanos() as f64 / sent as f64);
        }
    }
    Ok(least)
}

/// Waits until the socket's send buffer has room.
pub fn wait_for_room(socket: &impl AsRawFd) -> io::Result<()> {
    let mut poll = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    // SAFETY: `poll` is ours and lives through the call.
    match unsafe { libc::poll(&mut poll, 1, -1) } {
        1.. => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
