// A model with its tokenizer, opened from the app's files: from texts to what the outputs mean.
import { filesOf } from "./files.js";
import { meaningOf } from "./meaning.js";
import { encode, encodeWindows } from "./runtime/encode.js";
import { Tokenizer } from "./runtime/tokenizers.min.mjs";

const CONFIG = "tokenizer_config.json";
/** Who runs a format; each file has open({files, signature}) that answers {name, threads, run(feeds, tokens)}. */
const RUNTIMES = { tflite: "./litert.js", tfjs: "./tfjs.js" };

/** Load everything; tell({done, total}) says how many bytes have come. */
export async function open({ manifest, digest }, tell) {
  return openIn(await filesOf(manifest, digest, tell), manifest, manifest.format);
}

/** The same of files that are at hand: of a folder, of which there may be two. */
export async function openIn(files, manifest, format) {
  const [signature, known, labels, config, runtime] = await Promise.all([
    files.json("signature.json"),
    files.json("tokenizer.json"),
    files.has("labels.txt") ? files.text("labels.txt") : "",
    files.has(CONFIG) ? files.json(CONFIG) : {},
    import(RUNTIMES[format]),
  ]);
  const opened = await runtime.open({ files, manifest, signature });
  const model = { signature, known, labels: labels.split("\n").filter((label) => label), tokenizer: new Tokenizer(known, config), runtime: opened };
  model.meaning = meaningOf(manifest.kind);
  await run(model, { ids: [signature.pad_id], types: [0] }); // a runtime's first answer is its slowest: nobody waits for it
  return {
    about: { runtime: opened.name, version: (await files.json("runtime/package.json")).version, threads: opened.threads, lengths: opened.steps },
    output: signature.output,
    answer: (texts) => answer(model, texts),
    time: (given) => time(model, given),
    timeTokenizer: (given) => timeTokenizer(model, given),
  };
}

/**
 * {answers, marks, outputs, ids, tokens_run, truncated, milliseconds}; what answers and marks are says meaning.js. Of a
 * context in several windows, outputs and ids are the first window's, and tokens_run are all that were run.
 */
async function answer(model, texts) {
  const begin = performance.now();
  const windows = [];
  let tokensRun = 0;
  for (const encoding of encoded(model, texts)) {
    const raw = await run(model, encoding);
    const asked = { ...model, texts, encoding };
    windows.push({ ...asked, outputs: model.meaning.given(raw.outputs, asked) });
    tokensRun += raw.length;
  }
  const [{ outputs, encoding }] = windows;
  const { ids, truncated } = encoding;
  return { ...model.meaning.told(outputs, windows[0], windows), outputs, ids, truncated, tokens_run: tokensRun, milliseconds: performance.now() - begin };
}

/** Milliseconds of `runs` answers to a text that fills `length` tokens, from feeding the ids to having the numbers. */
async function time(model, { texts, length, runs }) {
  const [{ ids, types }] = encoded(model, texts);
  const filled = { ids: Array.from({ length }, (_, place) => ids[place % ids.length]), types: Array.from({ length }, (_, place) => types[place % ids.length]) };
  const milliseconds = [];
  for (let done = 0; done < runs; done++) {
    const begin = performance.now();
    await run(model, filled);
    milliseconds.push(performance.now() - begin);
  }
  return milliseconds;
}

/** Milliseconds of the tokenizer for each of some texts. */
function timeTokenizer(model, { texts }) {
  return texts.map((text) => {
    const begin = performance.now();
    encoded(model, text);
    return performance.now() - begin;
  });
}

/** What is run of some texts: one sequence, or the windows of a context. */
function encoded({ tokenizer, signature }, texts) {
  if (signature.output !== "spans") return [encode(tokenizer, signature.max_length, texts)];
  return encodeWindows(tokenizer, signature.max_length, texts, signature.stride);
}

/** Padded to the shortest length that the runtime has for so many tokens. */
async function run({ signature, runtime }, { ids, types }) {
  const length = runtime.lengthFor(ids.length);
  const padded = (values, filler) => Int32Array.from({ length }, (_, place) => values[place] ?? filler);
  const values = { input_ids: [ids, signature.pad_id], attention_mask: [ids.map(() => 1), 0], token_type_ids: [types, 0] };
  const feeds = Object.fromEntries(signature.inputs.map((name) => [name, padded(...values[name])]));
  return { outputs: await runtime.run(feeds, length), length };
}
