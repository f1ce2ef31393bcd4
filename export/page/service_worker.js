// Serves the page without a network, from what the page kept once it was whole; with one, the server says which version it is.
// A version is known by its digest in palmtop.json; page and model of two versions never meet.

const CARD = "palmtop.json";
const PATIENCE_MS = 4000;
const scope = self.registration.scope;
let version;

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method === "GET" && request.url.startsWith(scope)) event.respondWith(answer(request));
});

async function answer(request) {
  const name = request.url.slice(scope.length).split(/[?#]/)[0].replace(/^index\.html$/, "");
  if (request.mode === "navigate" || name === CARD) version = undefined;
  const digest = await (version ??= current());
  if (digest === null || request.cache === "reload") return fetch(request);
  const kept = await (await caches.open(`palmtop ${scope} ${digest}`)).match(scope + name);
  if (kept) return kept;
  // what the browser has of an older version isn't this one's; a navigation can't be asked for otherwise than it is
  return request.mode === "navigate" ? fetch(request) : fetch(request, { cache: "no-store" });
}

/** The digest of the version that the server has, or without it of the one that was kept whole; null where there is neither. */
async function current() {
  try {
    const response = await fetch(scope + CARD, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
    if (response.ok) return (await response.json()).digest;
  } catch {
    // no network
  }
  const kept = await caches.match(scope + CARD);
  return kept ? (await kept.json()).digest : null;
}
