// Follows every link that a person finds.

/** How many addresses of one kind are asked for, and how many in all. */
const OF_A_KIND = 3;
const IN_ALL = 500;

/** What varies in an address is left out of its kind: names of organizations, plans and endpoints, and values of queries. */
export function kind(url) {
  const path = url.pathname.replace(/\/(organizations|plans|webhooks|docs\/schemas|docs)\/[^/]+/g, '/$1/*');
  const query = [...new Set(url.searchParams.keys())].sort().join('&');
  return query ? `${path}?${query}` : path;
}

/**
 * Asks for every address on the pages that can be reached from `from`, and says which of them are pages: those of `from`, and one of
 * each other kind. Dead links are faults.
 */
export async function crawl(context, faults, name, origin, from) {
  const waiting = from.map((path) => ({ url: new URL(path, origin), by: 'the list' }));
  const [asked, kinds, pages] = [new Set(), new Map(), []];
  while (waiting.length > 0) {
    const { url, by } = waiting.shift();
    url.hash = '';
    const [of, isNamed] = [kind(url), by === 'the list'];
    if (asked.has(url.href) || (!isNamed && (kinds.get(of) ?? 0) >= OF_A_KIND)) continue;
    if (asked.size >= IN_ALL) {
      faults.add(name, `more than ${IN_ALL} addresses, the last ${url}`);
      break;
    }
    asked.add(url.href);
    kinds.set(of, (kinds.get(of) ?? 0) + 1);
    const answer = await context.request.get(url.href, { timeout: 30_000, headers: { Accept: 'text/html' } });
    if (answer.status() >= 400) faults.add(name, `the link to ${url.pathname}${url.search} on ${by} is ${answer.status()}`);
    const isPage = (answer.headers()['content-type'] ?? '').startsWith('text/html');
    if (!isPage || !answer.ok()) continue;
    // A page of its own, and not where a redirect led.
    const [path, led] = [`${url.pathname}${url.search}`, new URL(answer.url())];
    if (led.href === url.href && (isNamed || kinds.get(of) === 1)) pages.push(path);
    for (const next of links(await answer.text(), led)) {
      if (next.origin === origin) waiting.push({ url: next, by: path });
    }
  }
  return pages;
}

function links(html, base) {
  const found = [...html.matchAll(/<a\b[^>]*\shref="([^"]*)"/g)].map(([, href]) => href.replace(/&(?:amp|#38);/g, '&'));
  return found.filter((href) => !/^(mailto|tel|data):/.test(href)).map((href) => new URL(href, base));
}
