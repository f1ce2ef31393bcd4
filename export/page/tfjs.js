// TensorFlow.js: a graph model, on WebAssembly.
import { artifacts } from "./runtime/int8_rows.js";

const SCRIPTS = ["tf-core", "tf-converter", "tf-backend-wasm"];
const BINARIES = ["tfjs-backend-wasm.wasm", "tfjs-backend-wasm-simd.wasm", "tfjs-backend-wasm-threaded-simd.wasm"];

/** Tokens at which a benchmark runs a model that takes any number. */
const STEPS = [16, 32, 64, 128, 256, 512];

/** Open model.json and its shards; a graph model takes any length. */
export async function open({ files, signature }) {
  importScripts(...SCRIPTS.map((name) => `runtime/${name}.min.js`));
  const { tf } = self;
  const wasm = await binary(tf);
  const [content, weights] = await Promise.all([files.bytes(`runtime/${wasm}`), stored(files)]);
  const address = URL.createObjectURL(new Blob([content], { type: "application/wasm" }));
  tf.wasm.setWasmPaths(Object.fromEntries(BINARIES.map((name) => [name, address])));
  if (!(await tf.setBackend("wasm"))) throw new Error("the wasm backend of TensorFlow.js doesn't start");
  const model = await tf.loadGraphModel({ load: async () => weights });
  return {
    name: "TensorFlow.js, wasm",
    threads: tf.wasm.getThreadsCount(),
    steps: signature.lengths ?? [...STEPS.filter((step) => step < signature.max_length), signature.max_length],
    lengthFor: (tokens) => signature.lengths?.find((length) => length >= tokens) ?? signature.lengths?.at(-1) ?? tokens,
    run: (feeds, length) => answered(tf, model, feeds, length),
  };
}

/** The one of TensorFlow.js's wasm modules that it takes in this browser. */
async function binary(tf) {
  const [simd, threads] = await Promise.all(["WASM_HAS_SIMD_SUPPORT", "WASM_HAS_MULTITHREAD_SUPPORT"].map((flag) => tf.env().getAsync(flag)));
  return BINARIES[simd ? (threads ? 2 : 1) : 0];
}

/** The model as TensorFlow.js takes it; int8 rows are widened. */
async function stored(files) {
  const model = await files.json("model.json");
  const paths = model.weightsManifest.flatMap((group) => group.paths);
  return artifacts(model, await Promise.all(paths.map(files.bytes)));
}

async function answered(tf, model, feeds, length) {
  const tensors = Object.fromEntries(Object.entries(feeds).map(([name, values]) => [name, tf.tensor2d(values, [1, length], "int32")]));
  const names = model.outputNodes;
  const outputs = [model.execute(tensors, names)].flat();
  const values = await Promise.all(outputs.map((output) => output.data()));
  tf.dispose([...outputs, ...Object.values(tensors)]);
  return Object.fromEntries(names.map((name, place) => [name, values[place]]));
}
