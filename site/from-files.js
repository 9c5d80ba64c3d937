// The site as it is opened from files, with no server. Browsers load no modules from files, and VitePress is made of them: here is
// what a page needs of it then, which is search, the menu of a narrow window, and dark or light.

/** How many sections are shown at most. */
const MOST = 20;

/**
 * The sections that hold every word of a text, best first: words in the heading count most, then how often they occur.
 * A section: `{ page, heading, url, text }`.
 */
function findSections(sections, query) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return [];
  const scored = [];
  for (const section of sections) {
    const heading = section.heading.toLowerCase();
    const page = section.page.toLowerCase();
    const text = section.text.toLowerCase();
    let score = 0;
    const hasAll = words.every((word) => {
      const times = text.split(word).length - 1;
      score += (heading.includes(word) ? 20 : 0) + (heading === word ? 20 : 0) + (page.includes(word) ? 5 : 0);
      score += Math.min(times, 5);
      return times > 0 || heading.includes(word);
    });
    if (hasAll) scored.push({ section, score });
  }
  return scored
    .sort((a, b) => b.score - a.score)
    .slice(0, MOST)
    .map(({ section }) => section);
}

/** Calls `then` with the sections of all pages, which a script of their own brings at the first call. */
function withSections(top, then) {
  if (globalThis.sections !== undefined) return then(globalThis.sections);
  const script = document.createElement('script');
  script.src = `${top}sections.js`;
  script.onload = () => then(globalThis.sections);
  document.head.append(script);
}

function showSearch(top) {
  const input = Object.assign(document.createElement('input'), { type: 'search', placeholder: 'Search' });
  input.setAttribute('aria-label', 'Search');
  const list = document.createElement('ol');
  const box = document.createElement('div');
  box.className = 'from-files';
  box.append(input, list);
  document.querySelector('.VPNavBarSearch').replaceChildren(box);
  input.addEventListener('input', () =>
    withSections(top, (sections) => {
      const found = findSections(sections, input.value);
      list.replaceChildren(
        ...found.map(({ page, heading, url }) => {
          const link = Object.assign(document.createElement('a'), { href: top + url });
          link.textContent = page === heading ? page : `${page}: ${heading}`;
          const item = document.createElement('li');
          item.append(link);
          return item;
        }),
      );
      if (found.length === 0 && input.value.trim() !== '') list.append('Nothing has all of these words.');
    }),
  );
  input.addEventListener('keydown', ({ key }) => {
    if (key === 'Enter') list.querySelector('a')?.click();
    if (key === 'Escape') list.replaceChildren();
  });
  document.addEventListener('keydown', (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key === 'k') {
      event.preventDefault();
      input.focus();
    }
  });
}

if (location.protocol === 'file:') {
  showSearch(document.currentScript.dataset.top);
  const { classList } = document.documentElement;
  for (const button of document.querySelectorAll('.VPSwitchAppearance'))
    button.addEventListener('click', () => {
      const theme = classList.toggle('dark') ? 'dark' : 'light';
      localStorage.setItem('vitepress-theme-appearance', theme);
    });
  for (const button of document.querySelectorAll('.VPLocalNav .menu, .VPNavBarHamburger'))
    button.addEventListener('click', () => document.querySelector('.VPSidebar').classList.toggle('open'));
}
