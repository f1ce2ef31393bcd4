// The page around the model: loads it into a worker, and answers a text as it is written.
import { offerBenchmark } from "./benchmark.js";
import { lines, marked } from "./draw.js";
import { keep, startOffline } from "./offline.js";

const MANIFEST = "manifest.json";
const CARD = "palmtop.json";
/** What the boxes are called, where a kind of task has words of its own. */
const BOXES = { question_answering: ["Question", "Context"] };

/** Which of two models answered. */
const BY = { first: ", by the smaller model", second: ", by the larger model, which was asked besides" };

const page = Object.fromEntries(["name", "description", "text", "pair", "loaded", "marked", "answers", "status", "kept"].map((id) => [id, document.getElementById(id)]));

/** A function (question, given) that asks the model's worker, and promises its answer. */
function startWorker(tell) {
  const worker = new Worker("worker.js");
  const asked = new Map();
  let last = 0;
  const fail = (message) => asked.forEach(({ reject }) => reject(new Error(message)));
  worker.onerror = (event) => fail(event.message || "the model's worker doesn't start");
  worker.onmessage = ({ data: { id, found, fault, progress } }) => {
    if (progress) return tell(progress);
    const { resolve, reject } = asked.get(id);
    asked.delete(id);
    if (fault === undefined) resolve(found);
    else reject(new Error(fault));
  };
  return (question, given) =>
    new Promise((resolve, reject) => {
      asked.set(++last, { resolve, reject });
      worker.postMessage({ id: last, question, given });
    });
}

/** Answers what is in the boxes; while the model is at work only the newest text waits, and no older answer is shown. */
function answering(manifest, ask, boxes) {
  let busy = false;
  let waiting = null;
  return async () => {
    waiting = boxes.map((box) => box.value);
    if (busy) return;
    busy = true;
    try {
      while (waiting) {
        const texts = waiting;
        waiting = null;
        const found = texts.every((text) => text.trim()) ? await ask("answer", { texts }) : null;
        if (!waiting) show(manifest, texts, found);
      }
    } catch (error) {
      tell(error.message, true);
    } finally {
      busy = false;
    }
  };
}

function show(manifest, texts, found) {
  page.marked.hidden = !found?.marks?.length;
  page.marked.replaceChildren(...(found?.marks ? marked(texts.at(-1), found.marks) : []));
  page.answers.replaceChildren(...(found ? lines(manifest.kind, found.answers) : []));
  if (!found) return tell("Ready.");
  const nothing = found.answers.length ? "" : "Nothing found. ";
  const cut = found.truncated ? ", cut to the model's length" : "";
  tell(`${nothing}${found.ids.length} tokens${cut}, ${found.milliseconds.toFixed(0)} ms${BY[found.by] ?? ""}, on this device`);
}

function tell(words, wrong = false) {
  page.status.textContent = words;
  page.status.classList.toggle("wrong", wrong);
}

function tellProgress({ done, total }) {
  if (page.loaded.hidden) return; // it has failed, and other files still come
  page.loaded.value = total ? done / total : 0;
  const [come, all] = [done, total].map((bytes) => (bytes / 1e6).toFixed(1));
  tell(done < total ? `Loading: ${come} of ${all} MB` : "Starting the model…");
}

function openBoxes(manifest) {
  const boxes = [page.text, page.pair].slice(0, manifest.texts);
  boxes.forEach((box, place) => {
    const label = document.getElementById(`${box.id}-label`);
    label.hidden = manifest.texts === 1;
    label.textContent = BOXES[manifest.kind]?.[place] ?? label.textContent;
    box.ariaLabel = label.textContent;
    box.hidden = box.disabled = false;
  });
  return boxes;
}

async function fetchJson(name) {
  const response = await fetch(name, { cache: "no-store" });
  if (!response.ok) throw new Error(`${name}: ${response.status} ${response.statusText}`);
  return response.json();
}

/** Say so once the page is there without a network too; where it can't be kept it answers as before. */
async function keepOffline(manifest, card) {
  try {
    if (!(await startOffline())) return;
    await keep(manifest, card);
    page.kept.hidden = false;
  } catch (error) {
    console.warn(`this page isn't kept for when there is no network: ${error.message}`);
  }
}

async function start() {
  const [manifest, card] = await Promise.all([fetchJson(MANIFEST), fetchJson(CARD)]);
  document.title = page.name.textContent = manifest.name;
  page.description.textContent = manifest.description;
  const ask = startWorker(tellProgress);
  const about = await ask("open", { manifest, digest: card.digest });
  page.loaded.hidden = true;
  const boxes = openBoxes(manifest);
  const answer = answering(manifest, ask, boxes);
  for (const box of boxes) box.addEventListener("input", answer);
  if (matchMedia("(pointer: fine)").matches) boxes[0].focus(); // on a phone the keyboard would cover the page
  tell("Ready. Nothing you write leaves this page.");
  if (about.lengths) offerBenchmark({ manifest, about, ask }); // a cascade has no time of its own at a length
  window.palmtop = { classify: ({ texts }) => ask("answer", { texts }), about };
  keepOffline(manifest, card);
}

start().catch((error) => {
  page.loaded.hidden = true;
  tell(error.message, true);
});
