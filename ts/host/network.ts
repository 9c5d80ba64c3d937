/** `network` of wasi:sockets/network@0.2: an opaque token. What a guest may do is the host's to say, whatever network it names. */
export class Network {
  [Symbol.dispose](): void {}
}
