// What tests/react_native asks of the compiled code on this machine: a line of JSON in, a line of JSON out for each.
//
//     node main.cjs CODE tokens TOKENIZER.json   {"text": [...], "max_length": 24} -> tokens as golden_tokens.jsonl has them
//     node main.cjs CODE answers FOLDER          {"text": [...], "outputs": [[...], ...]} -> what is kept, answer, said
//     node main.cjs CODE opens FOLDER            {"shifts": [0], "passed": null} -> runtime and what is kept in memory, or refused
//
// CODE is the folder that tsc wrote; FOLDER has files.json, the texts of a model's folder by their names.
const fs = require('fs');
const path = require('path');

const [code, command, place] = process.argv.slice(2);
const lines = fs.readFileSync(0, 'utf8').split('\n').filter((line) => line);
const load = (name) => require(path.join(code, 'palmtop', name));

/** Places in code points, as Python counts. */
function inPoints(text, unit) {
  return Array.from(text.slice(0, unit)).length;
}

function tokensOf(tokenizer, { text, max_length: most, only_second: second }) {
  const made = tokenizer.encode(text[0], text[1] ?? null, most, second ? 'only_second' : 'longest_first');
  const at = (token, unit) => (made.sequences[token] < 0 ? 0 : inPoints(text[made.sequences[token]], unit));
  return {
    input_ids: made.ids,
    token_type_ids: made.typeIds,
    places: made.ids.map((_, token) => [at(token, made.begins[token]), at(token, made.ends[token])]),
    truncated: made.truncated,
  };
}

function folder() {
  return { files: JSON.parse(fs.readFileSync(path.join(place, 'files.json'), 'utf8')), digest: 'digest' };
}

function reading() {
  const { manifestOf, labelsOf, signatureOf } = load('core/folder');
  const { Reader } = load('core/reader');
  const { tokenizerOf } = load('core/tokenizer');
  const own = folder();
  const reader = new Reader(manifestOf(own).kind, labelsOf(own), signatureOf(own));
  return { reader, tokenizer: tokenizerOf(own.files['tokenizer.json']) };
}

/** An answer with its places in code points. */
function placed(answer, text) {
  const counted = (each) => ({ ...each, begin: inPoints(text, each.begin), end: inPoints(text, each.end) });
  if (answer.kind === 'tags') return { ...answer, entities: answer.entities.map(counted) };
  return answer.kind === 'span' ? counted(answer) : answer;
}

/** outputs: those of a run, padded to a length. */
function answerOf({ reader, tokenizer }, { text, outputs }) {
  const encoded = reader.encode(tokenizer, text);
  const kept = reader.kept(outputs.map((row) => Float32Array.from(row)), encoded);
  const answer = reader.answer(kept, encoded, text);
  return { kept, answer: placed(answer, text[text.length - 1]), said: reader.said(kept, encoded, text), truncated: encoded.truncated };
}

/** A runtime that answers what golden.jsonl has, each number shifted by so much. */
function recorded(rows, shift, name, spans) {
  const run = async ({ input_ids: ids, attention_mask: mask }) => {
    const own = Array.from(ids).slice(0, mask.reduce((sum, each) => sum + each, 0));
    const row = rows.find(({ input_ids: known }) => String(known) === String(own));
    const all = Float32Array.from(row.outputs.map((value) => value + shift));
    return spans ? [all.slice(0, own.length), all.slice(own.length)] : [all];
  };
  return { name, length: null, open: async () => ({ run }) };
}

async function opened({ shifts, passed }) {
  const own = folder();
  const rows = own.files['golden.jsonl'].split('\n').filter((line) => line).map((line) => JSON.parse(line));
  const spans = JSON.parse(own.files['manifest.json']).kind === 'question_answering';
  const memory = { line: passed, read: async () => memory.line, write: async (line) => { memory.line = line; } };
  let asked = 0;
  const runtimes = shifts.map((shift, at) => recorded(rows, shift, `runtime ${at}`, spans));
  const model = await load('text_model').TextModel.open({ folder: own, runtimes }, memory, () => asked++);
  const { answer } = await model.answer(rows[0].text);
  return { runtime: model.runtime, memory: memory.line, asked, answer };
}

const COMMANDS = {
  tokens: () => {
    const tokenizer = load('core/tokenizer').tokenizerOf(fs.readFileSync(place, 'utf8'));
    return (line) => tokensOf(tokenizer, line);
  },
  answers: () => {
    const read = reading();
    return (line) => answerOf(read, line);
  },
  opens: () => opened,
};

async function main() {
  const answered = COMMANDS[command]();
  for (const line of lines) {
    const found = await Promise.resolve(JSON.parse(line)).then(answered).catch((error) => ({ refused: error.message }));
    console.log(JSON.stringify(found));
  }
}

main().catch((error) => console.log(JSON.stringify({ refused: error.message, by: error.constructor.name })));
