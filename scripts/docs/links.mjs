import fs from 'node:fs';
import path from 'node:path';
import { root } from '../setup.mjs';
import { slugify } from './slugify.mjs';

/** A text without its blocks and spans of code, in which nothing is a link. */
const prose = (text) =>
  text
    .replace(/^```.*?^```$/gms, '')
    .replace(/^ {4,}.*$/gm, '')
    .replace(/`[^`\n]*`/g, '``');

/** The anchors of a document: one a heading. */
function anchorsOf(file) {
  const text = fs.readFileSync(path.join(root, file), 'utf8').replace(/^```.*?^```$/gms, '');
  const headings = [...text.matchAll(/^#{1,6} +(.+)$/gm)].map(([, heading]) => slugify(heading.replaceAll('`', '')));
  const seen = new Map();
  return headings.map((anchor) => {
    const count = seen.get(anchor) ?? 0;
    seen.set(anchor, count + 1);
    return count === 0 ? anchor : `${anchor}-${count}`;
  });
}

/** What is wrong with the links of the documents to files and anchors of this checkout. */
export function brokenLinks(files) {
  const broken = [];
  for (const file of files) {
    const text = prose(fs.readFileSync(path.join(root, file), 'utf8'));
    for (const [, target] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      const [name, anchor] = target.split('#');
      const to = name === '' ? file : path.join(path.dirname(file), name);
      if (!fs.existsSync(path.join(root, to))) broken.push(`${file}: there is no ${target}`);
      else if (anchor !== undefined && !(to.endsWith('.md') && anchorsOf(to).includes(anchor)))
        broken.push(`${file}: ${to} has no heading #${anchor}`);
    }
  }
  return broken;
}
