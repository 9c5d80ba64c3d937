import { setImmediate, setTimeout } from 'node:timers/promises';
import { ClosedError } from '../../dist/index.js';
import { Broken } from './channel.mjs';

/** How long something that is ready may take to wake who waits for it, in milliseconds: a busy machine takes a while. */
const PATIENCE_MS = 3000;

/** A wait that is pending. */
class Wait {
  isPending = true;
  isAborted = false;

  constructor({ name, resources, promise, controller, owners = resources }) {
    this.name = name;
    this.resources = resources;
    this.owners = owners;
    this.controller = controller;
    promise.then(
      () => this.#end(undefined),
      (error) => this.#end(error),
    );
  }

  #end(error) {
    this.isPending = false;
    if (error === undefined) return;
    if ((this.isAborted && error.name === 'AbortError') || (this.isDropped && error instanceof ClosedError)) return;
    this.wrong = error;
  }

  get isDropped() {
    return this.owners.some(isDropped);
  }

  get isReady() {
    return this.resources.some(isReady);
  }
}

const droppedSockets = new WeakSet();

/** Notes that a socket was dropped, which has nothing that tells. */
export function noteDropped(socket) {
  droppedSockets.add(socket);
}

function isDropped(resource) {
  return resource.closed ?? droppedSockets.has(resource);
}

/** The answers of the look that goes on: each resource is asked once. */
let answers;

function isReady(resource) {
  let answer = answers.get(resource);
  if (answer === undefined) {
    answer = !isDropped(resource) && resource.subscribe().ready();
    answers.set(resource, answer);
  }
  return answer;
}

/** All that waits. */
export class Waits {
  #waits = new Set();
  /** Loops that receive whatever comes, until their stream is dropped. */
  #tasks = new Set();

  /** A wait that `promise` ends: for any of the resources to become ready, or for one of the owners to be dropped. */
  add(wait) {
    this.#waits.add(new Wait(wait));
  }

  /** A loop over a stream: it waits whenever there is nothing. */
  addTask(name, incoming, promise) {
    this.#tasks.add(new Wait({ name, resources: [incoming], promise }));
  }

  get size() {
    return this.#waits.size;
  }

  tasksOf(incoming) {
    return [...this.#tasks].filter(({ resources }) => resources[0] === incoming).length;
  }

  /** Aborts a wait that can be. */
  abort(random) {
    const list = [...this.#waits].filter((wait) => wait.controller !== undefined && !wait.isAborted && wait.isPending);
    if (list.length > 0) abort(random.pick(list));
  }

  abortAll() {
    for (const wait of this.#waits) if (wait.controller !== undefined) abort(wait);
  }

  /** Looks for waits that ought to have ended, and gives them time. Nothing else happens meanwhile. */
  async check() {
    const deadline = performance.now() + PATIENCE_MS;
    for (let look = 0; ; look++) {
      const late = this.#late();
      if (late === undefined) return;
      if (performance.now() > deadline) throw new Broken(late);
      if (look < 10) await setImmediate();
      else await setTimeout(1);
    }
  }

  /** Describes a wait that ought to have ended. */
  #late() {
    answers = new Map();
    for (const set of [this.#waits, this.#tasks]) {
      for (const wait of set) {
        if (wait.wrong !== undefined) throw wait.wrong instanceof Broken ? wait.wrong : new Broken(wait.wrong.stack);
        if (!wait.isPending) set.delete(wait);
        else if (wait.isAborted) return `${wait.name}: aborted, and pending`;
        else if (wait.isDropped) return `${wait.name}: dropped, and pending`;
        else if (wait.isReady) return `${wait.name}: ready, and pending`;
      }
    }
    return undefined;
  }
}

function abort(wait) {
  wait.isAborted = true;
  wait.controller.abort();
}
