import { describe, expect, it } from 'vitest';
import { Trap } from '../dist/index.js';
import { parseSocketAddress } from '../dist/rules/address.js';
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
