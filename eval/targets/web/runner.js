// What the browser target asks of its page: window.palmtop.<question>(argument), each answered with plain JSON.
import { Tokenizer } from "/node_modules/@huggingface/tokenizers/dist/tokenizers.min.mjs";
import { truncate } from "/web/truncation.js";

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
  model = await tf.loadGraphModel(`${folder}/model.json`, { fetchFunc: fetchFile });
}

async function openTokenizer({ folder, max_length: length, has_config: hasConfig }) {
  const config = hasConfig ? await fetchJson(`${folder}/tokenizer_config.json`) : {};
  tokenizer = new Tokenizer(await fetchJson(`${folder}/tokenizer.json`), config);
  maxLength = length;
}

/** texts: [[text] or [text, pair]]. Answers {ids, types, truncated} for each. */
function tokenize({ texts }) {
  return texts.map((text) => encode(text));
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
    encode(texts[run % texts.length]);
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

function encode([text, pair]) {
  const tokens = [text, pair].map((part) => (part === undefined ? null : tokenizer.tokenize(part, { add_special_tokens: false })));
  const [first, second, truncated] = truncate(tokens[0], tokens[1], maxLength - specials(tokens[1] !== null));
  const whole = assemble(first, second);
  const ids = whole.tokens.map((token) => tokenizer.token_to_id(token) ?? tokenizer.model.unk_token_id);
  return { ids, types: whole.token_type_ids ?? ids.map(() => 0), truncated };
}

function specials(pair) {
  return assemble([], pair ? [] : null).tokens.length;
}

function assemble(first, second) {
  if (tokenizer.post_processor) return tokenizer.post_processor(first, second, true);
  return { tokens: [...first, ...(second ?? [])] };
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
