/**
 * What each system call can answer, by its man page, and which error-codes of wasi:sockets/network may be told of it. Written
 * down apart from the Rust table of the same, which it judges.
 */

/** Errors that an ICMP message leaves on a connected socket, or a route gives: ip(7), udp(7), icmp_err_convert of Linux. */
const NETWORK = [
  ...['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN', 'ENETDOWN', 'ENONET', 'ENOPROTOOPT', 'EPROTO'],
  ...['EOPNOTSUPP', 'EACCES', 'EPERM', 'EMSGSIZE'],
];

/** Errors by which a filter refuses calls as such, seccomp(2). EPERM is among those of the network too. */
export const FILTERED = ['ENOSYS', 'EPERM'];

/** Calls that others do the work of where a filter refuses them. */
export const REPLACED = ['sendto', 'sendmmsg', 'sendmsg', 'recvmmsg', 'recvmsg'];

/** send(2), but for what only streams and files give (EALREADY, EPIPE), and EIO, which udp(7) names for UDP_SEGMENT. */
const SEND = [
  ...['EINTR', 'EAGAIN', 'ENOBUFS', 'ENOMEM', 'EBADF', 'ECONNRESET', 'EDESTADDRREQ', 'EFAULT', 'EINVAL', 'EISCONN'],
  ...['ENOTCONN', 'ENOTSOCK', 'EIO', 'EADDRNOTAVAIL', 'EAFNOSUPPORT', 'ENOSYS', ...NETWORK],
];

/** recv(2). */
const RECEIVE = [
  'EINTR',
  'EAGAIN',
  'ENOMEM',
  'ENOBUFS',
  'EBADF',
  'EFAULT',
  'EINVAL',
  'ENOTCONN',
  'ENOTSOCK',
  'ENOSYS',
  ...NETWORK,
];

/** recvmsg(2) of the queue of errors (MSG_ERRQUEUE), which is all that it is used for on Linux: it tells none of them as its own. */
const ERROR_QUEUE = ['EINTR', 'EAGAIN', 'ENOMEM', 'EBADF', 'EFAULT', 'EINVAL', 'ENOTSOCK', ...FILTERED];

/** epoll_wait(2). */
const EPOLL_WAIT = ['EINTR', 'EBADF', 'EFAULT', 'EINVAL'];

/** getsockopt(2), setsockopt(2); ENOMEM and ENOBUFS as ip(7) has them, EPERM and EACCES as socket(7). */
const OPTION = ['EBADF', 'EFAULT', 'EINVAL', 'ENOPROTOOPT', 'ENOTSOCK', 'ENOMEM', 'ENOBUFS', 'EPERM', 'EACCES'];

