// The cases of the benchmark: what is sent, where to, over what.

/** 256 sizes from 1 to 1200, the same in every run. */
const RANDOM_SIZES = (() => {
  let state = 42;
  return Array.from({ length: 256 }, () => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return 1 + (state % 1200);
  });
})();

/**
 * A case. `sizes`: bytes of the datagrams in turn; `destinations`: how many in turn; `gro`: whether the receiver takes runs
 * whole; `link`: 'lo' or 'veth'.
 */
function makeCase({ size, batch, mode = 'one', family = 4, gro = false, link = 'lo' }) {
  const sizes = mode === 'random' ? RANDOM_SIZES : [size];
  const what = mode === 'random' ? '1-1200 B' : `${size} B`;
  const name = [what, `batch ${batch}`, mode, gro ? 'GRO' : 'plain', `IPv${family}`, link].join(', ');
  const destinations = mode === 'sixteen' ? 16 : 1;
  return { name, size, sizes, batch, mode, connected: mode === 'connected', destinations, family, gro, link };
}

/** The cases that issue targets and the README speak of. */
export const HEADLINE = [
  makeCase({ size: 64, batch: 256 }),
  makeCase({ size: 1200, batch: 256 }),
  makeCase({ size: 64, batch: 256, gro: true }),
  makeCase({ size: 1200, batch: 256, gro: true }),
  makeCase({ size: 64, batch: 256, mode: 'sixteen' }),
  makeCase({ size: 1200, batch: 256, mode: 'sixteen' }),
  makeCase({ size: 0, batch: 256, mode: 'random' }),
  makeCase({ size: 64, batch: 1 }),
];

function* matrix() {
  for (const family of [4, 6]) {
    for (const gro of [false, true]) {
      for (const mode of ['connected', 'one', 'sixteen', 'random']) {
        for (const size of mode === 'random' ? [0] : [64, 512, 1200, 8192]) {
          for (const batch of [1, 16, 256, 1024]) yield makeCase({ size, batch, mode, family, gro });
        }
      }
    }
  }
  for (const gro of [false, true]) {
    for (const size of [64, 512, 1200, 8192]) yield makeCase({ size, batch: 256, gro, link: 'veth' });
  }
}

/** Every case, the headline's first. */
export const ALL = [...HEADLINE, ...[...matrix()].filter(({ name }) => !HEADLINE.some((other) => other.name === name))];

/** The senders of a case, ours first. */
export function sendersOf({ connected, destinations, mode }) {
  const senders = [
    'send',
    'writer',
    'dgram',
    'sendto',
    'sendmmsg',
    'segment',
    'quinn',
    'bun-sendMany',
    'deno-datagram',
  ];
  const skipped = connected ? ['deno-datagram', 'quinn'] : [];
  return (
    connected || destinations > 1 || mode === 'random' ? senders : ['send', 'send-own', ...senders.slice(1)]
  ).filter((sender) => !skipped.includes(sender));
}

const ratio = (case_, ours, peer, least) => ({ case: HEADLINE[case_].name, ours, peer, least });

/** The ratios that the project promises: how many times faster than the peer, at least. */
export const TARGETS = [
  ratio(0, 'send', 'dgram', 10),
  ratio(0, 'send', 'segment', 0.95),
  ratio(1, 'send', 'dgram', 10),
  ratio(1, 'send', 'segment', 0.95),
  ratio(2, 'send', 'dgram', 50),
  ratio(2, 'send', 'quinn', 0.85),
  ratio(2, 'writer', 'quinn', 0.95),
  ratio(3, 'send', 'dgram', 25),
  ratio(3, 'send', 'quinn', 0.75),
  ratio(3, 'writer', 'quinn', 0.95),
  ratio(4, 'send', 'dgram', 1.5),
  ratio(4, 'send', 'sendmmsg', 0.95),
  ratio(5, 'send', 'dgram', 1.5),
  ratio(5, 'send', 'sendmmsg', 0.95),
  ratio(6, 'send', 'dgram', 1.5),
  ratio(6, 'send', 'sendmmsg', 0.95),
  ratio(7, 'send', 'sendto', 1 / 1.15),
  ratio(7, 'send', 'dgram', 1),
];
