/**
 * Changes of the TypeScript that make no difference, each with why: the file of dist/, the line, what stands in it, what it
 * becomes.
 */
export const EQUAL = [
  ...of('rules/policy.js', 'what is remembered shows in time and memory alone: an answer is computed again', [
    ['const REMEMBERED = 1024;', '1024', '1025'],
    ['if (answer === undefined) {', 'answer === undefined', 'true'],
    ['if (answers.size === REMEMBERED)', 'answers.size === REMEMBERED', 'false'],
    ['if (answers.size === REMEMBERED)', 'answers.size === REMEMBERED', 'true'],
    ['if (answers.size === REMEMBERED)', '===', '!=='],
    ['answers.clear();', 'answers.clear();', ';'],
    ['answers.set(text, answer);', 'answers.set(text, answer);', ';'],
  ]),
  ...of('rules/destination.js', 'another number, which no other rule has', [['Denied: 10,', '10', '11']]),
  ...of(
    'rules/destination.js',
    'the words of a slot of IPv4 behind the first are 0, as those of the unspecified address',
    [
      ['if (family === 4) {', 'family === 4', 'false'],
      ['if (family === 4) {', '4', '5'],
    ],
  ),
  ...of('batch/arena.js', 'as much room for whole datagrams', [
    ['const PAYLOAD_BYTES = 1_572_864;', '1_572_864', '1572865'],
  ]),
  ...of('batch/arena.js', 'what is packed is sent at once, and nothing is appended to it', [
    ['this.position = position;', 'this.position = position;', ';'],
  ]),
  ...of('batch/arena.js', 'an empty array fits into any other', [
    ['new Uint8Array(0).set(empty);', '0', '1'],
    ['set.call(new Uint8Array(0), empty);', '0', '1'],
  ]),
];

function of(file, why, changes) {
  return changes.map(([line, was, becomes]) => ({ file, why, line, was, becomes }));
}
