import { describe, expect, test } from 'vitest';
import { parseSocketAddress } from '../ts/rules/address.js';
import { type AllowRule, type Denial, Policy } from '../ts/rules/policy.js';

const allows = (rules: AllowRule[], action: 'bind' | 'send' | 'receive', address: string) =>
  new Policy(rules).allows(action, parseSocketAddress(address));

describe('what a rule covers', () => {
  test.each([
    ['10.1.2.3:53', '10.1.2.3:53', true],
    ['10.1.2.3:53', '10.1.2.3:54', false],
    ['10.1.2.3:53', '10.1.2.4:53', false],
    ['10.0.0.0/8:514', '10.255.0.1:514', true],
    ['10.0.0.0/8:514', '11.0.0.1:514', false],
    ['10.0.0.0/8:514', '9.255.255.255:514', false],
    // The address of a block need not be its first.
    ['10.9.9.9/8:514', '10.0.0.1:514', true],
    ['192.168.4.0/22:*', '192.168.7.255:1', true],
    ['192.168.4.0/22:*', '192.168.8.0:1', false],
    ['0.0.0.0/0:*', '203.0.113.9:65535', true],
    ['0.0.0.0/0:*', '[::1]:53', false],
    ['[::1]:53', '[::1]:53', true],
    ['[::1]:53', '[::2]:53', false],
    ['[fd00::/8]:5000-5999', '[fdff::1]:5000', true],
    ['[fd00::/8]:5000-5999', '[fdff::1]:5999', true],
    ['[fd00::/8]:5000-5999', '[fdff::1]:6000', false],
    ['[fd00::/8]:5000-5999', '[fe00::1]:5000', false],
    ['[::/0]:*', '[2001:db8::1]:1', true],
    // node:net's BlockList would say yes to both.
    ['[::/0]:*', '10.0.0.1:1', false],
    ['10.0.0.0/8:*', '[::ffff:10.0.0.1]:1', false],
    ['*:53', '203.0.113.9:53', true],
    ['*:53', '[2001:db8::1]:53', true],
    ['*:53', '203.0.113.9:54', false],
    ['*:*', '[2001:db8::1]:1', true],
    // Port 0 is a free port: a port of its own, and one of all.
    ['127.0.0.1:0', '127.0.0.1:0', true],
    ['127.0.0.1:0', '127.0.0.1:53', false],
    ['127.0.0.1:*', '127.0.0.1:0', true],
    ['127.0.0.1:1-65535', '127.0.0.1:0', false],
    // A zone does not change the address.
    ['[fe80::/10]:53', '[fe80::1%1]:53', true],
  ])('%s, asked for %s: %s', (rule, address, expected) => {
    expect(allows([{ send: rule }], 'send', address)).toBe(expected);
  });

  test('nothing, where there is no rule', () => {
    for (const action of ['bind', 'send', 'receive'] as const) expect(allows([], action, '127.0.0.1:53')).toBe(false);
  });

  test('its own action', () => {
    expect(allows([{ bind: '*:*' }], 'send', '127.0.0.1:53')).toBe(false);
    expect(allows([{ send: '*:*' }], 'bind', '127.0.0.1:53')).toBe(false);
    expect(allows([{ receive: '*:*' }], 'send', '127.0.0.1:53')).toBe(false);
  });

  test('any of several rules', () => {
    const rules = [{ send: '127.0.0.1:53' }, { send: '[::1]:53' }];
    expect(allows(rules, 'send', '[::1]:53')).toBe(true);
    expect(allows(rules, 'send', '127.0.0.1:53')).toBe(true);
  });
});

describe('who may be heard', () => {
  test('without a receive rule, the sources that may be sent to', () => {
    expect(allows([{ send: '10.0.0.0/8:53' }], 'receive', '10.0.0.1:53')).toBe(true);
    expect(allows([{ send: '10.0.0.0/8:53' }], 'receive', '10.0.0.1:54')).toBe(false);
  });

  test('with one, only what receive rules name', () => {
    const rules = [{ send: '10.0.0.0/8:53' }, { receive: '127.0.0.1:*' }];
    expect(allows(rules, 'receive', '127.0.0.1:9')).toBe(true);
    expect(allows(rules, 'receive', '10.0.0.1:53')).toBe(false);
  });
});

test('onDenied hears of each address that is denied, once, with the kind of rule that was missing', () => {
  const heard: Denial[] = [];
  const policy = new Policy([{ send: '10.0.0.0/8:514' }], (denial) => heard.push(denial));
  const [allowed, denied] = ['10.0.0.1:514', '11.0.0.1:514'].map(parseSocketAddress);
  for (let i = 0; i < 3; i++) {
    for (const action of ['bind', 'send', 'receive'] as const) policy.allows(action, denied!);
    for (const action of ['send', 'receive'] as const) policy.allows(action, allowed!);
  }
  expect(heard).toEqual(['bind', 'send', 'receive'].map((action) => ({ action, address: denied })));
});

test('answers stay right when more addresses come than are remembered', () => {
  const policy = new Policy([{ send: '10.0.0.0/8:53' }]);
  for (const _round of [1, 2]) {
    for (let i = 0; i < 3000; i++) {
      const address = parseSocketAddress(`${i % 2 === 0 ? 10 : 11}.0.${i >> 8}.${i & 255}:53`);
      expect(policy.allows('send', address)).toBe(i % 2 === 0);
    }
  }
});

describe('a rule that is none is refused: rule, received, remedy', () => {
  test.each([
    '127.0.0.1',
    '127.0.0.1:',
    ':53',
    '127.0.0.1:65536',
    '127.0.0.1:9-1',
    '127.0.0.1:1-70000',
    '127.0.0.1:http',
    '256.0.0.1:53',
    '10.0.0:53',
    '10.0.0.0/33:53',
    '10.0.0.0/:53',
    '10.0.0.0/8',
    '::1:53',
    '[::1]',
    '[::1:53',
    '[:::1]:53',
    '[::/129]:53',
    '[10.0.0.0/8]:53',
    '[fd00::]/8:53',
    'localhost:53',
    '*',
    '**:53',
    '*:53 ',
    ' *:53',
    '127.0.0.1:-1',
    '',
  ])('%j', (text) => {
    expect(() => new Policy([{ send: text }])).toThrow(TypeError);
    expect(() => new Policy([{ send: text }])).toThrow(/^a "send" rule is HOST:PORT, got ".*": .*HOST is .* PORT is /);
  });

  test.each([[53], [undefined], [null], [{}]])('%j', (value) => {
    expect(() => new Policy([{ bind: value as unknown as string }])).toThrow(/^a "bind" rule is HOST:PORT, got /);
  });

  test.each([[{}], [{ send: '*:*', bind: '*:*' }], [{ listen: '*:*' }], [null], ['all'], [undefined]])('%j', (rule) => {
    expect(() => new Policy([rule as unknown as AllowRule])).toThrow(/^a rule is .* got .*: name one of them$/);
  });

  test.each([[undefined], [{ send: '*:*' }], ['none']])('%j in place of a list', (rules) => {
    expect(() => new Policy(rules as unknown as AllowRule[])).toThrow(/^allow takes 'all' or a list of rules, got /);
  });

  test.each([1.5, Number.NaN, -1, Infinity, '1'])('a list that says it has %s rules', (length) => {
    const rules = new Proxy([], { get: (_, key) => (key === 'length' ? length : { send: '*:*' }) });
    expect(() => new Policy(rules)).toThrow(/^allow takes 'all' or a list of rules, got one of length /);
  });
});
