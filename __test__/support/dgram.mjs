// The sockets that tests send to: node:dgram's. Deno's (2.9) take a receive buffer's size, tell it, and do not set it, so
// that they lose what a batch sends in one go: there they are ours, behind as much of the same interface as tests use.
import { createSocket as dgramSocket } from 'node:dgram';
import { EventEmitter, once } from 'node:events';

export const createSocket = 'Deno' in globalThis ? (options) => new OurSocket(options) : dgramSocket;

class OurSocket extends EventEmitter {
  #options;
  #udp;

  constructor(options) {
    super();
    this.#options = typeof options === 'string' ? { type: options } : options;
  }

  bind(port, address) {
    this.#open(port, address).then(
      () => this.emit('listening'),
      (error) => this.emit('error', error),
    );
    return this;
  }

  async #open(port, address) {
    const { openUdp } = await import('../../dist/index.js');
    const { type, recvBufferSize } = this.#options;
    this.#udp = openUdp({ local: type === 'udp6' ? `[${address}]:${port}` : `${address}:${port}` });
    if (recvBufferSize) this.#udp.socket.setReceiveBufferSize(BigInt(recvBufferSize));
    this.#receive(this.#udp.incoming);
  }

  async #receive(incoming) {
    try {
      for await (const batch of incoming) {
        for (const { data, remoteAddress } of batch) {
          this.emit('message', Buffer.from(data), { port: remoteAddress.val.port, size: data.length });
        }
      }
    } catch {
      // It was closed.
    }
    this.emit('close');
  }

  send(data, port, address, callback) {
    const { outgoing } = this.#udp;
    const remoteAddress = { tag: 'ipv4', val: { port, address: address.split('.').map(Number) } };
    outgoing.checkSend();
    outgoing.send([{ data, remoteAddress }]);
    callback(null);
  }

  address() {
    return { port: this.#udp.localAddress.val.port };
  }

  close(callback) {
    if (callback) once(this, 'close').then(() => callback());
    this.#udp[Symbol.dispose]();
    return this;
  }
}
