/**
 * `npm run simulate -- --unmend`: takes mends out, one at a time, of a copy of the checkout, and simulates until the defect
 * is found. What is not found, or cannot be taken out any more, is an error: the simulator has become blind to it.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { root } from '../setup.mjs';

/** Each mend by what it mends: a file, and a text in it, with what stood in its place before. */
const MENDS = [
  {
    defect: 'what a call leaves with a socket wakes nobody',
    file: 'ts/native/descriptor.ts',
    text: '    if (this.waits !== undefined && this.events !== 0) this.waits.hear(this.events);\n',
  },
  {
    defect: 'room that a check has seen wakes nobody',
    file: 'ts/socket/outgoing-datagram-stream.ts',
    text: 'if (writable > 0) descriptor.waits?.hear(WRITABLE);',
  },
  {
    defect: 'a receive of which all was refused ends though there is more',
    file: 'ts/socket/incoming-datagram-stream.ts',
    text: 'batch.count > 0 || count === 0',
    before: 'batch.count > 0 || descriptor.isDrained',
  },
  {
    defect: 'a signal ends a call',
    file: 'crates/engine/src/sys/mod.rs',
    text: '            Err(Errno(INTERRUPTED)) => {}\n',
  },
  {
    defect: 'an error that a call has consumed is forgotten',
    file: 'crates/engine/src/outgoing.rs',
    text: '                    if let Some(errno) = kernel.take_error() {\n                        self.keep(errno);\n                        break;\n                    }\n',
  },
  {
    defect: 'an error that a run sent plainly has consumed is forgotten',
    file: 'crates/engine/src/outgoing.rs',
    text: '                            self.keep(errno);\n                        }\n                        return',
    before: '                            let _ = errno;\n                        }\n                        return',
  },
  {
    defect: 'the next peer is blamed for an error that is pending',
    file: 'crates/engine/src/socket.rs',
    text: '            let _ = sys::take_error(&self.socket);\n',
  },
  {
    defect: 'the next peer is blamed for an error that was kept',
    file: 'crates/engine/src/outgoing.rs',
    text: '        self.deferred.clear();\n        self.forget_refusals();\n',
    before: '        self.forget_refusals();\n',
  },
  {
    defect: 'a connect that fails leaves the queue of errors on',
    file: 'crates/engine/src/socket.rs',
    text: '        sys::connect(&self.socket, address)?;\n',
    before: '        let _ = sys::queue_errors(&self.socket, true);\n        sys::connect(&self.socket, address)?;\n',
  },
  {
    defect: 'an error within a batch is forgotten where no queue may be read',
    file: 'crates/engine/src/socket.rs',
    text: '            self.send_each(batch, runs)\n',
    before: '            self.messages.send(self.socket, batch, runs)\n',
  },
  {
    defect: 'a commit from within another takes its place in the table',
    file: 'ts/batch/datagram-writer.ts',
    text: 'if (fits && !arena.isPacking && arena.append(',
    before: 'if (fits && arena.append(',
  },
  {
    defect: 'a send of which a getter drops the stream goes on, to the next peer',
    file: 'ts/socket/outgoing-datagram-stream.ts',
    text: "        this.#live('send');\n      } catch",
    before: '      } catch',
  },
  {
    defect: 'a refused watch is not told',
    file: 'ts/readiness/readiness.ts',
    text: "    const result = native.watch(this.#socket, wanted);\n    if (result < 0) throw systemError('wait', -result);\n",
    before: '    native.watch(this.#socket, wanted);\n',
  },
];

/** What a build reads. */
const COPIED = [
  'Cargo.toml',
  'Cargo.lock',
  'build.rs',
  '.cargo',
  'crates',
  'package.json',
  'package-lock.json',
  'tsconfig.json',
  'ts',
  'scripts',
];

/** Takes out each mend whose defect has the word in it; the exit code. */
export function unmend(word = '') {
  for (const mend of MENDS) applied(mend);
  let blind = 0;
  for (const mend of MENDS.filter(({ defect }) => defect.includes(word))) {
    const finding = find(mend);
    console.log(`${mend.defect}: ${finding ?? 'NOT FOUND'}`);
    if (finding === undefined) blind += 1;
  }
  return blind === 0 ? 0 : 1;
}

/** The file of a mend, without it. */
function applied({ file, text, before = '' }) {
  const source = fs.readFileSync(path.join(root, file), 'utf8');
  if (source.split(text).length !== 2) throw new Error(`${file} must have this once, to be taken out:\n${text}`);
  return source.replace(text, () => before);
}

/** Simulates without a mend; what it found. */
function find(mend) {
  const copy = path.join(root, 'build/unmended');
  fs.mkdirSync(copy, { recursive: true });
  // All is built anew; with new times, by which cargo sees that a mend is back.
  fs.rmSync(path.join(copy, 'build'), { recursive: true, force: true });
  for (const name of COPIED) {
    fs.rmSync(path.join(copy, name), { recursive: true, force: true });
    fs.cpSync(path.join(root, name), path.join(copy, name), { recursive: true });
  }
  linkPackages(path.join(copy, 'node_modules'));
  fs.writeFileSync(path.join(copy, mend.file), applied(mend));
  const args = ['scripts/simulate.mjs', '--seeds', '1..400', '--steps', '5000'];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: copy, encoding: 'utf8' });
  const [, found] = /^(seed .*)$/m.exec(stdout) ?? [];
  if (found === undefined && status !== 0) throw new Error(`${stdout}${stderr}`);
  return found;
}

/**
 * Gives a copy the packages of the checkout: a folder of links, not a link to the folder, which npm would empty; and a list of
 * what is installed that is newer than the lockfile, so that set-up leaves them alone.
 */
function linkPackages(folder) {
  fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(folder);
  for (const name of fs.readdirSync(path.join(root, 'node_modules'))) {
    if (name !== '.package-lock.json') fs.symlinkSync(path.join(root, 'node_modules', name), path.join(folder, name));
  }
  fs.writeFileSync(path.join(folder, '.package-lock.json'), '{}');
}
