/** Has a built site work where it is opened from files: links that lead from file to file, and a search of its own. */
import fs from 'node:fs';
import path from 'node:path';
import vm from 'node:vm';
import { root } from '../setup.mjs';

const SCRIPT = 'from-files.js';

/** Changes the pages in a folder; returns what is wrong with them then, a line each. */
export function fromFiles(folder) {
  const pages = fs.readdirSync(folder, { recursive: true }).filter((file) => file.endsWith('.html'));
  const sections = [];
  for (const page of pages) {
    const file = path.join(folder, page);
    const top = '../'.repeat(page.split(path.sep).length - 1) || './';
    const html = fs.readFileSync(file, 'utf8');
    const tag = `<script defer src="${top}${SCRIPT}" data-top="${top}"></script>`;
    fs.writeFileSync(file, relative(html, top).replace('</body>', `${tag}</body>`));
    sections.push(...sectionsOf(html, page.split(path.sep).join('/')));
  }
  // A script, since a page from a file may not read another file.
  fs.writeFileSync(path.join(folder, 'sections.js'), `globalThis.sections = ${JSON.stringify(sections)};\n`);
  fs.copyFileSync(path.join(root, 'site', SCRIPT), path.join(folder, SCRIPT));
  return [...pages.flatMap((page) => deadLinks(folder, page)), ...unfound(sections)];
}

/** Links from the top of the site as links from the page; to a folder as to its index. */
function relative(html, top) {
  return html
    .replace(/\b(href|src)="\/(?!\/)/g, `$1="${top}`)
    .replace(/\bhref="(\.[^"#:]*\/)(#[^"]*)?"/g, 'href="$1index.html$2"');
}

/** The parts of a page, each from its heading on. */
function sectionsOf(html, page) {
  const [, content = ''] = /<main\b[^>]*>([\s\S]*)<\/main>/.exec(html) ?? [];
  const parts = content.split(/(?=<h[1-4] id=")/).slice(1);
  const title = parts.length > 0 ? headingOf(parts[0]).heading : '';
  return parts.map((part) => {
    const { id, heading, rest } = headingOf(part);
    return { page: title, heading, url: `${page}#${id}`, text: plain(rest) };
  });
}

function headingOf(part) {
  const [whole, id, inner] = /^<h\d id="([^"]*)"[^>]*>([\s\S]*?)<\/h\d>/.exec(part);
  const heading = plain(inner.replace(/<a class="header-anchor"[\s\S]*?<\/a>/, ''));
  return { id, heading, rest: part.slice(whole.length) };
}

const ENTITIES = { lt: '<', gt: '>', quot: '"', amp: '&', '#39': "'" };

/** The text of a piece of HTML. */
function plain(html) {
  return html
    .replace(/<(button|span) [^>]*class="(copy|lang)"[^>]*>[^<]*<\/\1>/g, ' ')
    .replace(/<[^>]+>/g, '')
    .replace(/&(\w+|#39);/g, (entity, name) => ENTITIES[name] ?? entity)
    .replace(/[\s\u200b]+/g, ' ')
    .trim();
}

/** Links of a page to files or headings that are not there. */
function deadLinks(folder, page) {
  const html = fs.readFileSync(path.join(folder, page), 'utf8');
  const links = new Set(Array.from(html.matchAll(/\b(?:href|src)="([^"]+)"/g), ([, link]) => link));
  return [...links]
    .filter((link) => !/^(https?|mailto|data):/.test(link) && !leads(folder, page, decodeURI(link)))
    .map((link) => `${page} links to ${link}, which is not there`);
}

function leads(folder, page, link) {
  const [target, anchor] = link.split('#');
  const file = path.join(folder, target === '' ? page : path.join(path.dirname(page), target));
  if (!fs.existsSync(file) || !fs.statSync(file).isFile()) return false;
  return !anchor || !file.endsWith('.html') || fs.readFileSync(file, 'utf8').includes(`id="${anchor}"`);
}

/** Whether the search finds each heading of docs/ by its own words, as a browser has it. */
function unfound(sections) {
  const context = vm.createContext({ location: { protocol: 'https:' } });
  vm.runInContext(fs.readFileSync(path.join(root, 'site', SCRIPT), 'utf8'), context);
  const asked = sections.filter(({ url }) => url.startsWith('docs/'));
  if (asked.length < 100) return [`the search has only ${asked.length} sections of docs/`];
  return asked
    .filter(({ url, page, heading }) => {
      const found = context.findSections(sections, heading);
      return !found.some((one) => one.url === url || one.page === page);
    })
    .map(({ url, heading }) => `the search for '${heading}' does not find ${url}`);
}
