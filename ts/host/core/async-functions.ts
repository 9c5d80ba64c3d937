import { newSlot } from '../../native/layout.js';
import { decodeAddress, encodeAddress, type IpSocketAddress } from '../../rules/address.js';
import { AsyncUdpSocket } from '../../socket/async-udp-socket.js';
import type { GuestContext } from '../guest.js';
import {
  ADDRESS_BYTES,
  FLAT_ADDRESS,
  liftFamily,
  liftFlatAddress,
  lowerFamily,
  readAddress,
  writeAddress,
} from './address-layout.js';
import type { CoreForm } from './functions.js';
import type { GuestMemory } from './memory.js';
import { EMPTY_RESULT_BYTES, RETURNED, writeResult } from './results.js';

/**
 * The core forms of what does not wait in wasi:sockets/types@0.3, by their names in the WIT. A guest may call each as an async
 * function as well: then what does not fit four core values comes as one pointer, and the answer is RETURNED, which others ignore.
 */
export function asyncSocketForms({
  table,
  sockets,
}: Pick<GuestContext, 'table' | 'sockets'>): Record<string, CoreForm> {
  const create: CoreForm = {
    only: AsyncUdpSocket,
    lower:
      ({ memory, handles }) =>
      (family: number, pointer: number) => {
        const name = liftFamily(family);
        return writeResult(memory, pointer, EMPTY_RESULT_BYTES, 4, (at) => {
          table.demand(1);
          const handle = handles.own(sockets.openAsync(name), AsyncUdpSocket);
          memory.words[at >>> 2] = handle;
        });
      },
  };

  /** A method that takes an address. */
  const addressSetter = (act: (self: AsyncUdpSocket, address: IpSocketAddress) => void): CoreForm => ({
    only: AsyncUdpSocket,
    lower:
      ({ memory, handles }) =>
      (...values: number[]) => {
        let self: AsyncUdpSocket;
        let address: IpSocketAddress;
        if (values.length === 2) {
          const word = memory.look().area(values[0]!, 4 + ADDRESS_BYTES, 4) >>> 2;
          self = handles.get(memory.words[word]!, AsyncUdpSocket);
          const slot = newSlot();
          readAddress(memory.words, word + 1, slot, 0);
          address = decodeAddress(slot);
        } else {
          self = handles.get(values[0]!, AsyncUdpSocket);
          address = liftFlatAddress(values, 1);
        }
        const pointer = values[values.length === 2 ? 1 : 1 + FLAT_ADDRESS]!;
        return writeResult(memory, pointer, EMPTY_RESULT_BYTES, 4, () => act(self, address));
      },
  });

  /** A method that takes nothing, or one value. */
  const setter = <V>(act: (self: AsyncUdpSocket, value: V) => void): CoreForm => ({
    only: AsyncUdpSocket,
    lower:
      ({ memory, handles }) =>
      (...values: unknown[]) => {
        const self = handles.get(values[0] as number, AsyncUdpSocket);
        return writeResult(memory, values.at(-1) as number, EMPTY_RESULT_BYTES, 4, () => act(self, values[1] as V));
      },
  });

  /** A method that returns a result of so many bytes; `write` writes T, aligned to `at`. */
  const getter =
    <T>(size: number, at: number, write: (memory: GuestMemory, pointer: number, value: T) => void) =>
    (get: (self: AsyncUdpSocket) => T): CoreForm => ({
      only: AsyncUdpSocket,
      lower:
        ({ memory, handles }) =>
        (handle: number, pointer: number) => {
          const self = handles.get(handle, AsyncUdpSocket);
          return writeResult(memory, pointer, size, at, (area) => write(memory, area, get(self)));
        },
    });
  const byteGetter = getter<number>(EMPTY_RESULT_BYTES, 4, (memory, pointer, value) => {
    memory.bytes[pointer] = value;
  });
  const u64Getter = getter<bigint>(24, 8, (memory, pointer, value) => memory.setU64(pointer, value));
  const addressGetter = getter<IpSocketAddress>(4 + ADDRESS_BYTES, 4, (memory, pointer, value) =>
    writeAddress(encodeAddress(value), 0, memory, pointer),
  );

  const getAddressFamily: CoreForm = {
    only: AsyncUdpSocket,
    lower:
      ({ memory, handles }) =>
      (...values: number[]) => {
        const family = lowerFamily(handles.get(values[0]!, AsyncUdpSocket).getAddressFamily());
        if (values.length === 1) return family;
        const area = memory.look().area(values[1]!, 1, 1);
        memory.bytes[area] = family;
        return RETURNED;
      },
  };

  return {
    '[static]udp-socket.create': create,
    '[method]udp-socket.bind': addressSetter((self, address) => self.bind(address)),
    '[method]udp-socket.connect': addressSetter((self, address) => self.connect(address)),
    '[method]udp-socket.disconnect': setter((self) => self.disconnect()),
    '[method]udp-socket.get-local-address': addressGetter((self) => self.getLocalAddress()),
    '[method]udp-socket.get-remote-address': addressGetter((self) => self.getRemoteAddress()),
    '[method]udp-socket.get-address-family': getAddressFamily,
    '[method]udp-socket.get-unicast-hop-limit': byteGetter((self) => self.getUnicastHopLimit()),
    '[method]udp-socket.set-unicast-hop-limit': setter((self, value: number) => self.setUnicastHopLimit(value & 0xff)),
    '[method]udp-socket.get-receive-buffer-size': u64Getter((self) => self.getReceiveBufferSize()),
    '[method]udp-socket.set-receive-buffer-size': setter((self, value: bigint) =>
      self.setReceiveBufferSize(BigInt.asUintN(64, value)),
    ),
    '[method]udp-socket.get-send-buffer-size': u64Getter((self) => self.getSendBufferSize()),
    '[method]udp-socket.set-send-buffer-size': setter((self, value: bigint) =>
      self.setSendBufferSize(BigInt.asUintN(64, value)),
    ),
  };
}
