import { readFileSync } from 'node:fs';

/** Why the kernel's own view of a socket cannot be had here; undefined where it can. */
export const noKernelQueue: string | undefined =
  process.platform === 'linux' ? undefined : '(needs /proc/self/net of Linux)';

/** What the kernel tells of the bound socket of a port: the bytes in its receive queue, and the datagrams that it dropped. */
export function kernelQueue(family: 'ipv4' | 'ipv6', port: number): { bytes: number; drops: number } {
  const file = family === 'ipv4' ? '/proc/self/net/udp' : '/proc/self/net/udp6';
  const end = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  for (const line of readFileSync(file, 'utf8').split('\n').slice(1)) {
    const fields = line.trim().split(/\s+/);
    if (!fields[1]?.endsWith(end)) continue;
    return { bytes: Number.parseInt(fields[4]!.split(':')[1]!, 16), drops: Number(fields.at(-1)) };
  }
  throw new Error(`${file} names no socket of port ${port}`);
}
