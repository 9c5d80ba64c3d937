import type { ErrorCode, SocketError } from '../errors.js';
import { tell } from './output.js';

/** Errors that may pass: a receiver that is started again, a network that comes back. */
const PASSING: readonly ErrorCode[] = ['connection-refused', 'remote-unreachable'];

/** The refusals behind which sending went on. */
export class Refusals {
  /** How often each was told. */
  readonly counts = new Map<ErrorCode, number>();

  /** Counts an error, and tells the first of its kind; false where it is none behind which sending goes on. */
  readonly hear = ({ payload, message }: SocketError): boolean => {
    if (!PASSING.includes(payload)) return false;
    const before = this.counts.get(payload) ?? 0;
    if (before === 0) tell(`wasi-udp: ${payload}: ${message} (sending goes on, and later ones are counted)`);
    this.counts.set(payload, before + 1);
    return true;
  };
}
