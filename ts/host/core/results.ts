import { caseOf, ERROR_CASES, SocketError } from '../../errors.js';
import type { GuestMemory } from './memory.js';

/** The state of a subtask that has ended with a result: what an async-lowered function answers. */
export const RETURNED = 2;

/** The bytes of `error-code` of 0.3: the case, then an option of a string, aligned to 4. */
const ERROR_BYTES = 16;

/** The bytes of `result<_, error-code>` of 0.3, aligned to 4; the payload begins at byte 4. */
export const EMPTY_RESULT_BYTES = 4 + ERROR_BYTES;

/** The case `other`, which has a payload. */
const OTHER = ERROR_CASES.indexOf('other');

/** Writes an error as the err case of a result at `area`, whose payload begins `at` bytes behind it. */
export function writeError(memory: GuestMemory, area: number, at: number, error: SocketError): void {
  const number = ERROR_CASES.indexOf(caseOf(error));
  const text = number === OTHER && memory.canAllocate ? new TextEncoder().encode(error.message) : undefined;
  const pointer = text === undefined ? 0 : memory.allocate(text.length, 1);
  const { bytes, words } = memory.look();
  if (text !== undefined) bytes.set(text, pointer);
  bytes[area] = 1;
  bytes[area + at] = number;
  if (number !== OTHER) return;
  bytes[area + at + 4] = text === undefined ? 0 : 1;
  words[(area + at + 8) >>> 2] = pointer;
  words[(area + at + 12) >>> 2] = text?.length ?? 0;
}

/**
 * Writes `result<T, error-code>` of 0.3, of so many bytes, at a pointer: `ok` writes T at its own. Nothing is done where the
 * result has no room in the guest's memory. RETURNED, for those who called it as an async function.
 */
export function writeResult(
  memory: GuestMemory,
  pointer: number,
  size: number,
  at: number,
  ok: (value: number) => void,
): typeof RETURNED {
  const area = memory.look().area(pointer, size, Math.max(at, 4));
  try {
    ok(area + at);
    memory.bytes[area] = 0;
  } catch (error) {
    if (!(error instanceof SocketError)) throw error;
    writeError(memory, area, at, error);
  }
  return RETURNED;
}
