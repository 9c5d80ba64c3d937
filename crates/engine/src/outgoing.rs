//! The send loop: a batch as if one datagram after the other, stopped at the first error, counted in datagrams.

#![forbid(unsafe_code)]

use crate::errno::Errno;
use crate::runs::{Run, group};
use crate::table::Batch;

/// What the send loop needs of a socket's system calls. The platforms implement it, and the tests' scripted kernel.
pub trait Kernel {
    /// Hands messages to the kernel in order, in as few system calls as it allows, until one is refused.
    fn send_messages(&mut self, batch: &Batch<'_>, runs: &[Run]) -> Taken;

    /// Takes the error that is pending on the socket, or that a call has consumed without telling it.
    fn take_error(&mut self) -> Option<Errno>;
}

/// What became of a list of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Messages that the kernel accepted, from the first on.
    pub messages: usize,
    /// The error of the message behind them. None where all were taken, or where the system forgot it: sendmmsg(2), "If an
    /// error occurs after at least one message has been sent, the call succeeds, and returns the number of messages sent".
    pub error: Option<Errno>,
}

impl From<Result<usize, Errno>> for Taken {
    /// What became of a list, by the answer of a single system call: how many messages it took, or why it took none.
    fn from(answer: Result<usize, Errno>) -> Self {
        match answer {
            Ok(messages) => Self { messages, error: None },
            Err(errno) => Self { messages: 0, error: Some(errno) },
        }
    }
}

/// What a socket has sent, for tests and for people who wonder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Calls of [`Kernel::send_messages`].
    pub calls: u64,
    /// Datagrams that the kernel accepted.
    pub datagrams: u64,
    /// Runs that left as one segmented message.
    pub segmented_runs: u64,
    /// Runs that the kernel would not segment, and that went plainly.
    pub refused_runs: u64,
}

/// The sending state of one socket.
#[derive(Debug)]
pub struct Outgoing {
    /// The largest segment that the socket is not known to refuse; 0: offload is off.
    largest_segment: usize,
    /// What `largest_segment` is after a new connection.
    offered_segment: usize,
    /// Errors that the kernel has reported, and nobody has heard of yet: each of another number, the oldest first.
    deferred: Vec<Errno>,
    /// Counts since the socket was opened.
    pub statistics: Statistics,
}

/// The runs of the batch at hand, kept for its memory: nothing is allocated in a steady state.
#[derive(Debug, Default)]
pub struct RunScratch {
    runs: Vec<Run>,
    plain: Vec<Run>,
}

impl Outgoing {
    /// The state of a new socket. `segmentation` says whether runs may leave as one message.
    pub fn new(segmentation: bool) -> Self {
        let mut outgoing =
            Self { largest_segment: 0, offered_segment: 0, deferred: Vec::new(), statistics: Statistics::default() };
        outgoing.set_segmentation(segmentation);
        outgoing
    }

    /// Whether runs leave as one message, as far as anybody asked.
    pub fn segmentation(&self) -> bool {
        self.offered_segment > 0
    }

    /// Turns segmentation on or off, and forgets what was refused.
    pub fn set_segmentation(&mut self, on: bool) {
        self.offered_segment = if on { usize::MAX } else { 0 };
        self.forget_refusals();
    }

    /// Offers every size again: the route has changed.
    pub fn forget_refusals(&mut self) {
        self.largest_segment = self.offered_segment;
    }

    /// Keeps an error for the next check or send, where it is of the kind that the kernel reports once.
    pub fn defer(&mut self, errno: Errno) {
        if errno.is_reported_once() {
            self.keep(errno);
        }
    }

    /// Keeps an error that the kernel has told, and will not tell again.
    pub fn keep(&mut self, errno: Errno) {
        if !self.deferred.contains(&errno) {
            self.deferred.push(errno);
        }
    }

    /// Takes the oldest error that was kept.
    pub fn take_deferred(&mut self) -> Option<Errno> {
        (!self.deferred.is_empty()).then(|| self.deferred.remove(0))
    }

    /// Whether an error is kept.
    pub fn has_deferred(&self) -> bool {
        !self.deferred.is_empty()
    }

    /// Forgets what was kept, and offers every size again: the socket has another peer, or none.
    pub fn forget_peer(&mut self) {
        self.deferred.clear();
        self.forget_refusals();
    }

