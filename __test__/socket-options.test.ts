import { spawnSync } from 'node:child_process';
import { lookup as systemLookup } from 'node:dns';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import {
  formatSocketAddress,
  type Lookup,
  type OpenUdp,
  type OpenUdpOptions,
  openUdp,
  openUdpAsync,
  parseSocketAddress,
  resolveSocketAddress,
  sendAll,
} from '../dist/index.js';
import { compile } from './support/compile.js';
import { open, opened } from './support/opened.js';
import { bytes, codeOf, outcome, thrownBy } from './support/outcomes.js';
import { PEER } from './support/pair.js';
import { noNamespaces, runFixture, runInNamespace } from './support/runtime.js';

const isLinux = process.platform === 'linux';
const textOf = (udp: OpenUdp) => formatSocketAddress(udp.localAddress);
const portOf = (udp: OpenUdp) => udp.localAddress.val.port;

/** Sends a text; to the peer of the socket where none is named. */
function send(udp: OpenUdp, text: string, to?: string): void {
  udp.outgoing.checkSend();
  udp.outgoing.send([{ data: bytes(text), ...(to !== undefined && { remoteAddress: parseSocketAddress(to) }) }]);
}

/** The datagrams that arrive next, with their sources. */
async function heard(udp: OpenUdp): Promise<[string, string][]> {
  await udp.incoming.subscribe().wait();
  return udp.incoming
    .receive()
    .map(({ data, remoteAddress }) => [Buffer.from(data).toString(), formatSocketAddress(remoteAddress)]);
}

describe('unknown options', () => {
  it.each([
    ['reuseAddr', 'reuseAddress'],
    ['reuseport', 'reusePort'],
    ['ipv6only', 'ipv6Only'],
    ['ttl', 'hopLimit'],
    ['multicastTTL', 'multicastHopLimit'],
    ['multicastLoopBack', 'multicastLoopback'],
    ['recvBufferSize', 'receiveBufferSize'],
    ['sendBuffer', 'sendBufferSize'],
    ['remoteAddress', 'remote'],
    ['segment', 'segmentation'],
    ['port', 'local'],
  ])('%s is a TypeError that asks for %s', async (name, nearest) => {
    const options = { [name]: true } as OpenUdpOptions;
    const error = thrownBy(() => openUdp(options)) as Error;
    expect(error).toBeInstanceOf(TypeError);
    expect(error.message).toContain(`"${name}": did you mean ${nearest}?`);
    await expect(openUdpAsync(options)).rejects.toThrow(TypeError);
  });

  it('lookup and family are options of openUdpAsync alone', async () => {
    expect(() => openUdp({ lookup: systemLookup } as OpenUdpOptions)).toThrow(TypeError);
    (await openUdpAsync({ lookup: systemLookup as Lookup, family: 'ipv4' }))[Symbol.dispose]();
  });

  it('an option that is undefined is none', () => {
    expect(textOf(open({ hopLimit: undefined, ipv6Only: undefined, local: undefined }))).toMatch(/^0\.0\.0\.0:/);
  });
});

