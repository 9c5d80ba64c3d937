//! The load of an echo server: queries from eight sockets, and what their answers tell.
//!
//! `queries to=ADDRESS pid=PROCESS [clients=SOCKETS] [apart=false]` keeps the server and itself on cores of their own, unless they
//! are not to be apart. It prints `ready`, then answers each line with `SENT ANSWERED ELAPSED CPU P50 P99`: how many
//! queries, how many of them were answered, nanoseconds from the first query to the last answer, nanoseconds that the
//! processors gave the server meanwhile, and the median and the 99th percentile of the nanoseconds from a query's sendto(2)
//! to its answer's arrival, as the kernel notes it. The lines:
//!
//! - `rate QUERIES MILLISECONDS`: so many queries a second at even distances, whether answers come or not (an open loop).
//! - `depth QUERIES MILLISECONDS`: so many at a time, each answer followed by the next query (a closed loop).
//! - `flood DATAGRAMS MILLISECONDS`: as many as the kernel takes, in runs of so many from one socket after the other, of which none is
//!   to be answered: ANSWERED is 0.

use crate::clocks::{arrival, now, percentile, process_clock, stamp_arrivals, wait_readable};
use crate::cores::keep_apart;
use crate::messages::Messages;
use crate::receiver::set_option;
use socket2::{Domain, Socket, Type};
use std::collections::HashMap;
use std::io::{self, BufRead, Write};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

/// The sockets that ask in turn, each with a port of its own, where nothing else is said.
const CLIENTS: usize = 8;

/// Bytes of a query: the number of its window, its own, and filling.
const QUERY_BYTES: usize = 64;

/// Nanoseconds before a query is due from which on nobody sleeps: waking up takes as long.
const SPIN: u64 = 80_000;

/// Nanoseconds without an answer after which what is unanswered counts as lost.
const PATIENCE: u64 = 200_000_000;

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1000 * MILLISECOND;

/// Room for the answers that a socket has not read yet, so that none is lost here.
const RECEIVE_BUFFER: usize = 4 << 20;

/// Answers the lines of standard input until it ends.
pub fn serve(options: &HashMap<String, String>) -> io::Result<()> {
    let to: SocketAddr = options["to"].parse().expect("an address");
    let process = options["pid"].parse().expect("a process");
    let server = process_clock(process)?;
    if options.get("apart").is_none_or(|apart| apart != "false") {
        keep_apart(process)?;
    }
    // SAFETY: no pointers. A sleep ends when it should, not up to 50 microseconds later.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
    let count = options.get("clients").map_or(CLIENTS, |count| count.parse().expect("a number"));
    let mut clients = Clients::new(to, count)?;
    println!("ready");
    for line in io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split(' ').collect();
        let number = |index: usize| words[index].parse::<u64>().expect("a number");
        let (used, begin) = (now(server), now(libc::CLOCK_MONOTONIC));
        match words[0] {
            "rate" => clients.ask_at_rate(number(1), number(2) * MILLISECOND)?,
            "depth" => clients.ask_at_depth(number(1) as usize, number(2) * MILLISECOND)?,
            "flood" => {
                let sent = clients.flood(number(1) as usize, number(2) * MILLISECOND)?;
                println!("{sent} 0 {} {} 0 0", now(libc::CLOCK_MONOTONIC) - begin, now(server) - used);
                io::stdout().flush()?;
                continue;
            }
            other => panic!("peers: rate, depth or flood, got {other:?}"),
        }
        let cpu = now(server) - used;
        let Window { sent, times, last, .. } = &mut clients.window;
        times.sort_unstable();
        let elapsed = last.saturating_sub(begin);
        let (median, high) = (percentile(times, 50), percentile(times, 99));
        println!("{} {} {elapsed} {cpu} {median} {high}", sent.len(), times.len());
        io::stdout().flush()?;
    }
    Ok(())
}

struct Clients {
    sockets: Vec<Socket>,
    polls: Vec<libc::pollfd>,
    messages: Messages,
    window: Window,
}

/// The queries of one line.
#[derive(Default)]
struct Window {
    /// Tells a window's answers from those that come late.
    number: u32,
    /// When each query was sent, by CLOCK_REALTIME; 0 once it was answered.
    sent: Vec<u64>,
    /// The time of each answer.
    times: Vec<u64>,
    /// When the last answer was read, by CLOCK_MONOTONIC.
    last: u64,
    /// How many are neither answered nor lost.
    open: usize,
}

impl Clients {
    fn new(to: SocketAddr, count: usize) -> io::Result<Self> {
        let open = |_| {
            let socket = Socket::new(Domain::for_address(to), Type::DGRAM, None)?;
            socket.connect(&to.into())?;
            socket.set_nonblocking(true)?;
            stamp_arrivals(&socket)?;
            set_option(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, RECEIVE_BUFFER as libc::c_int)
                .or_else(|_| socket.set_recv_buffer_size(RECEIVE_BUFFER))?;
            Ok(socket)
        };
        let sockets = (0..count).map(open).collect::<io::Result<Vec<_>>>()?;
        let poll = |socket: &Socket| libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let polls = sockets.iter().map(poll).collect();
        Ok(Self { sockets, polls, messages: Messages::new(), window: Window::default() })
    }

