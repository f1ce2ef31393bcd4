// What a browser target asks of its page: window.palmtop.<question>(argument), each answered with plain JSON.
import { Tokenizer } from "/node_modules/@huggingface/tokenizers/dist/tokenizers.min.mjs";
import { encode, encodeWindows } from "/web/encode.js";

let runtime;
let tokenizer;
let maxLength;
let ofQuestions;
let stride;

/**
 * Answer questions with a runtime: start({threads}); openModel({folder, lengths}), its files lying below the address `folder`;
 * answer({inputs: {name: ints}, rows, length}), of each output by its name a row after the other as one array of numbers.
 */
export function serve(made) {
  runtime = made;
  window.palmtop = { start: made.start, openModel: made.openModel, openTokenizer, tokenize, predict, time, timeTokenize, timeLoading };
}

/** of_questions: whether a pair is a question and its context; stride: tokens that two windows of a context have in common. */
async function openTokenizer({ folder, max_length: length, has_config: hasConfig, of_questions: isContext, stride: common }) {
  const config = hasConfig ? await fetchJson(`${folder}/tokenizer_config.json`) : {};
  tokenizer = new Tokenizer(await fetchJson(`${folder}/tokenizer.json`), config);
  maxLength = length;
  ofQuestions = isContext;
  stride = common;
}

/** texts: [[text] or [text, pair]]. Answers {ids, types, truncated} for each of the windows of each. */
function tokenize({ texts }) {
  return texts.map((text) => windowsOf(text).map(({ ids, types, truncated }) => ({ ids, types, truncated })));
}

function windowsOf(text) {
  return ofQuestions ? encodeWindows(tokenizer, maxLength, text, stride) : [encode(tokenizer, maxLength, text)];
}

/** batch: {inputs: {name: ints}, rows, length}. Answers rows of each output, by its name. */
async function predict({ batch }) {
  const outputs = await runtime.answer(batch);
  return Object.fromEntries(Object.entries(outputs).map(([name, values]) => [name, rowsOf(values, batch.rows)]));
}

function rowsOf(values, rows) {
  const width = values.length / rows;
  return Array.from({ length: rows }, (_, row) => Array.from(values.subarray(row * width, (row + 1) * width)));
}

/** Milliseconds of `runs` answers, cycling through the batches, from feeding the ids to having the numbers back. */
async function time({ batches, runs }) {
  const milliseconds = [];
  for (let run = 0; run < runs; run++) {
    const begin = performance.now();
    await runtime.answer(batches[run % batches.length]);
    milliseconds.push(performance.now() - begin);
  }
  return milliseconds;
}

function timeTokenize({ texts, runs }) {
  const milliseconds = [];
  for (let run = 0; run < runs; run++) {
    const begin = performance.now();
    windowsOf(texts[run % texts.length]);
    milliseconds.push(performance.now() - begin);
  }
  return milliseconds;
}

/** Milliseconds from asking for the model's files to having the first answer. */
async function timeLoading({ folder, lengths, batch }) {
  const begin = performance.now();
  await runtime.openModel({ folder, lengths });
  await runtime.answer(batch);
  return performance.now() - begin;
}

async function fetchJson(address) {
  return (await fetchFile(address)).json();
}

/** What fetch answers; a file that isn't there is an error (TensorFlow.js would take the empty body of a missing shard for weights). */
export async function fetchFile(address, init) {
  const response = await fetch(address, init);
  if (!response.ok) throw new Error(`${new URL(response.url).pathname}: ${response.status} ${response.statusText}`);
  return response;
}
