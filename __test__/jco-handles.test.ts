import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createHost, Trap, type UdpHost } from '../dist/index.js';

// What jco's hybrid bindings hand to a core form: a memory, and the handle tables of the function's types, in no known order.

type Lower = (options: object) => (...values: number[]) => unknown;
type JcoTable = number[];

/** The flag of what a guest owns, in the second number of an entry. */
const OWNED = 1 << 30;

describe('the network of start-bind, by hybrid bindings', () => {
  let host: UdpHost;
  let memory: WebAssembly.Memory;
  let sockets: JcoTable;
  let networks: JcoTable;

  const lower = (of: object, tables: JcoTable[]) => {
    const form = (of as Record<symbol, Lower>)[Symbol.for('cabiLower')]!;
    return form({ memory, resourceTables: tables });
  };
  /** Takes a number as jco does for an object of another host: small, and unknown to ours. */
  const foreign = (table: JcoTable, rep: number) => (table.push(0, rep | OWNED) >> 1) - 1;

  beforeEach(() => {
    host = createHost({ allow: 'all' });
    memory = new WebAssembly.Memory({ initial: 1 });
    sockets = [OWNED, 0];
    networks = [OWNED, 0];
    lower(host.udpCreateSocket.createUdpSocket, [sockets])(0, 8);
  });
  afterEach(() => host[Symbol.dispose]());

  const word = (at: number) => new DataView(memory.buffer).getUint32(at, true);
  const startBind = (socket: number, network: number, tables: JcoTable[]) =>
    lower(host.udp.UdpSocket.prototype.startBind, tables)(socket, network, 0, 0, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 64);

  describe.each<[string, () => JcoTable[]]>([
    ['sockets first', () => [sockets, networks]],
    ['networks first', () => [networks, sockets]],
  ])('%s', (_, tables) => {
    it('is a network of this host', () => {
      const network = lower(host.instanceNetwork.instanceNetwork, [networks])() as number;
      startBind(word(12), network, tables());
      expect(word(64) & 0xff).toBe(0);
    });

    it('may be one of another host', () => {
      startBind(word(12), foreign(networks, 1), tables());
      expect(word(64) & 0xff).toBe(0);
    });

    it('traps for a socket, and for what names nothing', () => {
      lower(host.udpCreateSocket.createUdpSocket, [sockets])(0, 16);
      for (const number of [word(12), word(20), 0, 5, -1]) {
        expect(() => startBind(word(12), number, tables())).toThrow(Trap);
        expect(() => startBind(word(12), number, tables())).toThrow(/must name a Network/);
      }
    });

    it('traps for a socket that the host has dropped, where the guest has its number still', () => {
      lower(host.udpCreateSocket.createUdpSocket, [sockets])(0, 16);
      const handle = sockets[(word(20) << 1) + 1]! & ~OWNED;
      host.table.drop(handle);
      expect(() => startBind(word(12), word(20), tables())).toThrow(/must name a Network/);
    });
  });
});
