import { readFileSync } from 'node:fs';
import { openUdp, parseSocketAddress } from '../../dist/index.js';
import { Command, type CommandOptions } from './command.js';

/** A `wasi-udp listen` that has told its address. */
export class Listener extends Command {
  static async start(host: string, args: string[] = [], options: CommandOptions = {}): Promise<Listener> {
    const listener = new Listener(['listen', `${host}:0`, ...args], options);
    await listener.until('stderr', '\n');
    return listener;
  }

  get address(): string {
    return /^listening +(\S+)$/m.exec(this.stderr)![1]!;
  }
}

/** Sends payloads to an address, and returns the source's. */
export function sendTo(address: string, payloads: Uint8Array[]): string {
  // One by one: the system counts what it drops in messages, and a coalesced run is one message.
  using udp = openUdp({ local: address.replace(/\d+$/, '0'), segmentation: false });
  // Not connected: a listener that ends while this sends refuses nothing.
  const remoteAddress = parseSocketAddress(address);
  for (let sent = 0; sent < payloads.length; ) {
    if (udp.outgoing.checkSend() === 0n) udp.outgoing.subscribe().block();
    else sent += Number(udp.outgoing.send(payloads.slice(sent, sent + 1024).map((data) => ({ data, remoteAddress }))));
  }
  const { tag, val } = udp.localAddress;
  return tag === 'ipv4' ? `127.0.0.1:${val.port}` : `[::1]:${val.port}`;
}

/** How many bytes wait in the receive queue of an address's socket. See `man 5 proc`, /proc/net/udp. */
export function queued(address: string): number {
  const port = Number(/\d+$/.exec(address)![0]).toString(16).toUpperCase().padStart(4, '0');
  const table = readFileSync(`/proc/net/udp${address.startsWith('[') ? '6' : ''}`, 'utf8');
  return Number.parseInt(new RegExp(`^ *\\d+: \\w+:${port} \\S+ \\w+ \\w+:(\\w+)`, 'm').exec(table)![1]!, 16);
}
