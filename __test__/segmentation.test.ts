import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { openUdp } from '../dist/index.js';
import { native, OPTION } from '../dist/native/native.js';
import { noNamespaces, runFixture, runInNamespace } from './support/runtime.js';

interface Seen {
  arrived: number;
  altered: number;
  inOrder: boolean;
  coalesces: boolean;
  calls: number;
  datagrams: number;
  segmentedRuns: number;
  refusedRuns: number;
}

/** Whether this build and kernel can segment: the portable backend cannot. */
const segments = (() => {
  const udp = openUdp();
  const can = native.getOption(udp.socket.descriptor.socket, OPTION.segmentation) === 1;
  udp[Symbol.dispose]();
  return can;
})();

/**
 * A peer namespace behind a veth pair with an MTU of 1500; the fixture enters it by PEER_PID. The peer's link address is known
 * from the start: what is sent while it is asked for waits in a queue of its own, which drops what is too much for it.
 */
const PEER = `
  unshare --net --kill-child sleep 60 >/dev/null 2>&1 &
  export PEER_PID=$!
  trap 'kill $PEER_PID' EXIT
  until [ "$(readlink /proc/$PEER_PID/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.01; done
  ip link add near type veth peer name far address 02:00:00:00:00:02 netns $PEER_PID
  ip addr add 10.1.0.1/24 dev near; ip addr add fd01::1/64 dev near nodad; ip link set near up
  nsenter -t $PEER_PID -n sh -ec 'ip link set lo up; ip addr add 10.1.0.2/24 dev far; ip addr add fd01::2/64 dev far nodad; ip link set far up'
  for host in 10.1.0.2 fd01::2; do ip neigh replace $host lladdr 02:00:00:00:00:02 dev near nud permanent; done
  until ip link show near | grep -q 'state UP'; do sleep 0.01; done`;
const inPair = (setup: string, args: string[]) =>
  runInNamespace<Seen>(`${PEER}\n${setup}`, 'numbered-sender.mjs', args);

const whole = (count: number) => ({ arrived: count, datagrams: count, altered: 0, inOrder: true });

describe.each(['127.0.0.1', '[::1]'])('runs over %s', (host) => {
  it.each([true, false])('arrive as what was sent, coalescing at the receiver: %s', async (coalesce) => {
    const mixture = ['64x300', '63x1', '1200x150', '5x1', '1200x2', '8192x20', '65507x2', '4x3'];
    const seen = await runFixture<Seen>('numbered-sender.mjs', [host, String(coalesce), 'true', ...mixture]);
    expect(seen).toMatchObject(whole(479));
    if (segments) expect(seen.segmentedRuns).toBeGreaterThan(5);
  });

  it('leave one by one where openUdp, or WASI_UDP_GSO=0, turns segmentation off', async () => {
    const off = await runFixture<Seen>('numbered-sender.mjs', [host, 'true', 'false', '100x200']);
    expect(off).toMatchObject({ ...whole(200), segmentedRuns: 0 });
    const env = { WASI_UDP_GSO: '0' };
    const forbidden = await runFixture<Seen>('numbered-sender.mjs', [host, 'true', 'true', '100x200'], env);
    expect(forbidden).toMatchObject({ ...whole(200), segmentedRuns: 0 });
  });
});

describe.skipIf(noNamespaces)(`runs over a veth pair with an MTU of 1500 ${noNamespaces ?? ''}`, () => {
  const hosts = ['10.1.0.2', '[fd01::2]'];

  it.each(hosts.flatMap((host) => [true, false].map((coalesce) => [host, coalesce] as const)))(
    'to %s, coalescing %s: sizes above the MTU arrive fragmented, next to runs that go out segmented',
    async (host, coalesce) => {
      const args = [host, String(coalesce), 'true', '2000x20', '1200x100', '9000x20', '1200x100', '2000x20'];
      const seen = await inPair('', args);
      expect(seen).toMatchObject(whole(260));
      if (!segments) return;
      // 100 datagrams of 1,200 bytes are two runs, of 54 and 46; a list of 200 cuts the second hundred once more at most.
      expect(seen.segmentedRuns).toBeGreaterThanOrEqual(4);
      expect(seen.refusedRuns).toBeGreaterThanOrEqual(1);
      expect(seen.refusedRuns).toBeLessThanOrEqual(2);
    },
  );

  const ethtool = spawnSync('ethtool', ['--version']).status === 0;
  it.skipIf(!ethtool)('a device without offloads delivers the same (needs ethtool)', async () => {
    const seen = await inPair('ethtool -K near tx off gso off >/dev/null', [
      '10.1.0.2',
      'true',
      'true',
      '1200x200',
      '64x200',
    ]);
    expect(seen).toMatchObject(whole(400));
  });
});