describe('wrong values', () => {
  it.each<[string, unknown]>([
    ['reuseAddress', 1],
    ['reusePort', 'yes'],
    ['ipv6Only', null],
    ['broadcast', 0],
    ['hopLimit', 0],
    ['hopLimit', 256],
    ['hopLimit', 1.5],
    ['multicastHopLimit', -1],
    ['multicastHopLimit', 256],
    ['multicastLoopback', 1n],
    ['trafficClass', 256],
    ['trafficClass', '0xb8'],
    ['dontFragment', 'maybe'],
    ['sendBufferSize', 0],
    ['receiveBufferSize', 2 ** 31],
  ])('%s: %s is a TypeError that says what it takes', (name, value) => {
    const rule = new RegExp(`${name}: it takes .*, got `);
    expect(() => openUdp({ [name]: value } as OpenUdpOptions)).toThrow(rule);
    if (['reuseAddress', 'reusePort', 'ipv6Only'].includes(name)) return;
    const udp = open() as unknown as Record<string, unknown>;
    expect(() => {
      udp[name] = value;
    }).toThrow(rule);
  });

  it.each([0, 1, null, 'false', {}])('segmentation: %s is a TypeError', (segmentation) => {
    expect(() => openUdp({ segmentation: segmentation as never })).toThrow(
      /segmentation: it takes true or false, got /,
    );
  });

  it('an interface that there is not, and a group that was not joined, are told as such', () => {
    const udp = open();
    expect(String(thrownBy(() => (udp.multicastInterface = 2 ** 30)))).toMatch(/interface/);
    for (const source of [undefined, '192.0.2.1'])
      expect(String(thrownBy(() => udp.leaveGroup('232.1.1.1', { source: source!, interface: 1 })))).toMatch(
        /the socket has not joined the group/,
      );
  });

  it.each(['device', 'multicastInterface'])('%s: what is no interface is invalid-argument', (name) => {
    for (const value of ['no such one', '', '192.0.2.77', -1, 1.5, null, {}])
      expect(outcome(() => openUdp({ [name]: value } as OpenUdpOptions))).toBe('invalid-argument');
  });

  it('an IPv6 option of a socket of IPv4 addresses is invalid-argument', () => {
    expect(outcome(() => openUdp({ local: '127.0.0.1:0', ipv6Only: true }))).toBe('invalid-argument');
    expect(textOf(open({ ipv6Only: true }))).toMatch(/^\[::\]:/);
  });

  it.each([
    ['10.0.0.1', {}],
    ['239.1.1.1:5', {}],
    ['ff02::1', {}],
    ['239.1.1.1', { interface: 'no such one' }],
    ['239.1.1.1', { interface: 2 ** 30 }],
    ['232.1.1.1', { source: 'fd00::1' }],
    ['232.1.1.1', { source: 'name' }],
    [5, {}],
  ])('joinGroup(%j, %j) is invalid-argument', (group, options) => {
    expect(outcome(() => open().joinGroup(group as string, options))).toBe('invalid-argument');
  });
});

const FAMILIES: [string, OpenUdpOptions][] = [
  ['IPv4', { local: '127.0.0.1:0' }],
  ['IPv6', { local: '[::1]:0' }],
  // Other systems than Linux do not have all of IPv4's on a socket of both.
  ...(isLinux ? [['both', { ipv6Only: false }] as [string, OpenUdpOptions]] : []),
];

describe.each(FAMILIES)('options of %s', (_, base) => {
  const values: [keyof OpenUdp, unknown][] = [
    ['broadcast', true],
    ['hopLimit', 7],
    ['multicastHopLimit', 0],
    ['multicastLoopback', false],
    ['dontFragment', true],
    ...(process.platform === 'win32' ? [] : ([['trafficClass', 0xb8]] as [keyof OpenUdp, unknown][])),
    ...(process.platform === 'darwin' ? [] : ([['dontFragment', 'probe']] as [keyof OpenUdp, unknown][])),
  ];

  it.each(values)('%s %s: given or set, the system tells it, and can be told otherwise', (name, value) => {
    const given = open({ ...base, [name]: value });
    expect(given[name]).toBe(value);
    const plain = open(base);
    const before = plain[name];
    expect(before).not.toBe(value);
    Object.assign(plain, { [name]: value });
    expect(plain[name]).toBe(value);
    Object.assign(plain, { [name]: before });
    expect(plain[name]).toBe(before);
  });

  it.each(['sendBufferSize', 'receiveBufferSize'] as const)('%s: the system tells what it made of it', (name) => {
    const udp = open({ ...base, [name]: 50_000 });
    expect(udp[name]).toBe(50_000);
    udp[name] = 2 ** 31 - 1;
    if (!isLinux) return;
    const most = Number(readFileSync(`/proc/sys/net/core/${name === 'sendBufferSize' ? 'w' : 'r'}mem_max`, 'utf8'));
    expect(udp[name]).toBe(most);
    expect(udp.socket[name]()).toBe(BigInt(most));
  });

  it('an option of a closed socket traps', () => {
    const udp = openUdp(base);
    udp[Symbol.dispose]();
    expect(() => udp.hopLimit).toThrow(/closed/);
    expect(() => {
      udp.hopLimit = 1;
    }).toThrow(/closed/);
    expect(() => udp.joinGroup('239.1.1.1')).toThrow();
  });
});

