import { describe, expect, it } from 'vitest';
import { Trap } from '../dist/index.js';
import { parseSocketAddress } from '../dist/rules/address.js';
import { sameAddress, samePeer } from '../dist/rules/destination.js';
import { Permit } from '../dist/rules/permit.js';
import { Policy, policyOf } from '../dist/rules/policy.js';

describe('a permit', () => {
  const none = /^send\(\) got \d+ datagrams with no checkSend\(\) before/;

  it('is asked for by every send, whatever it sends', () => {
    for (const count of [0, 1, 1024]) {
      expect(() => new Permit().use('send', count)).toThrow(Trap);
      expect(() => new Permit().use('send', count)).toThrow(none);
    }
  });

  it('is for as many datagrams as were granted, and for one send', () => {
    const permit = new Permit();
    for (const count of [0, 3, 4]) {
      permit.grant(4);
      permit.use('send', count);
      expect(() => permit.use('send', 0)).toThrow(none);
    }
  });

  it('is kept by a send of too many', () => {
    const permit = new Permit();
    permit.grant(4);
    expect(() => permit.use('send', 5)).toThrow(/^send\(\) got 5 datagrams, checkSend\(\) permitted 4/);
    permit.use('send', 4);
    permit.grant(0);
    expect(() => permit.use('send', 1)).toThrow(/^send\(\) got 1 datagrams, checkSend\(\) permitted 0/);
  });

  it('is gone once it is revoked', () => {
    const permit = new Permit();
    permit.grant(4);
    permit.revoke();
    expect(() => permit.use('send', 1)).toThrow(none);
  });
});

describe('the policy of what is allowed', () => {
  it("is none for 'all', and one that denies everything for an empty list", () => {
    expect(policyOf('all')).toBeUndefined();
    const policy = policyOf([]);
    expect(policy).toBeInstanceOf(Policy);
    expect(policy!.allows('send', parseSocketAddress('127.0.0.1:53'))).toBe(false);
  });

  it('has refused nothing at first', () => {
    expect(new Policy([]).refused).toBe(0);
  });
});

it('two slots hold the same address where all of their words are equal, wherever they stand', () => {
  const words = [6, 53, 1, 2, 3, 4, 5, 7];
  const one = Uint32Array.of(...Array(8).fill(9), ...words, 1, 1, 1, 1, 1, 1, 1, 1);
  const other = Uint32Array.of(...Array(16).fill(8), ...words, 2, 2, 2, 2, 2, 2, 2, 2);
  expect(sameAddress(one, 8, other, 16)).toBe(true);
  expect(sameAddress(Uint32Array.from(words), 0, Uint32Array.from(words), 0)).toBe(true);
  for (let word = 0; word < 8; word++) {
    const changed = other.slice();
    changed[16 + word]! ^= 1;
    expect(sameAddress(one, 8, changed, 16)).toBe(false);
  }
});

it('a slot names the peer where family, port and host are equal, and the scope where both tell one', () => {
  const words = [6, 53, 1, 2, 3, 4, 5, 7];
  const peer = Uint32Array.from(words);
  const names = (word: number, value: number) => {
    const slots = Uint32Array.of(...Array(8).fill(9), ...words);
    slots[8 + word] = value;
    return samePeer(slots, 8, peer);
  };
  for (let word = 0; word < 6; word++) expect(names(word, 99)).toBe(false);
  expect([names(6, 99), names(7, 7), names(7, 0), names(7, 8)]).toEqual([true, true, true, false]);
  expect(samePeer(peer, 0, Uint32Array.from([...words.slice(0, 7), 0]))).toBe(true);
});
