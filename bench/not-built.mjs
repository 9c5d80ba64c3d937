/** Ends a process of the benchmark, in place of its first line, where the build does not have what it is to measure. */
export function notBuilt(what) {
  console.log(`failed: this build has no ${what}`);
  process.exit(1);
}
