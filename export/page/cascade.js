// Two models that share the texts: the first is asked each, the second those of which the first isn't sure.
// The arithmetic is that of palmtop/cascade.py, in double precision.
import { filesOf } from "./files.js";
import { meaningOf } from "./meaning.js";
import { openIn } from "./model.js";

const ENDING = "_cascade";
const SHARED = "runtime/";
const LEAST = 1e-12;
/** A file's own probability that is less counts as this much. */

/** Load both; tell({done, total}) says how many bytes have come. */
export async function open({ manifest, digest }, tell) {
  const files = await filesOf(manifest, digest, tell);
  const [signature, labels] = await Promise.all([files.json("signature.json"), files.text("labels.txt")]);
  const rule = signature.cascade;
  const format = manifest.format.slice(0, -ENDING.length);
  const models = await Promise.all([rule.first, rule.second].map((folder) => openIn(within(files, folder), manifest, format)));
  const asked = { signature, labels: labels.split("\n").filter((label) => label) };
  const { runtime, version, threads } = models[0].about;
  return { about: { runtime, version, threads }, answer: (texts) => answer(models, rule, meaningOf(manifest.kind), asked, texts) };
}

/** As a single model's answer, with `by`, the model that gave it; ids are the first's. */
async function answer([first, second], rule, meaning, asked, texts) {
  const begin = performance.now();
  const found = await first.answer(texts);
  let outputs = softmax(logitsOf(found.outputs, first.output), rule.temperature);
  const by = Math.max(...outputs) >= rule.threshold ? "first" : "second";
  if (by === "second") outputs = softmax(logitsOf((await second.answer(texts)).outputs, second.output), 1);
  const { ids, truncated, tokens_run } = found;
  return { ...meaning.told(outputs, asked), outputs, by, ids, truncated, tokens_run, milliseconds: performance.now() - begin };
}

export function logitsOf(outputs, output) {
  return output === "probabilities" ? outputs.map((share) => Math.log(Math.max(share, LEAST))) : outputs;
}

export function softmax(logits, temperature) {
  const most = Math.max(...logits);
  const powers = logits.map((value) => Math.exp((value - most) / temperature));
  const sum = powers.reduce((total, value) => total + value, 0);
  return powers.map((value) => value / sum);
}

/** The files of a folder; what both call is beside them. */
function within(files, folder) {
  const named = (name) => (name.startsWith(SHARED) ? name : `${folder}/${name}`);
  return Object.fromEntries(Object.entries(files).map(([what, get]) => [what, (name) => get(named(name))]));
}
