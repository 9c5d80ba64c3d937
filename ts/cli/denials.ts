import { formatSocketAddress } from '../rules/address.js';
import type { Denial } from '../rules/policy.js';
import { tell } from './output.js';

/** How many are told: a component may try every address there is. */
const MOST = 20;

/** What gives a component the rest of the network. */
const OWN_HOST = 'run it by a host of your own (createHost of wasi-udp/jco), which has what its shim has';

const VERBS = { bind: 'bind to', send: 'send to', receive: 'receive from' };

/** Tells what a component was denied, and which option would allow it; the same once. */
export class Denials {
  readonly #told = new Set<string>();
  readonly #hasReceiveRules: boolean;

  constructor(hasReceiveRules: boolean) {
    this.#hasReceiveRules = hasReceiveRules;
  }

  readonly hear = ({ action, address }: Denial): void => {
    const text = formatSocketAddress(address);
    const option = `--allow-${action} ${quoted(text)}`;
    // The first such rule takes the place of what is heard without any.
    const isFirst = action === 'receive' && !this.#hasReceiveRules;
    const others = isFirst ? ', beside those that --allow-send has let it hear' : '';
    this.#tell(`${VERBS[action]} ${text}: allow it with ${option}${others}`);
  };

  /** Tells of what no option allows: `what` the component wanted, and what to do instead, if anything. */
  readonly hearOther = (what: string, instead?: string): void => {
    const remedies = instead === undefined ? OWN_HOST : `${instead}, or ${OWN_HOST}`;
    this.#tell(`${what}: of the network, wasi-udp run gives UDP alone: ${remedies}`);
  };

  #tell(text: string): void {
    if (this.#told.size > MOST || this.#told.has(text)) return;
    this.#told.add(text);
    tell(`wasi-udp: denied: ${this.#told.size > MOST ? 'more, which are not told' : text}`);
  }
}

/** As a word of a shell: brackets are patterns. */
function quoted(text: string): string {
  return text.includes('[') ? `'${text}'` : text;
}
