// TensorFlow.js behind the questions of runner.js. Its scripts were loaded by the page.
import { loadGraphModel } from "/web/int8_rows.js";
import { fetchFile, serve } from "/web/runner.js";

const { tf } = window;
let model;

/** Start the wasm backend with so many threads. */
async function start({ threads }) {
  if (threads > 1 && !self.crossOriginIsolated) throw new Error("threads need a cross-origin isolated page");
  tf.wasm.setWasmPaths("/node_modules/@tensorflow/tfjs-backend-wasm/dist/");
  tf.wasm.setThreadsCount(threads);
  if (!(await tf.setBackend("wasm"))) throw new Error("the wasm backend of TensorFlow.js doesn't start");
  await tf.ready();
  const got = tf.wasm.getThreadsCount();
  if (got !== threads) throw new Error(`TensorFlow.js takes ${got} of ${threads} threads here: at most half of this machine's cores, and four`);
}

async function openModel({ folder }) {
  model = await loadGraphModel(tf, `${folder}/model.json`, fetchFile);
}

async function answer({ inputs, rows, length }) {
  const feeds = {};
  for (const [name, values] of Object.entries(inputs)) feeds[name] = tf.tensor2d(Int32Array.from(values), [rows, length], "int32");
  const names = model.outputNodes;
  const outputs = [model.execute(feeds, names)].flat();
  const values = await Promise.all(outputs.map((output) => output.data()));
  tf.dispose([...outputs, ...Object.values(feeds)]);
  return Object.fromEntries(names.map((name, place) => [name, values[place]]));
}

serve({ start, openModel, answer });
