// What the browser target asks of its page: window.palmtop.<question>(argument), each answered with plain JSON.
import { Tokenizer } from "/node_modules/@huggingface/tokenizers/dist/tokenizers.min.mjs";
import { encode } from "/web/encode.js";
import { loadGraphModel } from "/web/int8_rows.js";

const { tf } = window;
let model;
let tokenizer;
let maxLength;

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

async function openTokenizer({ folder, max_length: length, has_config: hasConfig }) {
  const config = hasConfig ? await fetchJson(`${folder}/tokenizer_config.json`) : {};
  tokenizer = new Tokenizer(await fetchJson(`${folder}/tokenizer.json`), config);
  maxLength = length;
}

/** texts: [[text] or [text, pair]]. Answers {ids, types, truncated} for each. */
function tokenize({ texts }) {
  return texts.map((text) => encode(tokenizer, maxLength, text));
}

/** batch: {inputs: {name: ints}, rows, length}. Answers rows of outputs. */
async function predict({ batch }) {
  const values = await answer(batch);
  const width = values.length / batch.rows;
  return Array.from({ length: batch.rows }, (_, row) => Array.from(values.subarray(row * width, (row + 1) * width)));
}

/** Milliseconds of `runs` answers, cycling through the batches, from feeding the ids to having the numbers back. */
async function time({ batches, runs }) {
  const milliseconds = [];
  for (let run = 0; run < runs; run++) {
    const begin = performance.now();
    await answer(batches[run % batches.length]);
    milliseconds.push(performance.now() - begin);
  }
  return milliseconds;
}

function timeTokenize({ texts, runs }) {
  const milliseconds = [];
  for (let run = 0; run < runs; run++) {
    const begin = performance.now();
    encode(tokenizer, maxLength, texts[run % texts.length]);
    milliseconds.push(performance.now() - begin);
  }
  return milliseconds;
}

/** Milliseconds from asking for the model's files to having the first answer. */
async function timeLoading({ folder, batch }) {
  const begin = performance.now();
  await openModel({ folder });
  await answer(batch);
  return performance.now() - begin;
}

async function answer({ inputs, rows, length }) {
  const feeds = {};
  for (const [name, values] of Object.entries(inputs)) feeds[name] = tf.tensor2d(Int32Array.from(values), [rows, length], "int32");
  const output = model.execute(feeds);
  const values = await output.data();
  tf.dispose([output, ...Object.values(feeds)]);
  return values;
}

async function fetchJson(address) {
  return (await fetchFile(address)).json();
}

// TensorFlow.js takes the empty body of a missing shard for weights
async function fetchFile(address, init) {
  const response = await fetch(address, init);
  if (!response.ok) throw new Error(`${new URL(response.url).pathname}: ${response.status} ${response.statusText}`);
  return response;
}

window.palmtop = { start, openModel, openTokenizer, tokenize, predict, time, timeTokenize, timeLoading };
