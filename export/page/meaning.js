// What a model's outputs mean, by the kind of its task, as palmtop's task kinds have it in Python.
import { placesOf } from "./places.js";

const HALF = 0.5;
const MOST_TOKENS = 30;
const OUTSIDE = -1e4;
const NOTHING = "O";

/**
 * The kinds: given(outputs, asked) makes one array of what the runtime gives by name, as golden.jsonl has it, and
 * told(values, asked, windows) what it says. asked: {signature, labels, known, texts, encoding}; windows: that of each
 * window of a context, with its outputs.
 */
const KINDS = {
  classification: { given: first, told: oneLabel },
  multi_label: { given: first, told: severalLabels },
  regression: { given: first, told: (values, { labels }) => ({ answers: [{ label: labels[0], share: values[0] }] }) },
  question_answering: { given: startsAndEnds, told: span },
  token_classification: { given: ofTheText, told: tags },
};

/** What the page can do with outputs of a kind; an error where it is one that it doesn't know. */
export function meaningOf(kind) {
  const found = KINDS[kind];
  if (!found) throw new Error(`this page knows no answers of the kind ${kind}: make it again with the palmtop that made the model`);
  return found;
}

function first(outputs) {
  return Array.from(Object.values(outputs)[0]);
}

function oneLabel(values, { signature, labels }) {
  const most = Math.max(...values);
  const powers = signature.output === "probabilities" ? values : values.map((value) => Math.exp(value - most));
  const sum = powers.reduce((total, value) => total + value, 0);
  return { answers: ranked(labels.map((label, place) => ({ label, share: powers[place] / sum }))) };
}

/** Every label by itself; given from its threshold on. */
function severalLabels(values, { signature, labels }) {
  const shares = signature.output === "logits" ? values.map((value) => 1 / (1 + Math.exp(-value))) : values;
  const thresholds = signature.thresholds ?? labels.map(() => HALF);
  return { answers: ranked(labels.map((label, place) => ({ label, share: shares[place], threshold: thresholds[place], given: shares[place] >= thresholds[place] }))) };
}

function ranked(answers) {
  return answers.sort((a, b) => b.share - a.share);
}

// -- a question's answer in its context --

/** The start logit of every token, then the end logits; OUTSIDE where a token isn't the context's, nor stands for no answer. */
function startsAndEnds(outputs, { signature, encoding }) {
  const { ids, tokens, begins } = encoding;
  const nowhere = nowhereOf(signature, encoding);
  const inside = (place) => place === nowhere || (place >= begins[1] && place < begins[1] + tokens[1].length);
  return ["start_logits", "end_logits"].flatMap((name) => ids.map((_, place) => (inside(place) ? outputs[name][place] : OUTSIDE)));
}

/** The token that stands for no answer: [CLS], the first, or XLNet's last; -1 where none does. */
function nowhereOf({ null_threshold: threshold, stride }, { ids, begins }) {
  if ((threshold ?? null) === null && (stride ?? null) === null) return -1;
  return begins[0] > 0 ? 0 : ids.length - 1;
}

/** The best span over the windows; no answer where its logits are above the span's by more than the threshold. */
function span(values, asked, windows = [{ ...asked, outputs: values }]) {
  const { texts, signature, known } = asked;
  const found = windows.map(({ outputs, encoding }) => ({ ...bestSpan(outputs, nowhereOf(signature, encoding)), encoding }));
  const best = found.reduce((a, b) => (b.sum > a.sum ? b : a));
  const none = Math.min(...found.map(({ nothing }) => nothing));
  const answered = !nothingThere(best.sum, none, signature);
  const most = answered ? best.sum : none;
  const every = found.flatMap(({ sums }) => sums).concat((signature.null_threshold ?? null) === null ? [] : [none]);
  const share = 1 / every.reduce((total, sum) => total + Math.exp(sum - most), 0);
  if (!answered) return { answers: [{ label: "", share, nothing: true }], marks: [] };
  const { tokens, begins, skipped = 0, whole = tokens[1] } = best.encoding;
  const [, context] = texts;
  const places = placesOf(context, whole, known);
  const [begin, end] = [best.from, best.to].map((place) => place - begins[1] + skipped).map((token, side) => places[token][side]);
  return { answers: [{ label: context.slice(begin, end).trim(), share }], marks: [{ begin, end, label: "" }] };
}

