import fs from 'node:fs';
import { defineConfig } from 'vitepress';
import { slugify } from '../../scripts/docs/slugify.mjs';

const source = new URL('../../build/site/src/', import.meta.url);
const { repository, exports } = JSON.parse(fs.readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));

/** The pages of docs/, in the order in which people need them. */
const PAGES = {
  'Getting started': ['start', 'sending', 'receiving', 'commands', 'when-not'],
  'From node:dgram': ['dgram', 'features'],
  'Running components': ['components', 'guests', 'policy'],
  'When something is wrong': ['errors', 'troubleshooting'],
  'In production': ['options', 'multicast', 'tuning', 'cores', 'environment', 'bundling'],
  'Where it runs': ['platforms', 'runtimes'],
  'What it promises': ['reliability', 'conformance', 'faults', 'benchmarks'],
};

/** What can be imported: each has its pages of the API. */
const entries = Object.keys(exports)
  .filter((name) => exports[name].import !== undefined)
  .map((name) => `wasi-udp${name.slice(1)}`);

/** The first heading of a page. */
function titleOf(file) {
  return /^# (.+)$/m.exec(fs.readFileSync(new URL(file, source), 'utf8'))[1].replaceAll('`', '');
}

const there = fs.readdirSync(new URL('docs/', source)).map((file) => file.replace(/\.md$/, ''));
const placed = Object.values(PAGES).flat();
/** Pages that nobody has placed. */
const more = there.filter((page) => !placed.includes(page));

const sidebar = Object.entries(more.length > 0 ? { ...PAGES, More: more } : PAGES).map(([text, pages]) => ({
  text,
  items: pages
    .filter((page) => there.includes(page))
    .map((page) => ({ text: titleOf(`docs/${page}.md`), link: `/docs/${page}` })),
}));

const base = process.env.WASI_UDP_SITE_BASE ?? '/';

export default defineConfig({
  title: 'wasi-udp',
  description: 'UDP for Node.js, many datagrams at a time',
  base,
  head: [['link', { rel: 'icon', type: 'image/svg+xml', href: `${base}icon.svg` }]],
  srcDir: '../build/site/src',
  outDir: '../build/site/dist',
  cacheDir: '../build/site/cache',
  // A file that is no page, and lies beside the pages.
  ignoreDeadLinks: [(link) => fs.existsSync(new URL(`public/${link.replace(/^(\.\.?\/)+/, '')}`, source))],
  lastUpdated: false,
  metaChunk: true,
  markdown: { anchor: { slugify }, toc: { slugify }, headers: { slugify } },
  themeConfig: {
    search: { provider: 'local' },
    outline: [2, 3],
    nav: [
      { text: 'Start', link: '/docs/start' },
      { text: 'API', link: '/api/' },
      { text: 'Errors', link: '/docs/errors' },
      { text: 'Changes', link: '/CHANGELOG' },
    ],
    sidebar: [
      { text: 'wasi-udp', link: '/' },
      ...sidebar,
      {
        text: 'Reference',
        items: [
          ...entries.map((name) => ({ text: name, link: `/api/${name}/` })),
          { text: 'Architecture', link: '/ARCHITECTURE' },
          { text: 'Contributing', link: '/CONTRIBUTING' },
          { text: 'Security', link: '/SECURITY' },
        ],
      },
    ],
    socialLinks: [{ icon: 'github', link: repository.url.replace(/^git\+|\.git$/g, '') }],
  },
});
