// The service worker: the page opens without a network, and without its server. Documents are none of its business; they
// are in the database.

declare const self: ServiceWorkerGlobalScope;
/** What the build has made; `precache.ts` puts it here. */
declare const __PRECACHE__: { readonly version: string; readonly files: readonly string[] };

const { version, files } = __PRECACHE__;
const PREFIX = 'todo-';
const CACHE = `${PREFIX}${version}`;
const PAGE = '/index.html';

async function install(): Promise<void> {
  const cache = await caches.open(CACHE);
  // All or none. Past the cache of HTTP, where a file without a hash in its name may still be the old one.
  await cache.addAll(files.map((file) => new Request(file, { cache: 'reload' })));
}

async function removeOldCaches(): Promise<void> {
  const names = await caches.keys();
  const old = names.filter((name) => name.startsWith(PREFIX) && name !== CACHE);
  await Promise.all(old.map((name) => caches.delete(name)));
}

/** The file of this version, or whatever the network says to a request for something else. */
async function answer(request: Request, path: string): Promise<Response> {
  const cache = await caches.open(CACHE);
  return (await cache.match(path)) ?? fetch(request);
}

self.addEventListener('install', (event) => event.waitUntil(install()));

self.addEventListener('activate', (event) => {
  // Pages that were there before belong to it from now on, so that the first visit already works offline.
  event.waitUntil(removeOldCaches().then(() => self.clients.claim()));
});

self.addEventListener('message', (event) => {
  // A page asks for it when the user agreed to load the new version.
  if (event.data === 'activate') void self.skipWaiting();
});

self.addEventListener('fetch', (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== 'GET' || url.origin !== self.location.origin) return;
  if (request.mode === 'navigate') event.respondWith(answer(request, PAGE));
  else if (files.includes(url.pathname)) event.respondWith(answer(request, url.pathname));
});
