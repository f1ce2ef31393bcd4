// Keeping the app for when there is no network: the page's own files beside the model's, and no older version.
import { cacheName } from "./files.js";

const CARD = "palmtop.json";
const OWN = /\.(html|css|js|mjs|jsonl)$/;

/** Ask for the service worker; false where browsers have none: not on https, nor on localhost. */
export async function startOffline() {
  if (!navigator.serviceWorker) return false;
  await navigator.serviceWorker.register("service_worker.js");
  return true;
}

/** Once the model answers: keep what the page itself is made of, palmtop.json last, and drop other versions. */
export async function keep(manifest, card) {
  const scope = new URL("./", location.href).href;
  const name = cacheName(scope, card.digest);
  const kept = await caches.open(name);
  if (await kept.match(CARD)) return;
  const own = Object.keys(manifest.files).filter((file) => OWN.test(file) && file !== "index.html");
  const wanted = ["./", "manifest.json", ...own]; // some servers send index.html elsewhere, and a navigation can't be answered so
  await kept.addAll(wanted.map((file) => new Request(file, { cache: "reload" })));
  await kept.put(CARD, new Response(JSON.stringify(card)));
  const older = (await caches.keys()).filter((other) => other.startsWith(cacheName(scope, "")) && other !== name);
  await Promise.all(older.map((other) => caches.delete(other)));
}
