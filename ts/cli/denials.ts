import { formatSocketAddress } from '../rules/address.js';
import type { Denial } from '../rules/policy.js';
import { tell } from './output.js';

/** How many are told: a component may try every address there is. */
const MOST = 20;

const VERBS = { bind: 'bind to', send: 'send to', receive: 'receive from' };

/** Tells what a component was denied, and which option would allow it; the same once. */
export class Denials {
  readonly #told = new Set<string>();
  readonly #hasReceiveRules: boolean;

  constructor(hasReceiveRules: boolean) {
    this.#hasReceiveRules = hasReceiveRules;
  }

  readonly hear = ({ action, address }: Denial): void => {
    if (this.#told.size > MOST) return;
    const text = formatSocketAddress(address);
    const option = `--allow-${action} ${quoted(text)}`;
    if (this.#told.has(option)) return;
    this.#told.add(option);
    if (this.#told.size > MOST) {
      tell('wasi-udp: denied: more, which are not told');
      return;
    }
    // The first such rule takes the place of what is heard without any.
    const isFirst = action === 'receive' && !this.#hasReceiveRules;
    const others = isFirst ? ', beside those that --allow-send has let it hear' : '';
    tell(`wasi-udp: denied: ${VERBS[action]} ${text}: allow it with ${option}${others}`);
  };
}

/** As a word of a shell: brackets are patterns. */
function quoted(text: string): string {
  return text.includes('[') ? `'${text}'` : text;
}