describe('pathMtu', () => {
  it.skipIf(!isLinux)('of a peer on loopback; invalid-state without a peer', () => {
    for (const host of ['127.0.0.1', '[::1]']) expect(open({ remote: `${host}:9` }).pathMtu).toBeGreaterThan(60_000);
    expect(open({ remote: '127.0.0.1:9', ipv6Only: false }).pathMtu).toBeGreaterThan(60_000);
    expect(outcome(() => open().pathMtu)).toBe('invalid-state');
  });
});

describe('several sockets on a port', () => {
  it('without an option: address-in-use', () => {
    expect(outcome(() => open({ local: textOf(open({ local: '127.0.0.1:0' })) }))).toBe('address-in-use');
  });

  it.skipIf(!isLinux)('reusePort: each datagram is heard by one of them, and flows spread', async () => {
    const first = open({ local: '127.0.0.1:0', reusePort: true });
    const both = [first, open({ local: textOf(first), reusePort: true })];
    expect([first.reusePort, first.reuseAddress]).toEqual([true, false]);
    expect(outcome(() => openUdp({ local: textOf(first) }))).toBe('address-in-use');
    const FLOWS = 64;
    for (let i = 0; i < FLOWS; i++) send(open(), `${i}`, textOf(first));
    const counts = both.map((udp) => udp.incoming.receive().length);
    expect(counts[0]! + counts[1]!).toBe(FLOWS);
    expect(Math.min(...counts)).toBeGreaterThan(FLOWS / 8);
  });

  it.skipIf(process.platform !== 'win32')('reusePort is not-supported on Windows, and named', () => {
    const error = thrownBy(() => openUdp({ reusePort: true })) as Error;
    expect([codeOf(error), error.message]).toEqual(['not-supported', expect.stringContaining('SO_REUSEPORT')]);
  });

  it.skipIf(!isLinux)('reuseAddress: two may be bound, and the last one hears', async () => {
    const first = open({ local: '127.0.0.1:0', reuseAddress: true });
    const second = open({ local: textOf(first), reuseAddress: true });
    expect([second.reuseAddress, second.reusePort]).toEqual([true, false]);
    send(open(), 'to whom?', textOf(first));
    expect((await heard(second)).map(([text]) => text)).toEqual(['to whom?']);
    expect(first.incoming.receive()).toEqual([]);
  });
});

