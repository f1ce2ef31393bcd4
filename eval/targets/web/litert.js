// LiteRT.js behind the questions of runner.js: a .tflite as it is, of one length or of several.
import { loadAndCompile, loadLiteRt, Tensor } from "/node_modules/@litertjs/core/dist/index.js";
import { fetchFile, serve } from "/web/runner.js";

let threadCount;
let model;
let several;

/** Load the wasm module, with so many threads for the models that it opens. */
async function start({ threads }) {
  if (threads > 1 && !self.crossOriginIsolated) throw new Error("threads need a cross-origin isolated page");
  threadCount = threads;
  await loadLiteRt("/node_modules/@litertjs/core/wasm/", { threads: threads > 1 });
}

async function openModel({ folder, lengths }) {
  const file = new Uint8Array(await (await fetchFile(`${folder}/model.tflite`)).arrayBuffer());
  model = await loadAndCompile(file, { accelerator: "wasm", cpuOptions: { numThreads: threadCount } });
  several = lengths.length > 1;
}

async function answer({ inputs, length }) {
  const feeds = {};
  for (const [name, values] of Object.entries(inputs)) feeds[name] = new Tensor(Int32Array.from(values), [1, length]);
  const runnable = several ? model.signatures[`length_${length}`] : model;
  if (!runnable) throw new Error(`model.tflite has no signature 'length_${length}'`);
  const outputs = await runnable.run(feeds);
  const values = Object.fromEntries(Object.entries(outputs).map(([name, tensor]) => [name, tensor.toTypedArray().slice()]));
  for (const tensor of [...Object.values(feeds), ...Object.values(outputs)]) tensor.delete();
  return values;
}

serve({ start, openModel, answer });