    /// Sends the batch; the datagrams that the kernel accepted, 0 where the socket would block.
    ///
    /// An error is returned only where it met the very first datagram. Later ones end the batch: what recurs by itself will
    /// recur, what the kernel reports once is kept for the next check or send.
    pub fn send(
        &mut self,
        kernel: &mut impl Kernel,
        batch: &Batch<'_>,
        scratch: &mut RunScratch,
    ) -> Result<usize, Errno> {
        if batch.is_empty() {
            return Ok(0);
        }
        if let Some(errno) = self.take_deferred() {
            return Err(errno);
        }
        if batch.len() == 1 {
            return self.send_alone(kernel, batch);
        }
        let RunScratch { runs, plain } = scratch;
        runs.clear();
        group(batch, 0..batch.len(), self.largest_segment, runs);
        let mut accepted = 0;
        let mut next = 0;
        while next < runs.len() {
            let taken = self.transmit(kernel, batch, &runs[next..]);
            accepted += count(&runs[next..next + taken.messages]);
            next += taken.messages;
            let Some(&run) = runs.get(next) else { break };
            match taken.error {
                // The system forgot why. An error that one message of the call raised, the next one may have consumed: the
                // next check or send tells it. Else only a run is worth asking again: it may have to go plainly.
                None => {
                    if let Some(errno) = kernel.take_error() {
                        self.keep(errno);
                        break;
                    }
                    if !run.is_segmented() || taken.messages == 0 {
                        break;
                    }
                }
                Some(errno) if run.is_segmented() && errno.refuses_segmentation() => {
                    let (sent, error) = self.send_refused(kernel, batch, run, errno, plain);
                    accepted += sent;
                    if sent < run.datagrams().len() {
                        if error.is_none()
                            && let Some(errno) = kernel.take_error()
                        {
                            self.keep(errno);
                        }
                        return self.cut_short(accepted, error);
                    }
                    // What is left is grouped anew, by what the socket now knows.
                    let first = run.datagrams().end;
                    runs.clear();
                    group(batch, first..batch.len(), self.largest_segment, runs);
                    next = 0;
                }
                error => return self.cut_short(accepted, error),
            }
        }
        Ok(accepted)
    }

    /// Sends a batch of one datagram, which has no runs to look for.
    fn send_alone(&mut self, kernel: &mut impl Kernel, batch: &Batch<'_>) -> Result<usize, Errno> {
        let place = batch.place(0);
        let Some(head) = batch.entry(place) else { return Ok(0) };
        let taken = self.transmit(kernel, batch, &[Run::alone(0, place, head)]);
        self.cut_short(taken.messages, taken.error)
    }

    /// The result of a batch that ended before its last datagram.
    fn cut_short(&mut self, accepted: usize, error: Option<Errno>) -> Result<usize, Errno> {
        match error {
            Some(errno) if errno.would_block() => {}
            Some(errno) if accepted == 0 => return Err(errno),
            Some(errno) => self.defer(errno),
            None => {}
        }
        Ok(accepted)
    }

    fn transmit(&mut self, kernel: &mut impl Kernel, batch: &Batch<'_>, runs: &[Run]) -> Taken {
        let taken = kernel.send_messages(batch, runs);
        let accepted = &runs[..taken.messages];
        self.statistics.calls += 1;
        self.statistics.datagrams += count(accepted) as u64;
        self.statistics.segmented_runs += accepted.iter().filter(|run| run.is_segmented()).count() as u64;
        taken
    }

    /// Sends the datagrams of a run that the kernel would not segment, plainly; how many, and what stopped it.
    ///
    /// That it would not is remembered where the datagrams then went: the refusal was about segmentation.
    fn send_refused(
        &mut self,
        kernel: &mut impl Kernel,
        batch: &Batch<'_>,
        run: Run,
        refusal: Errno,
        plain: &mut Vec<Run>,
    ) -> (usize, Option<Errno>) {
        if refusal.is_ambiguous() {
            // Said twice it is a refusal. Said once it was pending on the socket, by an ICMP message.
            let again = self.transmit(kernel, batch, &[run]);
            if again.error.is_none_or(|errno| !errno.refuses_segmentation()) {
                self.defer(refusal);
                return (again.messages * run.count as usize, again.error);
            }
        }
        plain.clear();
        group(batch, run.datagrams(), 0, plain);
        let taken = self.transmit(kernel, batch, plain);
        if taken.messages > 0 {
            self.statistics.refused_runs += 1;
            self.largest_segment =
                if refusal.refuses_size() { self.largest_segment.min(run.segment as usize - 1) } else { 0 };
        }
        (taken.messages, taken.error)
    }
}

fn count(runs: &[Run]) -> usize {
    runs.iter().map(|run| run.count as usize).sum()
}