/** Numbers are float32, as everywhere. */
function nothingThere(sum, none, { null_threshold: threshold }) {
  if ((threshold ?? null) === null) return false;
  return Math.fround(none - sum) > Math.fround(threshold);
}

/**
 * The span of at most MOST_TOKENS tokens with the largest sum of logits; the sums of all such spans, and of the token
 * that stands for no answer, which is in none of them.
 */
function bestSpan(values, nowhere) {
  const half = values.length / 2;
  const [starts, ends] = [values.slice(0, half), values.slice(half)];
  const nothing = nowhere < 0 ? -Infinity : Math.fround(starts[nowhere] + ends[nowhere]);
  if (nowhere >= 0) starts[nowhere] = ends[nowhere] = OUTSIDE;
  let best = { from: 0, to: 0, sum: -Infinity };
  const sums = [];
  for (let more = 0; more < Math.min(MOST_TOKENS, starts.length); more++) {
    for (let from = 0; from + more < ends.length; from++) {
      const sum = Math.fround(starts[from] + ends[from + more]);
      sums.push(sum);
      if (sum > best.sum) best = { from, to: from + more, sum };
    }
  }
  return { ...best, sums, nothing };
}

// -- a tag for each word --

/** The logits of the first token, then those of the second, and so on; OUTSIDE where a token isn't the text's. */
function ofTheText(outputs, { labels, encoding: { ids, tokens, begins } }) {
  const values = Object.values(outputs)[0];
  const inside = (place) => place >= begins[0] && place < begins[0] + tokens[0].length;
  return ids.flatMap((_, place) => labels.map((_, label) => (inside(place) ? values[place * labels.length + label] : OUTSIDE)));
}

function tags(values, { labels, texts: [text], encoding: { tokens, begins }, known }) {
  const words = wordsOf(text);
  const firsts = firstTokens(placesOf(text, tokens[0], known), words);
  const tagOf = (token) => labels[largest(values.slice((begins[0] + token) * labels.length, (begins[0] + token + 1) * labels.length))];
  const found = firsts.map((token) => (token < 0 ? NOTHING : tagOf(token)));
  const marks = entities(found).map(({ label, from, to }) => ({ label, begin: words[from][0], end: words[to][1] }));
  return { answers: marks.map(({ label, begin, end }) => ({ label, text: text.slice(begin, end) })), marks, tags: found };
}

function largest(values) {
  return values.indexOf(Math.max(...values));
}

/** Words as a person writes them: parted at spaces, and signs at their beginning and end by themselves. */
export function wordsOf(text) {
  const found = [];
  for (const { 0: piece, index } of text.matchAll(/\S+/gu)) {
    const core = /[\p{L}\p{N}\p{M}](?:.*[\p{L}\p{N}\p{M}])?/su.exec(piece);
    const [from, to] = core ? [core.index, core.index + core[0].length] : [piece.length, piece.length];
    found.push(...signs(piece.slice(0, from), index));
    if (core) found.push([index + from, index + to]);
    found.push(...signs(piece.slice(to), index + to));
  }
  return found;
}

function signs(piece, at) {
  return Array.from(piece, (sign) => [at, (at += sign.length)]);
}

/** The first token of each word; -1 where the word was cut off. */
function firstTokens(places, words) {
  const real = places.map((_, token) => token).filter((token) => places[token][1] > places[token][0]);
  let at = 0;
  return words.map(([begin, end]) => {
    while (at < real.length && places[real[at]][1] <= begin) at++;
    return at < real.length && places[real[at]][0] < end ? real[at] : -1;
  });
}

/** Label, first and last word of what IOB2 tags mark; an I- that follows no tag of its label begins one of its own. */
function entities(found) {
  const made = [];
  let open = null;
  found.forEach((tag, word) => {
    const [, mark, label] = /^([BI])-?(.*)$/.exec(tag) ?? [];
    if (mark === "I" && open?.label === (label || "_")) open.to = word;
    else if ((open = mark ? { label: label || "_", from: word, to: word } : null)) made.push(open);
  });
  return made;
}
