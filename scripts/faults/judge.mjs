/** What is wrong in what a scenario told, and what the caller saw. */
import os from 'node:os';
import { codesOf, FILTERED, LATER, REPLACED, TOLD_ONCE } from './errors.mjs';

/**
 * Judges one refusal. `outcome` has the errors that the caller met, and those that it met later, with nothing refused any more;
 * the problem found by then, the descriptors left open, and the fate of the process where it came to grief.
 */
export function judge(
  { call, errno, sticky },
  { errors = [], later = [], problem, leaked = 0, fate },
  { needs, sendsAll, isRefused },
) {
  const found = [problem, fate].filter((text) => text !== undefined);
  // Where closing itself is refused, the descriptor stays.
  if (leaked > 0 && call !== 'close' && !needs.includes('fresh')) found.push(`${leaked} descriptors are left open`);
  for (const error of errors) found.push(...wrongWith(error, errno));
  // What the kernel tells once, a later call may tell, but not one after a loop that has ended; and so may the receive behind
  // one that had datagrams to give. What the polling thread meets is on its way for a while.
  const isLate = ({ operation, errno: told }) =>
    told === errno &&
    (operation === 'receive' || needs.includes('polling') || (TOLD_ONCE.includes(errno) && !sendsAll));
  for (const error of later.filter((error) => !isLate(error)))
    found.push(`afterwards ${error.operation}: ${error.name}: ${error.message}`);
  const told = [...errors, ...later.filter(isLate)];
  const isReplaced = REPLACED.includes(call) && FILTERED.includes(errno);
  const mustTell = TOLD_ONCE.includes(errno)
    ? /^send|^recv/
    : sticky && !LATER.includes(errno) && !isReplaced
      ? /^send|^recv|^poll$/
      : /^$/;
  if (sticky && isReplaced && told.length > 0)
    found.push('what a filter refuses as such is told, though another call would do');
  // Where nobody listens, the scenario sees to it that refusals are told.
  const isCounted = isRefused && errno === 'ECONNREFUSED';
  if (mustTell.test(call) && !isCounted && told.length === 0 && fate === undefined) found.push('nobody is told');
  const texts = told.map(({ operation, code, name }) => `\`${code ?? name}\` from ${operation}`);
  return { problems: [...new Set(found)], seen: fate ?? ([...new Set(texts)].join(', ') || 'nothing') };
}

function wrongWith({ operation, isSocketError, name, message, code, errno: told }, errno) {
  const found = [];
  if (!isSocketError) return [`${operation}: no SocketError, but ${name}: ${message}`];
  // Two names may have one number; one that nobody has a name for is told by it.
  const number = os.constants.errno[errno];
  if (os.constants.errno[told] !== number && told !== `error ${number}`)
    found.push(`${operation}: refused with ${errno}, told of ${told ?? message}`);
  // EAGAIN of connect(2) is a lack of ports or routes, not a call to make later.
  const isHidden = errno === 'EINTR' || (errno === 'EAGAIN' && !['openUdp', 'stream'].includes(operation));
  if (isHidden) found.push(`${operation}: ${errno} is told as ${code}`);
  else if (!codesOf(errno).includes(code))
    found.push(`${operation}: ${errno} is told as ${code}, not as ${codesOf(errno).join(' or ')}`);
  return found;
}
