import { deprecate } from 'node:util';
import { type Owner, running, type State, stateOf } from './state.js';

/** What node:dgram has deprecated, and packages still look at. */
const fields: Record<string, (state: State) => unknown> = {
  _handle: ({ endpoint }) => (endpoint.isClosed ? null : endpoint.handle),
  _receiving: ({ endpoint }) => endpoint.isReceiving,
  _bindState: ({ bindState }) => bindState,
  _queue: ({ waiting }) => waiting,
  _reuseAddr: ({ settings }) => settings.flags.reuseAddr,
};

const told = (name: string) => [`Socket.prototype.${name} is deprecated`, 'DEP0112'] as const;

/** Gives a prototype what is deprecated of node:dgram's. */
export function addDeprecated(prototype: object): void {
  for (const [name, read] of Object.entries(fields)) {
    Object.defineProperty(prototype, name, {
      get: deprecate(
        function (this: Owner) {
          return read(stateOf(this));
        },
        ...told(name),
      ),
      // What is set is the socket's own matter: there is nothing here to replace.
      set: deprecate(() => {}, ...told(name)),
      configurable: true,
    });
  }
  Object.assign(prototype, {
    _healthCheck: deprecate(
      function (this: Owner) {
        running(this);
      },
      ...told('_healthCheck()'),
    ),
    _stopReceiving: deprecate(
      function (this: Owner) {
        stateOf(this).endpoint.stopReceiving();
      },
      ...told('_stopReceiving()'),
    ),
  });
}
