import { Trap } from '../../errors.js';
import type { Drop } from '../guest.js';
import type { Resource, ResourceTable } from '../resource-table.js';
import type { LinearMemory } from './memory.js';

/** A type of resources. */
export type Type<T extends Disposable> = { prototype: T; name: string };

/** The numbers by which a guest's core module knows its resources. */
export interface Handles {
  /** The resource that the guest lends. Traps where the number names no resource of that type. */
  get<T extends Disposable>(number: number, type: Type<T>): T;
  /** The table's handle of it. Traps likewise. */
  handle<T extends Disposable>(number: number, type: Type<T>): Resource<T>;
  /** Traps where the number names nothing, or one of this host's resources of another type; those of other hosts pass. */
  live<T extends Disposable>(number: number, type: Type<T>): void;
  /** The number of whatever resource it is, ours or another host's. Traps where there is none. */
  rep(number: number): number;
  /** A number for a resource that the guest owns from now on. */
  own<T extends Disposable>(value: T, type: Type<T>): number;
}

/** The table's own handles: what a core module without a component around it is given. */
export class PlainHandles implements Handles {
  readonly #table: ResourceTable;

  constructor(table: ResourceTable) {
    this.#table = table;
  }

  get<T extends Disposable>(number: number, type: Type<T>): T {
    return this.#table.get(number as Resource<T>, type);
  }

  handle<T extends Disposable>(number: number, type: Type<T>): Resource<T> {
    this.get(number, type);
    return number as Resource<T>;
  }

  /** Every number is this host's. */
  live<T extends Disposable>(number: number, type: Type<T>): void {
    this.handle(number, type);
  }

  rep(number: number): number {
    if (!this.#table.has(number)) throw misnamed(number, ANY);
    return number;
  }

  own<T extends Disposable>(value: T): number {
    return this.#table.push(value);
  }
}

/** The bit by which jco marks owned resources and free entries. */
const FLAG = 1 << 30;

/**
 * A handle table of jco 1.35: entry `h` is two numbers, its scope at 2h and the resource's number at 2h + 1; entry 0 heads the
 * list of free ones.
 */
export type JcoTable = number[] & { _createdReps?: Set<number> };

/** The type of the resources in a table, as far as it is known: a factory is told its tables, but not which is which. */
const typeOf = new WeakMap<JcoTable, Type<Disposable>>();

/** Tables of which is known whose they are. */
const attended = new WeakSet<JcoTable>();

/**
 * Drops what a guest that is gone has left in a table: it drops nothing itself where it trapped. The guest is gone with its memory;
 * what it has given away is in the table no more.
 */
const forgotten = new FinalizationRegistry<{ table: JcoTable; drop: Drop }>(({ table, drop }) => {
  for (let entry = 1; entry << 1 < table.length; entry++) {
    const isOwned = (table[(entry << 1) + 1]! & FLAG) !== 0;
    if (isOwned) drop(repOf(table, entry));
  }
});

/** The number of the resource in an entry; 0 where the entry is free, or none. */
function repOf(table: JcoTable, entry: number): number {
  const scope = table[entry << 1];
  const rep = table[(entry << 1) + 1];
  return scope === undefined || rep === undefined || (scope & FLAG) !== 0 ? 0 : rep & ~FLAG;
}

const ANY = { name: 'resource' };

function misnamed(number: number, type: { name: string }): Trap {
  return new Trap(
    `handle ${number} of the guest must name a ${type.name}: use the handle that was returned, until it is dropped`,
  );
}

/** The handles of a component that jco runs. */
export class JcoHandles implements Handles {
  readonly #table: ResourceTable;
  readonly #tables: readonly JcoTable[];

  /** `tables`: in jco's order. `only`: the type of the one table, where there is one. `memory`: the guest's, which lives as long. */
  constructor(
    table: ResourceTable,
    drop: Drop,
    tables: readonly JcoTable[],
    only?: Type<Disposable>,
    memory?: LinearMemory,
  ) {
    this.#table = table;
    this.#tables = tables;
    for (const one of memory === undefined ? [] : tables) {
      if (attended.has(one)) continue;
      attended.add(one);
      forgotten.register(memory!, { table: one, drop });
    }
    if (tables.length === 1 && only !== undefined) typeOf.set(tables[0]!, only);
  }

  get<T extends Disposable>(number: number, type: Type<T>): T {
    // Resources' numbers are the table's handles, each of one type: the table whose entry has the type is the one.
    for (const table of this.#tables) {
      const resource = this.#table.find(repOf(table, number), type);
      if (resource === undefined) continue;
      if (this.#tables.length > 1) typeOf.set(table, type);
      return resource;
    }
    throw misnamed(number, type);
  }

  handle<T extends Disposable>(number: number, type: Type<T>): Resource<T> {
    for (const table of this.#tables) {
      const handle = repOf(table, number);
      if (!this.#table.holds(handle, type)) continue;
      if (this.#tables.length > 1) typeOf.set(table, type);
      return handle;
    }
    throw misnamed(number, type);
  }

  live<T extends Disposable>(number: number, type: Type<T>): void {
    const isNamed = this.#tables.some((table) => {
      const rep = repOf(table, number);
      const isOfType = (typeOf.get(table) ?? type) === type;
      return rep !== 0 && isOfType && (!this.#table.has(rep) || this.#table.holds(rep, type));
    });
    if (!isNamed) throw misnamed(number, type);
  }

  rep(number: number): number {
    for (const table of this.#tables) {
      const rep = repOf(table, number);
      if (rep !== 0) return rep;
    }
    throw misnamed(number, ANY);
  }

  own<T extends Disposable>(value: T, type: Type<T>): number {
    const table = this.#tableFor(type);
    if (table === undefined) {
      value[Symbol.dispose]();
      throw new Trap(`no handle table for a ${type.name} was given: this needs jco 1.35`);
    }
    const rep = this.#table.push(value);
    table._createdReps?.add(rep);
    const free = table[0]! & ~FLAG;
    if (free === 0) return (table.push(0, rep | FLAG) >> 1) - 1;
    table[0] = table[free << 1]!;
    table[free << 1] = 0;
    table[(free << 1) + 1] = rep | FLAG;
    return free;
  }

  /** The table of a type: the one that is known to be, else one of which nothing is known. */
  #tableFor(type: Type<Disposable>): JcoTable | undefined {
    const found =
      this.#tables.find((table) => typeOf.get(table) === type) ?? this.#tables.find((table) => !typeOf.has(table));
    if (found !== undefined) typeOf.set(found, type);
    return found;
  }
}
