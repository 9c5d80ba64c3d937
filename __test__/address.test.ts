import { describe, expect, it } from 'vitest';
import { formatSocketAddress, type IpSocketAddress, openUdp, parseSocketAddress, SocketError } from '../dist/index.js';
import { decodeAddress, encodeAddress } from '../dist/rules/address.js';
import { noNamespaces, runInNamespace } from './support/runtime.js';

const v6 = (address: number[], port = 53, scopeId = 0, flowInfo = 0) =>
  ({ tag: 'ipv6', val: { port, flowInfo, address, scopeId } }) as IpSocketAddress;

describe('socket addresses', () => {
  it.each<[string, IpSocketAddress, string?]>([
    ['127.0.0.1:53', { tag: 'ipv4', val: { port: 53, address: [127, 0, 0, 1] } }],
    ['255.255.255.255:65535', { tag: 'ipv4', val: { port: 65_535, address: [255, 255, 255, 255] } }],
    ['[::1]:53', v6([0, 0, 0, 0, 0, 0, 0, 1])],
    ['[::]:0', v6([0, 0, 0, 0, 0, 0, 0, 0], 0)],
    ['[2001:db8::8:800:200c:417a]:53', v6([0x2001, 0xdb8, 0, 0, 8, 0x800, 0x200c, 0x417a])],
    ['[1:2:3:4:5:6:7:8]:53', v6([1, 2, 3, 4, 5, 6, 7, 8])],
    ['[fe80::1%3]:53', v6([0xfe80, 0, 0, 0, 0, 0, 0, 1], 53, 3)],
    ['[fe80::1%1]:53', v6([0xfe80, 0, 0, 0, 0, 0, 0, 1], 53, 1)],
    ['[fe80::1%4294967295]:53', v6([0xfe80, 0, 0, 0, 0, 0, 0, 1], 53, 0xffff_ffff)],
    ['[::ffff:1.2.3.4]:53', v6([0, 0, 0, 0, 0, 0xffff, 0x102, 0x304]), '[::ffff:102:304]:53'],
    ['[1::]:53', v6([1, 0, 0, 0, 0, 0, 0, 0])],
  ])('%s is read, written, encoded and decoded', (text, address, written = text) => {
    expect(parseSocketAddress(text)).toEqual(address);
    expect(formatSocketAddress(address)).toBe(written);
    expect(decodeAddress(encodeAddress(address))).toEqual(address);
  });

  it('the slot holds the family, the port, the bytes in network order, flow info and scope id', () => {
    const slot = encodeAddress(v6([0x1122, 0x3344, 0x5566, 0x7788, 0x99aa, 0xbbcc, 0xddee, 0xff00], 0x1234, 7, 9));
    const bytes = new Uint8Array(slot.buffer, 8, 16);
    expect(Buffer.from(bytes).toString('hex')).toBe('112233445566778899aabbccddeeff00');
    expect([slot[0], slot[1], slot[6], slot[7]]).toEqual([6, 0x1234, 9, 7]);
  });

  it.each([
    '',
    'localhost:53',
    '127.0.0.1',
    '127.0.0.1:',
    '127.0.0.1:65536',
    '127.0.0.1:-1',
    '127.0.0.1:5 3',
    '127.0.0.256:53',
    '127.1:53',
    '::1:53',
    '[::1]',
    '[::1]:x',
    '[:::1]:53',
    '[127.0.0.1]:53',
    '[fe80::1%no-such-interface]:53',
    '[fe80::1%]:53',
    '[fe80::1%0]:53',
    '[fe80::1%-1]:53',
    '[fe80::1%1.5]:53',
    '[fe80::1%1e3]:53',
    '[fe80::1%4294967296]:53',
    '[fe80::1%99999999999]:53',
    '[fe80::1%constructor]:53',
    '[fe80::1%__proto__]:53',
    '[fe80::1%toString]:53',
    '[fe80::1%.]:53',
    '[fe80::1%../lo]:53',
  ])('%j is refused, with the rule and what was received', (text) => {
    expect(() => parseSocketAddress(text)).toThrow(SocketError);
    expect(() => parseSocketAddress(text)).toThrow(/, got /);
  });

  it.each([undefined, null, 53, {}, [], Symbol('127.0.0.1:53'), { toString: () => '127.0.0.1:53' }])(
    '%# is no text',
    (value) => {
      expect(() => parseSocketAddress(value as never)).toThrow(SocketError);
      expect(() => parseSocketAddress(value as never)).toThrow(/, got /);
    },
  );

  it.skipIf(noNamespaces)(
    `a zone is the index of the interface, whatever addresses that has ${noNamespaces ?? ''}`,
    async () => {
      const setup = `
      ip link add global type veth peer name constructor
      ip link add both type veth peer name bare
      ip addr add fd00:1::1/64 dev both nodad
      echo 1 > /proc/sys/net/ipv6/conf/global/addr_gen_mode
      ip addr add fd00:2::1/64 dev global nodad
      echo 1 > /proc/sys/net/ipv6/conf/bare/addr_gen_mode
      for name in global constructor both bare; do ip link set $name up; done
      until ip -6 addr show dev both | grep -q fe80; do sleep 0.01; done`;
      const names = ['both', 'global', 'bare', 'constructor', 'lo'];
      const seen = await runInNamespace<Record<string, number[]>>(setup, 'zones.mjs', names);
      // The scope, and the index by "ip link".
      for (const name of names) expect([name, seen[name]![0]]).toEqual([name, seen[name]![1]]);
      expect(new Set(names.map((name) => seen[name]![0])).size).toBe(names.length);
    },
  );

  it.each([undefined, null, 5, {}, { tag: 'ipv4' }, { tag: 'ipv4', val: { port: 53, address: [1, 2, 3] } }])(
    '%j is no address to format, or to open a socket with',
    (value) => {
      expect(() => formatSocketAddress(value as never)).toThrow(SocketError);
      expect(() => formatSocketAddress(value as never)).toThrow(/got /);
      if (value !== undefined) expect(() => openUdp({ local: value as never })).toThrow(/got /);
    },
  );
});
