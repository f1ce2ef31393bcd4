// The page around the model: loads the files beside it, each checked against manifest.json, and answers a text as it is written.
import { encode } from "./runtime/encode.js";
import { artifacts } from "./runtime/int8_rows.js";
import { Tokenizer } from "./runtime/tokenizers.min.mjs";

const { tf } = window;
const SHOWN = 5;
const MANIFEST = "manifest.json";

const IDS = ["name", "description", "text", "pair", "answers", "status"];
const page = Object.fromEntries(IDS.map((id) => [id, document.getElementById(id)]));
let ask;
let asked = 0;

/** Load everything; answers a function from texts to {answers: [{label, share}], outputs, ids, truncated, milliseconds}. */
async function load(manifest) {
  tf.wasm.setWasmPaths("runtime/");
  if (!(await tf.setBackend("wasm"))) throw new Error("the wasm backend of TensorFlow.js doesn't start");
  const json = async (name) => JSON.parse(await text(manifest, name));
  const [signature, vocabulary, labels] = await Promise.all([json("signature.json"), json("tokenizer.json"), text(manifest, "labels.txt")]);
  const config = manifest.files["tokenizer_config.json"] ? await json("tokenizer_config.json") : {};
  const tokenizer = new Tokenizer(vocabulary, config);
  const model = await tf.loadGraphModel({ load: () => stored(manifest) });
  const names = labels.split("\n").filter((label) => label);
  return async (texts) => {
    const begin = performance.now();
    const { ids, types, truncated } = encode(tokenizer, signature.max_length, texts);
    const outputs = await run(model, signature, ids, types);
    return { answers: shares(manifest, signature, names, outputs), outputs, ids, truncated, milliseconds: performance.now() - begin };
  };
}

/** The model as TensorFlow.js takes it; int8 rows are widened. */
async function stored(manifest) {
  const model = JSON.parse(await text(manifest, "model.json"));
  const paths = model.weightsManifest.flatMap((group) => group.paths);
  return artifacts(model, await Promise.all(paths.map((path) => bytes(manifest, path))));
}

async function run(model, signature, ids, types) {
  const values = { input_ids: ids, attention_mask: ids.map(() => 1), token_type_ids: types };
  const feed = (name) => tf.tensor2d(Int32Array.from(values[name]), [1, ids.length], "int32");
  const feeds = Object.fromEntries(signature.inputs.map((name) => [name, feed(name)]));
  const output = model.execute(feeds);
  const outputs = Array.from(await output.data());
  tf.dispose([output, ...Object.values(feeds)]);
  return outputs;
}

/** The labels with their shares, largest first; for a regression its number. */
function shares(manifest, signature, labels, outputs) {
  if (manifest.kind === "regression") return [{ label: labels[0], share: outputs[0] }];
  if (manifest.kind === "multi_label") {
    const made = signature.output === "logits" ? outputs.map((value) => 1 / (1 + Math.exp(-value))) : outputs;
    return labels.map((label, index) => ({ label, share: made[index] })).sort((a, b) => b.share - a.share);
  }
  const most = Math.max(...outputs);
  const powers = signature.output === "probabilities" ? outputs : outputs.map((value) => Math.exp(value - most));
  const sum = powers.reduce((total, value) => total + value, 0);
  return labels.map((label, index) => ({ label, share: powers[index] / sum })).sort((a, b) => b.share - a.share);
}

async function text(manifest, name) {
  return new TextDecoder().decode(await bytes(manifest, name));
}

/** A file of the app. A damaged one is refused by name; its sha256 can be taken on https and on localhost only. */
async function bytes(manifest, name) {
  const response = await fetch(name);
  if (!response.ok) throw new Error(`${name}: ${response.status} ${response.statusText}`);
  const content = await response.arrayBuffer();
  const wanted = manifest.files[name];
  if (content.byteLength !== wanted?.size_bytes) {
    throw new Error(`${name} is damaged: it has ${content.byteLength} bytes, not ${wanted?.size_bytes}`);
  }
  if (crypto.subtle && (await sha256(content)) !== wanted.sha256) throw new Error(`${name} is damaged: its sha256 isn't that of ${MANIFEST}`);
  return content;
}

async function sha256(content) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function show(manifest, { answers, ids, truncated, milliseconds }) {
  page.answers.replaceChildren(...answers.slice(0, SHOWN).map(({ label, share }) => row(label, share, manifest.kind === "regression")));
  tell(`${ids.length} tokens${truncated ? ", cut to the model's length" : ""}, ${milliseconds.toFixed(0)} ms, on this device`);
}

function row(label, share, number) {
  const bar = element("div", "bar", "");
  bar.style.width = `${100 * Math.min(1, Math.max(0, share))}%`;
  const track = element("div", "track", "");
  track.append(bar);
  const made = element("li", "", "");
  made.append(element("span", "", label), track, element("span", "share", number ? share.toFixed(3) : `${(100 * share).toFixed(1)} %`));
  return made;
}

function element(name, kind, words) {
  const made = document.createElement(name);
  made.className = kind;
  made.textContent = words;
  return made;
}

function tell(words, wrong = false) {
  page.status.textContent = words;
  page.status.classList.toggle("wrong", wrong);
}

async function answer(manifest) {
  const texts = [page.text, page.pair].slice(0, manifest.texts).map((box) => box.value);
  const mine = ++asked;
  if (!texts.every((words) => words.trim())) return;
  const found = await ask(texts);
  if (mine === asked) show(manifest, found);
}

async function start() {
  const manifest = await (await fetch(MANIFEST)).json();
  document.title = page.name.textContent = manifest.name;
  page.description.textContent = manifest.description;
  ask = await load(manifest);
  const boxes = [page.text, page.pair].slice(0, manifest.texts);
  for (const box of boxes) {
    box.hidden = box.disabled = false;
    box.addEventListener("input", () => answer(manifest).catch((error) => tell(error.message, true)));
  }
  tell("Ready. Nothing you write leaves this page.");
  window.palmtop = { classify: ({ texts }) => ask(texts) };
}

start().catch((error) => tell(error.message, true));
