/** A `datetime` of the WIT: the time since 1970-01-01T00:00:00Z. */
export interface Datetime {
  readonly seconds: bigint;
  /** Below 1,000,000,000. */
  readonly nanoseconds: number;
}

/** The datetime of so many milliseconds. */
const datetime = (milliseconds: number): Datetime => ({
  seconds: BigInt(Math.floor(milliseconds / 1000)),
  nanoseconds: (milliseconds % 1000) * 1_000_000,
});

/** `wasi:clocks/wall-clock`: the system's clock, which may be set back. */
export function wallClock() {
  return {
    now: () => datetime(Date.now()),
    resolution: () => datetime(1),
  };
}

/** `wasi:clocks/system-clock` of 0.3: the same clock. */
export function systemClock({ now }: ReturnType<typeof wallClock>) {
  return { now, getResolution: () => 1_000_000n };
}
