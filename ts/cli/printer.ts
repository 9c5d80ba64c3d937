import type { IncomingBatch } from '../batch/incoming-batch.js';
import { formatSocketAddress } from '../rules/address.js';

export interface PrinterOptions {
  /** Payloads in hexadecimal, not as text. */
  hex?: boolean;
  /** A JSON object a datagram. */
  json?: boolean;
  /** When it was received, before all else. */
  timestamps?: boolean;
  /** Whether to say from where; an object says it always. */
  source?: boolean;
}

/** What makes lines of a batch, one a datagram. */
export function printer(options: PrinterOptions): (batch: IncomingBatch) => string {
  const { hex = false, json = false, timestamps = false, source = true } = options;
  const payload = hex ? (data: Buffer) => data.toString('hex') : printable;
  return (batch) => {
    const time = timestamps ? new Date().toISOString() : undefined;
    let text = '';
    for (let i = 0; i < batch.count; i++) {
      const view = batch.data(i);
      const data = Buffer.from(view.buffer, view.byteOffset, view.length);
      const from = formatSocketAddress(batch.remoteAddress(i));
      if (json) {
        text += `${JSON.stringify({ time, from, bytes: data.length, base64: data.toString('base64') })}\n`;
        continue;
      }
      if (time !== undefined) text += `${time}  `;
      if (source) text += `${from}  `;
      text += `${payload(data)}\n`;
    }
    return text;
  };
}

const ESCAPES: Record<string, string> = { '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' };

/** A payload as text of one line: what is no UTF-8 is taken for ASCII and other bytes. */
function printable(data: Buffer): string {
  const text = data.toString('utf8');
  const isText = !text.includes('\ufffd');
  return (isText ? text : data.toString('latin1')).replace(
    isText ? /[\p{C}\\]/gu : /[^\x20-\x7e]|\\/g,
    (character) => ESCAPES[character] ?? escaped(character.codePointAt(0)!),
  );
}

function escaped(code: number): string {
  return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u{${code.toString(16)}}`;
}
