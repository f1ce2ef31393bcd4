// What transformers.js makes of folders, in Node: questions as JSON on stdin, an answer for each on stdout. Texts are
// cut as its pipelines cut them.
// outputs: of each text, or pair, by the names of the model's outputs; logits: of each text, or pair, by the tokenizer
// and the model; write: the ids behind each prompt, the end too; pipeline: of all texts at a time, by a pipeline.

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const { module, questions } = JSON.parse(readFileSync(0, "utf8"));
const transformers = await import(pathToFileURL(module));
transformers.env.allowRemoteModels = false;

const ANSWERS = {
  async outputs({ folder, auto, texts, names, options }) {
    const tokenizer = await transformers.AutoTokenizer.from_pretrained(folder);
    const model = await transformers[auto].from_pretrained(folder, options);
    const found = [];
    for (const [first, second] of texts) {
      const inputs = tokenizer(first, { text_pair: second ?? null, return_token_type_ids: true });
      const given = await model(inputs);
      const outputs = names.flatMap((name) => Array.from(given[name].data));
      found.push({ ids: inputs.input_ids.tolist()[0].map(Number), logits: outputs });
    }
    return found;
  },
  async logits({ folder, auto, texts, options }) {
    const tokenizer = await transformers.AutoTokenizer.from_pretrained(folder);
    const model = await transformers[auto].from_pretrained(folder, options);
    const found = [];
    for (const [first, second] of texts) {
      const inputs = tokenizer(first, { text_pair: second ?? null, truncation: true, return_token_type_ids: true });
      const { logits } = await model(inputs);
      found.push({ ids: inputs.input_ids.tolist()[0].map(Number), logits: Array.from(logits.data) });
    }
    return found;
  },
  async write({ folder, auto, texts, call, options }) {
    const tokenizer = await transformers.AutoTokenizer.from_pretrained(folder);
    const model = await transformers[auto].from_pretrained(folder, options);
    const found = [];
    for (const text of texts) {
      const inputs = tokenizer(text);
      const [ids] = (await model.generate({ ...inputs, ...call })).tolist();
      found.push(ids.slice(inputs.input_ids.dims[1]).map(Number));
    }
    return found;
  },
  async pipeline({ folder, task, texts, call, options }) {
    const ask = await transformers.pipeline(task, folder, options);
    const answered = await ask(texts, call);
    return answered.tolist ? answered.tolist() : answered;
  },
};

const answers = [];
for (const question of questions) {
  try {
    answers.push(await ANSWERS[question.what](question));
  } catch (error) {
    answers.push({ refused: String(error.message ?? error) });
  }
}
process.stdout.write(JSON.stringify(answers));
