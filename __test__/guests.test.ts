import { describe, expect, it } from 'vitest';
import { noGuests, runGuest, WAYS } from './support/guests.js';

describe.skipIf(noGuests).each(WAYS)(`real components by way of: %s ${noGuests ?? ''}`, (way) => {
  it('exchange: binds, streams, sends batches, polls with a timeout, receives and verifies', async () => {
    const { code, stdout, stderr } = await runGuest(way, 'exchange');
    expect({ code, stdout, stderr }).toEqual({
      code: 0,
      stdout: 'ipv4: 800 datagrams there and back\nipv6: 800 datagrams there and back\n',
      stderr: '',
    });
  });
});
