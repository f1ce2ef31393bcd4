// The app's files: fetched with their progress told, each checked against manifest.json, and kept for when there is no network.

const MANIFEST = "manifest.json";
const TOLD_EVERY_MS = 100;

/**
 * What fetches the files of a manifest. bytes(name) gives an ArrayBuffer, text(name) and json(name) what is in it; has(name) says whether there is one.
 * digest: of the app, by which what is kept is known; tell({done, total}): bytes of the files that were asked for so far.
 */
export async function filesOf(manifest, digest, tell) {
  const kept = await keptFiles(digest);
  const progress = meter(tell);
  const bytes = async (name) => {
    const wanted = manifest.files[name] ?? {};
    progress.expect(name, wanted.size_bytes ?? 0);
    const content = await sound(name, wanted, kept, (done) => progress.at(name, done));
    progress.at(name, content.byteLength);
    return content;
  };
  const text = async (name) => new TextDecoder().decode(await bytes(name));
  return { bytes, text, json: async (name) => JSON.parse(await text(name)), has: (name) => name in manifest.files };
}

/** The name under which an app's files are kept: two apps of one origin don't share it. */
export function cacheName(scope, digest) {
  return `palmtop ${scope} ${digest}`;
}

/** Caches are there on https and on localhost only. */
async function keptFiles(digest) {
  return self.caches && digest ? caches.open(cacheName(new URL("./", self.location.href).href, digest)) : null;
}

/** A file as the manifest has it: what was kept, what the browser has, or what the server has now; a damaged one is refused by name. */
async function sound(name, wanted, kept, arrived) {
  const found = await kept?.match(name);
  if (found) {
    const content = await found.arrayBuffer();
    if (!(await fault(name, content, wanted))) return content;
  }
  for (const cache of ["default", "reload"]) {
    const response = await fetch(name, { cache });
    if (!response.ok) throw new Error(`${name}: ${response.status} ${response.statusText}`);
    const content = await read(response, arrived);
    const wrong = await fault(name, content, wanted);
    if (!wrong) {
      // without room on the disk the page goes on, and isn't there offline
      await kept?.put(name, new Response(content)).catch((error) => console.warn(`${name} isn't kept: ${error.message}`));
      return content;
    }
    if (cache === "reload") throw new Error(wrong);
  }
}

async function read(response, arrived) {
  const parts = [];
  let done = 0;
  const reader = response.body.getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    parts.push(part.value);
    arrived((done += part.value.length));
  }
  return new Blob(parts).arrayBuffer();
}

/** What is wrong with a file, or null; its sha256 can be taken on https and on localhost only. */
async function fault(name, content, wanted) {
  if (content.byteLength !== wanted.size_bytes) return `${name} is damaged: it has ${content.byteLength} bytes, not ${wanted.size_bytes}`;
  if (crypto.subtle && (await sha256(content)) !== wanted.sha256) return `${name} is damaged: its sha256 isn't that of ${MANIFEST}`;
  return null;
}

async function sha256(content) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Bytes of all files together that were asked for: how many there are, and how many came. */
function meter(tell) {
  const files = new Map();
  let told = 0;
  const sum = (key) => [...files.values()].reduce((total, file) => total + file[key], 0);
  return {
    expect: (name, size) => files.set(name, { size, done: 0 }),
    at(name, done) {
      const file = files.get(name);
      file.done = Math.min(done, file.size);
      if (file.done < file.size && performance.now() - told < TOLD_EVERY_MS) return;
      told = performance.now();
      tell({ done: sum("done"), total: sum("size") });
    },
  };
}