describe('dual stack', () => {
  it('an IPv6 socket speaks IPv6 alone unless it is asked to', () => {
    const six = open({ local: '[::1]:0' });
    expect(six.ipv6Only).toBe(true);
    expect(outcome(() => send(six, 'no', '127.0.0.1:9'))).toBe('invalid-argument');
  });

  it('with ipv6Only: false peers of both families are told and taken as what they are, in one list', async () => {
    const both = open({ ipv6Only: false });
    expect([both.ipv6Only, textOf(both)]).toEqual([false, `[::]:${portOf(both)}`]);
    const peers = ['127.0.0.1', '[::1]'].map((host) => open({ local: `${host}:0` }));
    const datagrams = Array.from({ length: 100 }, (_, i) => ({
      data: bytes(`${i}`),
      remoteAddress: peers[(i >> 2) & 1]!.localAddress,
    }));
    expect(await sendAll(both.outgoing, datagrams)).toBe(100n);
    for (const [index, peer] of peers.entries()) {
      const host = textOf(peer).replace(/:\d+$/, '');
      const there: [string, string][] = [];
      while (there.length < (index === 0 ? 52 : 48)) there.push(...(await heard(peer)));
      const expected = datagrams.flatMap(({ data, remoteAddress }) =>
        remoteAddress === peer.localAddress ? [[Buffer.from(data).toString(), `${host}:${portOf(both)}`]] : [],
      );
      expect(there).toEqual(expected);
      send(peer, 'back', `${host}:${portOf(both)}`);
      expect(await heard(both)).toEqual([['back', textOf(peer)]]);
    }
  });

  it.each(['127.0.0.1', '[::1]'])('connects to %s, hears it alone, and is told of a refusal', async (host) => {
    const peer = open({ local: `${host}:0` });
    const both = open({ ipv6Only: false, remote: textOf(peer) });
    expect(textOf(both)).toBe(`${host}:${portOf(both)}`);
    expect(both.socket.remoteAddress()).toEqual(peer.localAddress);
    send(both, 'there');
    expect(await heard(peer)).toEqual([['there', textOf(both)]]);
    send(peer, 'back', textOf(both));
    expect(await heard(both)).toEqual([['back', textOf(peer)]]);
    peer[Symbol.dispose]();
    send(both, 'to nobody');
    await both.incoming.subscribe().wait();
    expect(outcome(() => both.incoming.receive())).toBe(
      process.platform === 'win32' ? 'remote-unreachable' : 'connection-refused',
    );
  });

  it('binds to an address of IPv4', async () => {
    const both = open({ ipv6Only: false, local: '127.0.0.1:0' });
    expect(textOf(both)).toBe(`127.0.0.1:${portOf(both)}`);
    const peer = open({ local: '127.0.0.1:0' });
    send(peer, 'hello', textOf(both));
    expect(await heard(both)).toEqual([['hello', textOf(peer)]]);
  });

  it('the port of [::] is free for both protocols', () => {
    const both = open({ ipv6Only: false });
    expect(outcome(() => open({ local: `0.0.0.0:${portOf(both)}` }))).toBe('address-in-use');
  });

  it('an IPv4 address in IPv6 clothes is refused, with the remedy', () => {
    const both = open({ ipv6Only: false });
    expect(() => send(both, 'mapped', '[::ffff:127.0.0.1]:9')).toThrow(/names IPv4 peers by their IPv4 addresses/);
    expect(outcome(() => open({ ipv6Only: false, remote: '[::ffff:127.0.0.1]:9' }))).toBe('invalid-argument');
  });

  it('a policy covers IPv4 peers by their IPv4 addresses', async () => {
    const peer = open({ local: '127.0.0.1:0' });
    const allow = [{ bind: '*:*' }, { send: '127.0.0.1:*' }];
    const both = open({ ipv6Only: false, allow });
    send(both, 'allowed', textOf(peer));
    expect(outcome(() => send(both, 'denied', '127.0.0.2:9'))).toBe('access-denied');
    expect(outcome(() => send(both, 'denied', '[::1]:9'))).toBe('access-denied');
    send(peer, 'back', `127.0.0.1:${portOf(both)}`);
    expect(await heard(both)).toEqual([['back', textOf(peer)]]);
  });
});

