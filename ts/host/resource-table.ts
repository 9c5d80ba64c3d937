import { Trap } from '../errors.js';

declare const resource: unique symbol;

/** The handle of a resource of type T: what a guest holds of it. */
export type Resource<T> = number & { readonly [resource]: T };

/** A type of resources. */
type Type<T> = { prototype: T; name: string };

/** The first handle. Beside jco the shim has pollables of its own, counted from 1: the two must not meet. */
const FIRST = 2 ** 28;

/** One more than the last handle: jco marks the handles that a guest owns with this bit. */
const END = 2 ** 30;

/** The resources of one guest by their handles. A handle names one resource, and after its drop no other one soon. */
export class ResourceTable implements Disposable {
  readonly #resources = new Map<number, Disposable>();
  #limit: number;
  #next = FIRST;

  /**
   * @param limit how many resources it may hold. Default: any number.
   */
  constructor(limit = Infinity) {
    this.#limit = limit;
  }

  /** How many resources the table holds. */
  get size(): number {
    return this.#resources.size;
  }

  /**
   * Asks for room before resources are made.
   *
   * @param count how many resources more.
   * @throws Trap where the table has no room for them.
   */
  demand(count: number): void {
    if (this.size + count <= this.#limit) return;
    throw new Trap(
      `a guest may hold ${this.#limit} resources (limits.resources), it has ${this.size} and asks for ${count} more: ` +
        'drop what is no longer used, or raise the limit',
    );
  }

  /** Has room for one resource more, which is the host's own. */
  widen(): void {
    this.#limit += 1;
  }

  /**
   * Takes a resource in.
   *
   * @param value the resource.
   * @returns its handle.
   * @throws Trap where the table is full.
   */
  push<T extends Disposable>(value: T): Resource<T> {
    this.demand(1);
    while (this.#resources.has(this.#next)) this.#advance();
    const handle = this.#next;
    this.#resources.set(handle, value);
    this.#advance();
    return handle as Resource<T>;
  }

  /**
   * The handles of all resources.
   *
   * @returns a list of its own each time.
   */
  handles(): number[] {
    return [...this.#resources.keys()];
  }

  /**
   * Whether the handle names a resource.
   *
   * @param handle the handle, as the guest gave it.
   * @returns whether it does.
   */
  has(handle: number): boolean {
    return this.#resources.has(handle);
  }

  /**
   * Whether the handle names a resource of that type.
   *
   * @param handle the handle, as the guest gave it.
   * @param type the class of the resource.
   * @returns whether it does.
   */
  holds<T extends Disposable>(handle: number, type: Type<T>): handle is Resource<T> {
    return this.find(handle, type) !== undefined;
  }

  /**
   * The resource of a handle, where it is of that type.
   *
   * @param handle the handle, as the guest gave it.
   * @param type the class of the resource.
   * @returns the resource; undefined where there is none of that type.
   */
  find<T extends Disposable>(handle: number, type: Type<T>): T | undefined {
    const value = this.#resources.get(handle);
    return value !== undefined && Object.prototype.isPrototypeOf.call(type.prototype, value) ? (value as T) : undefined;
  }

  /**
   * The resource of a handle.
   *
   * @param handle the handle, as the guest gave it.
   * @param type the class of the resource.
   * @returns the resource.
   * @throws Trap where the handle was dropped, was never given, or names a resource of another type.
   */
  get<T extends Disposable>(handle: Resource<T>, type: Type<T>): T {
    return this.find(handle, type) ?? this.#misnamed(handle, type);
  }

  /**
   * Takes the resource of a handle out, alive.
   *
   * @param handle the handle, as the guest gave it.
   * @param type the class of the resource.
   * @returns the resource.
   * @throws Trap as `get` does.
   */
  take<T extends Disposable>(handle: Resource<T>, type: Type<T>): T {
    const value = this.get(handle, type);
    this.#forget(handle);
    return value;
  }

  /**
   * Drops the resource of a handle.
   *
   * @param handle the handle, as the guest gave it.
   * @throws Trap where it was dropped, or never given.
   */
  drop(handle: number): void {
    const value = this.#resources.get(handle);
    if (value === undefined) throw new Trap(`handle ${handle} names nothing: drop each handle once`);
    this.#forget(handle);
    value[Symbol.dispose]();
  }

  /** Drops every resource: what the guest left behind. */
  [Symbol.dispose](): void {
    const values = [...this.#resources.values()];
    this.#resources.clear();
    for (const value of values) value[Symbol.dispose]();
  }

  #misnamed(handle: number, type: { name: string }): never {
    const value = this.#resources.get(handle);
    const found = value === undefined ? 'it names nothing (dropped?)' : `it names a ${value.constructor.name}`;
    throw new Trap(
      `handle ${handle} must name a ${type.name}, ${found}: use the handle that was returned, until it is dropped`,
    );
  }

  #forget(handle: number): void {
    this.#resources.delete(handle);
  }

  #advance(): void {
    this.#next = this.#next + 1 === END ? FIRST : this.#next + 1;
  }
}