    /// The open loop: query `n` leaves `n / rate` seconds after the first.
    fn ask_at_rate(&mut self, rate: u64, length: u64) -> io::Result<()> {
        self.window.begin();
        let begin = now(libc::CLOCK_MONOTONIC);
        for query in 0..rate * length / SECOND {
            let due = begin + query * SECOND / rate;
            loop {
                let left = due.saturating_sub(now(libc::CLOCK_MONOTONIC));
                if left == 0 {
                    break;
                }
                self.read(left.saturating_sub(SPIN), None)?;
            }
            self.ask(query as usize % self.sockets.len())?;
        }
        self.read_rest()
    }

    /// The closed loop. What nobody answers is given up after a while, and asked anew.
    fn ask_at_depth(&mut self, depth: usize, length: u64) -> io::Result<()> {
        self.window.begin();
        let count = self.sockets.len();
        let all = |clients: &mut Vec<usize>| clients.extend((0..depth).map(|query| query % count));
        let begin = now(libc::CLOCK_MONOTONIC);
        let (mut time, mut heard) = (begin, begin);
        // The sockets of the answers, which ask next.
        let mut clients = Vec::new();
        all(&mut clients);
        while time < begin + length {
            if !clients.is_empty() {
                heard = time;
            } else if time - heard > PATIENCE {
                heard = time;
                self.window.open = 0;
                all(&mut clients);
            }
            for client in clients.drain(..) {
                self.ask(client)?;
            }
            self.read(0, Some(&mut clients))?;
            time = now(libc::CLOCK_MONOTONIC);
        }
        self.read_rest()
    }

    /// Sends runs of so many datagrams, each as one segmented message, from one socket after the other; how many datagrams.
    fn flood(&mut self, run: usize, length: u64) -> io::Result<usize> {
        let bytes = vec![0x5a; run * QUERY_BYTES];
        for socket in &self.sockets {
            set_option(socket, libc::SOL_UDP, libc::UDP_SEGMENT, QUERY_BYTES as libc::c_int)?;
        }
        let begin = now(libc::CLOCK_MONOTONIC);
        let mut sent = 0;
        while now(libc::CLOCK_MONOTONIC) < begin + length {
            for socket in &self.sockets {
                match socket.send(&bytes) {
                    Ok(_) => sent += run,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
        }
        for socket in &self.sockets {
            set_option(socket, libc::SOL_UDP, libc::UDP_SEGMENT, 0)?;
        }
        Ok(sent)
    }

    fn ask(&mut self, client: usize) -> io::Result<()> {
        let mut query = [0x5a; QUERY_BYTES];
        query[..4].copy_from_slice(&self.window.number.to_le_bytes());
        query[4..8].copy_from_slice(&(self.window.sent.len() as u32).to_le_bytes());
        self.window.sent.push(now(libc::CLOCK_REALTIME));
        self.window.open += 1;
        match self.sockets[client].send(&query) {
            // Not sent is not answered: it counts as lost.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            sent => sent.map(|_| ()),
        }
    }

    /// Reads the answers that are there, or come within so many nanoseconds; adds the client of each to `answered`.
    fn read(&mut self, nanoseconds: u64, mut answered: Option<&mut Vec<usize>>) -> io::Result<()> {
        wait_readable(&mut self.polls, nanoseconds)?;
        for (client, socket) in self.sockets.iter().enumerate() {
            if self.polls[client].revents == 0 {
                continue;
            }
            for index in 0..self.messages.receive(socket)? {
                let (bytes, header) = self.messages.message(index);
                if self.window.answer(bytes, arrival(header)) {
                    answered.iter_mut().for_each(|clients| clients.push(client));
                }
            }
        }
        Ok(())
    }

    /// Reads what is still unanswered, for as long as answers come.
    fn read_rest(&mut self) -> io::Result<()> {
        let begin = now(libc::CLOCK_MONOTONIC);
        while self.window.open > 0 {
            let quiet = now(libc::CLOCK_MONOTONIC) - begin.max(self.window.last);
            if quiet > PATIENCE {
                break;
            }
            self.read(PATIENCE / 10, None)?;
        }
        Ok(())
    }
}

impl Window {
    fn begin(&mut self) {
        let number = self.number.wrapping_add(1);
        *self = Self { number, ..Self::default() };
    }

    /// Notes an answer; whether it is one to a query of this window that had none.
    fn answer(&mut self, bytes: &[u8], arrived: u64) -> bool {
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        assert!(
            bytes.len() == QUERY_BYTES && bytes[8..].iter().all(|&byte| byte == 0x5a),
            "peers: not a query's bytes"
        );
        let index = word(4) as usize;
        if word(0) != self.number || self.sent[index] == 0 {
            return false;
        }
        self.times.push(arrived.saturating_sub(std::mem::take(&mut self.sent[index])));
        self.last = now(libc::CLOCK_MONOTONIC);
        self.open = self.open.saturating_sub(1);
        true
    }
}