describe('names', () => {
  /** A lookup of one's own, and what it was asked. */
  function lookupOf(answer: unknown, error: Error | null = null) {
    const asked: unknown[] = [];
    const lookup: Lookup = (host, options, callback) => {
      asked.push([host, options]);
      callback(error, answer as string);
    };
    return { asked, lookup };
  }
  const both = [
    { address: '::1', family: 6 },
    { address: '127.0.0.1', family: 4 },
  ];

  it('openUdpAsync({ remote: name }) connects to the address of the name', async () => {
    const receiver = open({ local: '127.0.0.1:0' });
    const udp = await openUdpAsync({ remote: `localhost:${portOf(receiver)}`, family: 'ipv4', hopLimit: 3 });
    opened.push(udp);
    expect([udp.socket.remoteAddress(), udp.hopLimit]).toEqual([receiver.localAddress, 3]);
    send(udp, 'by name');
    expect(await heard(receiver)).toEqual([['by name', textOf(udp)]]);
  });

  it('binds by name', async () => {
    const udp = await openUdpAsync({ local: 'localhost:0', family: 'ipv4' });
    opened.push(udp);
    expect(textOf(udp)).toMatch(/^127\.0\.0\.1:\d+$/);
  });

  it('another lookup is asked as net.connect asks it, and its first address that fits is taken', async () => {
    const { asked, lookup } = lookupOf(both);
    const udp = await openUdpAsync({ remote: 'one.example:5', lookup });
    opened.push(udp);
    expect(formatSocketAddress(udp.socket.remoteAddress())).toBe('[::1]:5');
    const ipv4 = await openUdpAsync({ local: '127.0.0.1:0', remote: 'two.example:6', lookup });
    opened.push(ipv4);
    expect(formatSocketAddress(ipv4.socket.remoteAddress())).toBe('127.0.0.1:6');
    expect(asked).toEqual([
      ['one.example', { all: true, family: 0 }],
      ['two.example', { all: true, family: 0 }],
    ]);
  });

  it('an address that cannot be used gives way to the next', async () => {
    // 192.0.2.0/24 is nobody's (RFC 5737): no socket here can be bound to it.
    const { lookup } = lookupOf([
      { address: '192.0.2.1', family: 4 },
      { address: '127.0.0.1', family: 4 },
    ]);
    const udp = await openUdpAsync({ local: 'here.example:0', lookup });
    opened.push(udp);
    expect(textOf(udp)).toMatch(/^127\.0\.0\.1:/);
    const { lookup: one } = lookupOf('192.0.2.1');
    await expect(openUdpAsync({ local: 'there.example:0', lookup: one })).rejects.toMatchObject({
      payload: 'address-not-bindable',
    });
  });

  it('resolveSocketAddress gives the address, and takes addresses as they are', async () => {
    const { lookup } = lookupOf(both);
    expect(await resolveSocketAddress('a.example:7', { lookup })).toEqual(parseSocketAddress('[::1]:7'));
    expect(await resolveSocketAddress('a.example:7', { lookup, family: 'ipv4' })).toEqual(
      parseSocketAddress('127.0.0.1:7'),
    );
    expect(await resolveSocketAddress('127.0.0.1:7')).toEqual(parseSocketAddress('127.0.0.1:7'));
    expect(await resolveSocketAddress('[::1]:7')).toEqual(parseSocketAddress('[::1]:7'));
  });

  it.each([
    ['ENOTFOUND', 'name-unresolvable'],
    ['EAI_AGAIN', 'temporary-resolver-failure'],
  ])('a lookup that fails with %s is %s', async (code, expected) => {
    const { lookup } = lookupOf(undefined, Object.assign(new Error('failed'), { code }));
    await expect(openUdpAsync({ remote: 'a.example:7', lookup })).rejects.toMatchObject({
      payload: expected,
      code,
    });
  });

  it("what a getter of a lookup's answer throws rejects, and so does an error that is none", async () => {
    const answer = [
      {
        get address(): string {
          throw new Error('a getter');
        },
      },
    ];
    const lookup: Lookup = (_name, _options, callback) => setImmediate(() => callback(null, answer));
    await expect(openUdpAsync({ remote: 'a.example:7', lookup })).rejects.toThrow('a getter');
    const failing = ((_name, _options, callback) => callback('a text' as never, [])) as Lookup;
    await expect(openUdpAsync({ remote: 'a.example:7', lookup: failing })).rejects.toThrow(/failed \("a text"\)/);
  });

  it.each([undefined, null, 5, 'nothing', {}, [], [null], [{}], [{ address: 5 }], [{ address: 'x' }, 7]])(
    'a lookup that answers %j has no answer',
    async (answer) => {
      const lookup = ((_name: string, _options: object, callback: (error: null, answer: unknown) => void) => {
        setImmediate(() => {
          callback(null, answer);
          callback(null, [{ address: '127.0.0.1', family: 4 }]);
        });
      }) as Lookup;
      await expect(openUdpAsync({ remote: 'a.example:7', lookup })).rejects.toMatchObject({ code: 'ENOTFOUND' });
    },
  );

  it('a name without an address of the family is name-unresolvable', async () => {
    const { lookup } = lookupOf([{ address: '::1', family: 6 }]);
    await expect(resolveSocketAddress('a.example:7', { lookup, family: 'ipv4' })).rejects.toMatchObject({
      payload: 'name-unresolvable',
    });
    await expect(resolveSocketAddress('a.example:7', { family: 'inet' as never })).rejects.toThrow(TypeError);
    await expect(resolveSocketAddress('a.example:7', { lookup: 5 as never })).rejects.toThrow(/a lookup is a function/);
    await expect(resolveSocketAddress('a.example:7', { resolver: systemLookup } as never)).rejects.toThrow(
      /has no option "resolver"/,
    );
  });

  it.each([
    ['localhost:8125', /"localhost:8125": look names up, with openUdpAsync\(\)/],
    ['localhost', /"localhost": name the port too, and look names up/],
    [':53', /for all addresses of this machine write '0\.0\.0\.0:53' for IPv4, '\[::\]:53' for IPv6/],
    ['*:53', /for all addresses of this machine/],
    ['*', /for all addresses of this machine/],
    ['127.0.0.1', /name the port too, as in/],
    ['[::1]', /name the port too, as in/],
    ['::1', /in brackets, and a port behind them/],
    ['127.0.0.1:65536', /correct the address or the port/],
    ['300.0.0.1:53', /correct the address or the port/],
    ['', /correct the address or the port/],
  ])('openUdp({ local: %j }) says what to do', (local, remedy) => {
    expect(() => openUdp({ local })).toThrow(remedy);
    expect(outcome(() => openUdp({ local }))).toBe('invalid-argument');
  });

  it.each([':53', '*:53', '127.0.0.1', '::1', '256.0.0.1:53', 'a.example:65536', 'a b.example:1', 5])(
    'openUdpAsync({ remote: %j }) looks nothing up',
    async (remote) => {
      const { asked, lookup } = lookupOf(both);
      await expect(openUdpAsync({ remote: remote as string, lookup })).rejects.toThrow();
      expect(asked).toEqual([]);
    },
  );
});

