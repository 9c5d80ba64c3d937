import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

/**
 * The newest glibc version whose symbols a binary needs, read from its version names; throws where it is above the floor.
 * @param {string} floor such as '2.17'
 */
export function glibcFloor(binary, floor) {
  const versions = [...readFileSync(binary, 'latin1').matchAll(/\0GLIBC_(\d+\.\d+)/g)].map((match) => match[1]);
  if (versions.length === 0) throw new Error(`${binary} names no glibc version: is it a glibc binary?`);
  const newest = versions.sort((a, b) => a.localeCompare(b, 'en', { numeric: true })).at(-1);
  if (newest.localeCompare(floor, 'en', { numeric: true }) > 0) {
    throw new Error(`${binary} needs glibc ${newest}, above the floor of ${floor}`);
  }
  return newest;
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [, , binary, floor] = process.argv;
  console.log(`${binary} needs glibc ${glibcFloor(binary, floor)}`);
}
