import type { TestProject } from 'vitest/node';

/** Builds the guest components before the tests, or notes why they cannot be built. */
export default async function setup(project: TestProject): Promise<void> {
  const { guests } = await import('../../scripts/guests.mjs' as string);
  const problem = await guests().then(
    () => undefined,
    (error: Error) => error.message,
  );
  project.provide('noGuests', problem);
}