describe('ref and unref', () => {
  const lived = async (...calls: string[]) => (await runFixture<{ lived: number }>('socket-unref.mjs', calls)).lived;

  it.each([[['unref', 'wait']], [['wait', 'unref']], [['ref', 'unref', 'wait']]])(
    'after %j the process ends',
    async (calls) => expect(await lived(...calls)).toBeLessThan(1400),
  );

  it.each([[['wait']], [['unref', 'wait', 'ref']], [['wait', 'unref', 'ref']]])(
    'after %j the process lives on',
    async (calls) => expect(await lived(...calls)).toBeGreaterThan(1400),
  );
});

const inPair = (...args: string[]) => runInNamespace<never>(PEER, 'socket-options.mjs', args);

const noPython = spawnSync('python3', ['--version']).status === 0 ? undefined : '(needs python3)';
/** Deno's node:dgram joins no groups by interface. */
const noDgram = 'Deno' in globalThis ? '(needs a node:dgram with multicast)' : undefined;
const program = noNamespaces === undefined ? compile('fixtures/options-peer.c') : undefined;
/** Whom the other namespace has: its name, why it cannot be had, its program. */
const PARTNERS: [string, string | undefined, string[]][] = [
  ['node:dgram', noDgram, []],
  ['C', program ? undefined : '(needs cc)', program ? [program] : []],
];