/** The errors of each system call that the addon makes. EINTR is with those that signal(7) lists. */
export const ERRORS = {
  socket: ['EACCES', 'EAFNOSUPPORT', 'EINVAL', 'EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM', 'EPROTONOSUPPORT', 'EPERM'],
  fcntl: ['EACCES', 'EBADF', 'EINVAL', 'EPERM', 'ENOMEM'],
  bind: [
    'EACCES',
    'EADDRINUSE',
    'EADDRNOTAVAIL',
    'EBADF',
    'EFAULT',
    'EINVAL',
    'ENOTSOCK',
    'ENOMEM',
    'ENOBUFS',
    'EPERM',
  ],
  connect: [
    ...['EINTR', 'EACCES', 'EPERM', 'EADDRINUSE', 'EADDRNOTAVAIL', 'EAFNOSUPPORT', 'EAGAIN', 'EBADF', 'ECONNREFUSED'],
    ...['EFAULT', 'EISCONN', 'ENETUNREACH', 'EHOSTUNREACH', 'ENETDOWN', 'ENOTSOCK', 'ETIMEDOUT', 'EINVAL', 'ENOMEM'],
    'ENOBUFS',
  ],
  getsockname: ['EBADF', 'EFAULT', 'EINVAL', 'ENOBUFS', 'ENOTSOCK'],
  getsockopt: OPTION,
  setsockopt: OPTION,
  poll: ['EINTR', 'EFAULT', 'EINVAL', 'ENOMEM'],
  sendto: SEND,
  sendmsg: SEND,
  sendmmsg: SEND,
  recvfrom: RECEIVE,
  recvmsg: ERROR_QUEUE,
  recvmmsg: RECEIVE,
  epoll_ctl: ['EBADF', 'EEXIST', 'EINVAL', 'ELOOP', 'ENOENT', 'ENOMEM', 'ENOSPC', 'EPERM'],
  epoll_wait: EPOLL_WAIT,
  epoll_pwait: EPOLL_WAIT,
  epoll_create1: ['EINVAL', 'EMFILE', 'ENFILE', 'ENOMEM'],
  eventfd2: ['EINVAL', 'EMFILE', 'ENFILE', 'ENODEV', 'ENOMEM'],
  timerfd_create: ['EINVAL', 'EMFILE', 'ENFILE', 'ENODEV', 'ENOMEM', 'EPERM'],
  timerfd_settime: ['EBADF', 'EFAULT', 'EINVAL', 'ECANCELED'],
  // pthread_create(3) makes EAGAIN of all of them.
  clone3: ['EAGAIN'],
  clone: ['EAGAIN'],
  ioctl: ['EBADF', 'EFAULT', 'EINVAL', 'ENOTTY'],
  close: ['EBADF', 'EINTR', 'EIO', 'ENOSPC', 'EDQUOT'],
};

/** The error-codes that an error number may be told as: udp.wit names most. */
const CODES = {
  EACCES: ['access-denied'],
  EPERM: ['access-denied'],
  EOPNOTSUPP: ['not-supported'],
  ENOPROTOOPT: ['not-supported'],
  EPROTONOSUPPORT: ['not-supported'],
  ENOSYS: ['not-supported'],
  EAFNOSUPPORT: ['not-supported', 'invalid-argument'],
  EINVAL: ['invalid-argument'],
  EDESTADDRREQ: ['invalid-argument'],
  EISCONN: ['invalid-argument'],
  EFAULT: ['invalid-argument', 'unknown'],
  ENOTCONN: ['invalid-state'],
  ENOMEM: ['out-of-memory'],
  ENOBUFS: ['out-of-memory'],
  ENOSPC: ['out-of-memory', 'new-socket-limit'],
  ETIMEDOUT: ['timeout'],
  EMFILE: ['new-socket-limit'],
  ENFILE: ['new-socket-limit'],
  // udp.wit, stream: "address-in-use: ... no ephemeral ports available. (EADDRINUSE, EADDRNOTAVAIL on Linux, EAGAIN on BSD)".
  EADDRNOTAVAIL: ['address-not-bindable', 'address-in-use', 'invalid-argument'],
  EADDRINUSE: ['address-in-use'],
  EAGAIN: ['address-in-use'],
  EHOSTUNREACH: ['remote-unreachable'],
  EHOSTDOWN: ['remote-unreachable'],
  ENETUNREACH: ['remote-unreachable'],
  ENETDOWN: ['remote-unreachable'],
  ENONET: ['remote-unreachable'],
  ECONNRESET: ['remote-unreachable'],
  ECONNREFUSED: ['connection-refused'],
  EMSGSIZE: ['datagram-too-large'],
};

/** The error-codes that may be told of an error number; `unknown` where the WIT has no other. Never `would-block`. */
export function codesOf(errno) {
  return CODES[errno] ?? ['unknown'];
}

/** Errors that the kernel tells once and forgets: who sends must hear of each. */
export const TOLD_ONCE = ['ECONNREFUSED', 'EHOSTDOWN', 'ENOPROTOOPT', 'ECONNRESET', 'EPROTO', 'ENONET'];

/** Errors after which the same call is to be made again, or later: nobody hears of them from a call that does not block. */
export const LATER = ['EINTR', 'EAGAIN', 'ENOBUFS'];
