// LiteRT.js: the .tflite that phones run, on WebAssembly.
import { atLength } from "./any_length.js";
import { loadAndCompile, loadLiteRt, supportsFeature, Tensor } from "./runtime/litert.js";

const STEPS = [16, 32, 64, 128, 256, 512];
/** Tokens at which a file for any length is run: a model is made for each, when the first text needs it. */

let started;

/** Open model.tflite; several signatures length_N share its weights. */
export async function open({ files, signature }) {
  started ??= start(files);
  const [file] = await Promise.all([files.bytes("model.tflite"), started]);
  const { lengths, max_length: longest } = signature;
  const steps = lengths ?? [...STEPS.filter((step) => step < longest), longest];
  const at = lengths ? await fixed(new Uint8Array(file), lengths) : anyLength(new Uint8Array(file), longest);
  await at(steps[0]); // the first answer doesn't wait for it
  return {
    name: "LiteRT.js, wasm",
    threads: 1,
    steps,
    lengthFor: (tokens) => steps.find((step) => step >= tokens) ?? steps.at(-1),
    run: async (feeds, length) => answered(await at(length), feeds, length),
  };
}

/** LiteRT.js itself, once, however many models it runs. */
async function start(files) {
  const wasm = (await supportsFeature("relaxedSimd")) ? "litert_wasm_internal" : "litert_wasm_compat_internal";
  self.Module = { wasmBinary: await files.bytes(`runtime/${wasm}.wasm`) };
  await loadLiteRt(`runtime/${wasm}.js`);
}

/** What runs a text of a length that the file was made for. */
async function fixed(file, lengths) {
  const model = await compiled(file);
  return (length) => (lengths.length > 1 ? model.signatures[`length_${length}`] : model);
}

/** What runs a text of any length. */
function anyLength(file, longest) {
  const models = new Map();
  return (length) => {
    if (!models.has(length)) models.set(length, compiled(atLength(file, longest, length)));
    return models.get(length);
  };
}

function compiled(file) {
  return loadAndCompile(file, { accelerator: "wasm", cpuOptions: { numThreads: 1 } });
}

async function answered(runnable, feeds, length) {
  const tensors = Object.fromEntries(Object.entries(feeds).map(([name, values]) => [name, new Tensor(values, [1, length])]));
  const outputs = await runnable.run(tensors);
  const values = Object.fromEntries(Object.entries(outputs).map(([name, tensor]) => [name, tensor.toTypedArray().slice()]));
  for (const tensor of [...Object.values(tensors), ...Object.values(outputs)]) tensor.delete();
  return values;
}