describe.skipIf(noNamespaces)(`on the wire ${noNamespaces ?? ''}`, () => {
  it.skipIf(noPython)(
    `hop limits, traffic classes and interfaces are those of the headers ${noPython ?? ''}`,
    async () => {
      expect(await inPair('headers')).toEqual([
        ['127.0.0.1', {}, { hops: 64, class: 0 }],
        ['127.0.0.1', { hopLimit: 9, trafficClass: 0xb8 }, { hops: 9, class: 0xb8 }],
        ['127.0.0.1', { ipv6Only: false, hopLimit: 10, trafficClass: 2 }, { hops: 10, class: 2 }],
        ['[::1]', { hopLimit: 11, trafficClass: 0x49 }, { hops: 11, class: 0x49 }],
        ['[::1]', { ipv6Only: false, hopLimit: 12 }, { hops: 12, class: 0 }],
        ['239.1.2.3', { multicastInterface: 'lo', multicastHopLimit: 5 }, { hops: 5, class: 0 }],
        [
          '239.1.2.3',
          { multicastInterface: '127.0.0.1', ipv6Only: false, multicastHopLimit: 6 },
          { hops: 6, class: 0 },
        ],
        ['[ff12::5]', { multicastInterface: 'near', multicastHopLimit: 7 }, { hops: 7, class: 0 }],
      ]);
    },
  );

  for (const [partner, without, command] of PARTNERS) {
    it.skipIf(without)(
      `a broadcast is denied until it is asked for, and then heard, with ${partner} ${without ?? ''}`,
      async () => {
        expect(await inPair('broadcast', ...command)).toEqual({
          denied: 'access-denied',
          allowed: 'ok',
          there: 'to all from 10.1.0.1',
          remote: ['ok', 'by connection from 10.1.0.1'],
          back: ['to all here from 10.1.0.2'],
        });
      },
    );

    it.skipIf(without)(
      `groups are heard while they are joined, from their source alone, with ${partner} ${without ?? ''}`,
      async () => {
        const seen = (own: string, far: string) => ({
          forth: `news from ${own}`,
          selected: `news from ${own}`,
          unselected: `nothing from ${far}`,
          joined: [`answer from ${far}`],
          again: 'address-in-use',
          left: [],
          notJoined: 'address-not-bindable',
          source: [`select from ${far}`],
          other: [],
        });
        expect(await inPair('multicast', ...command)).toEqual({
          ipv4: seen('10.1.0.1', '10.1.0.2'),
          ipv6: seen('fd01::1', 'fd01::2'),
          both: seen('10.1.0.1', '10.1.0.2'),
        });
      },
    );
  }

  it('multicastLoopback decides whether this machine hears', async () => {
    expect(await inPair('loopback')).toEqual([
      [true, 'ok', 1],
      [false, 'ok', 0],
      [true, 'ok', 1],
    ]);
  });

  it('more groups than one socket may join are out-of-memory', async () => {
    const setup = `${PEER}\n echo 7 >/proc/sys/net/ipv4/igmp_max_memberships`;
    expect(await runInNamespace<never>(setup, 'socket-options.mjs', ['limit'])).toEqual([7, 'out-of-memory']);
  });

  it('several sockets of a port hear each multicast, and the last one each unicast', async () => {
    expect(await inPair('listeners')).toEqual([
      ['ok', 'second'],
      ['ok', 'first', 'second', 'ofGroup'],
      ['ok', 'stranger'],
    ]);
  });

  it.skipIf(noDgram)(`a socket of a device hears and sends by it alone ${noDgram ?? ''}`, async () => {
    expect(await inPair('device')).toEqual({
      byLoopback: [],
      byDevice: ['by near from 10.1.0.2'],
      sent: ['ok', 'out from 10.1.0.1'],
      elsewhere: [],
    });
  });

  it('the MTU of a path is learned from what was too large for it, and obeyed, or not', async () => {
    const seen = {
      before: [1500, 'ok'],
      learned: 1280,
      after: ['datagram-too-large', 'datagram-too-large', 'ok'],
      probing: ['probe', 'ok', 'datagram-too-large'],
      fragmenting: 'ok',
    };
    expect(await inPair('mtu')).toEqual({ '10.2.0.2': seen, '[fd02::2]': seen, '10.2.0.3': seen, '[fd02::3]': seen });
  });
});
