import type { Group } from './ways.js';

/**
 * `context.get` and `context.set` of the task at hand: jco looks its tasks up at each call, and bindings make several an event. What
 * is set stays here while the guest's slices follow each other, and jco has it before anything of its own goes on.
 */
export class TaskContext {
  readonly builtins: Group = {};
  readonly #slots: Slot[] = [];
  #isEntered = false;

  constructor(root: Group) {
    for (const number of [0, 1]) {
      const [get, set] = ['get', 'set'].map((name) => root[`[context-${name}-${number}]`]);
      if (get === undefined || set === undefined) continue;
      const slot: Slot = { value: undefined, isChanged: false, set: set as Slot['set'] };
      this.#slots.push(slot);
      this.builtins[`[context-get-${number}]`] = () => {
        if (!this.#isEntered) return get();
        slot.value ??= get() as number;
        return slot.value;
      };
      this.builtins[`[context-set-${number}]`] = (value: number) => {
        if (!this.#isEntered) return set(value as never);
        slot.value = value;
        slot.isChanged = true;
        return undefined;
      };
    }
  }

  /** A slice begins, or follows another of the same task. */
  enter(): void {
    this.#isEntered = true;
  }

  /** jco goes on. */
  leave(): void {
    this.#isEntered = false;
    for (const slot of this.#slots) {
      if (slot.isChanged) slot.set(slot.value!);
      slot.value = undefined;
      slot.isChanged = false;
    }
  }
}

interface Slot {
  value: number | undefined;
  isChanged: boolean;
  set(value: number): void;
}
