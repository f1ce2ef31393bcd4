// A text, or a pair, as token ids: what Hugging Face's tokenizers give for it, special tokens in, cut to the model's length.
import { truncate, truncateSecond, windows } from "./truncation.js";

/**
 * Answers {ids, types, truncated, tokens, begins} for [text] or [text, pair].
 * tokens: of each text its own, as they were kept; begins: where the first of them stands among the ids.
 * A question and its context (onlySecond) are cut otherwise than a pair: only the context is, as long as the question leaves it half of the room.
 */
export function encode(tokenizer, maxLength, texts, onlySecond = false) {
  const tokens = tokensOf(tokenizer, texts);
  const cut = onlySecond ? truncateSecond : truncate;
  return encoded(tokenizer, cut(tokens[0], tokens[1], maxLength - specials(tokenizer, tokens[1] !== null), maxLength));
}

/** A question and its context in windows that have `stride` tokens in common, each as `encode` gives it, with the
 * `whole` context's tokens and how many of them are `skipped` before it; without a stride the one that is cut. */
export function encodeWindows(tokenizer, maxLength, texts, stride) {
  if (stride === undefined || stride === null) return [encode(tokenizer, maxLength, texts, true)];
  const [question, context] = tokensOf(tokenizer, texts);
  const cuts = windows(question, context, maxLength - specials(tokenizer, true), maxLength, stride);
  return cuts.map((cut) => ({ ...encoded(tokenizer, cut), skipped: cut[3], whole: context }));
}

function tokensOf(tokenizer, [text, pair]) {
  return [text, pair].map((part) => (part === undefined ? null : tokenizer.tokenize(mended(tokenizer, part), { add_special_tokens: false })));
}

function encoded(tokenizer, [first, second, truncated]) {
  const whole = assemble(tokenizer, first, second);
  const ids = whole.tokens.map((token) => tokenizer.token_to_id(token) ?? tokenizer.model.unk_token_id);
  return { ids, types: whole.token_type_ids ?? ids.map(() => 0), truncated, ...placed(tokenizer, first, second) };
}

/** Special tokens stand before the first text, and between the two as many as they have when the second is empty. */
function placed(tokenizer, first, second) {
  const mark = "\u0000";
  const begin = assemble(tokenizer, [mark], second && []).tokens.indexOf(mark);
  const kept = [first, ...(second ? [second] : [])];
  if (!second) return { tokens: kept, begins: [begin] };
  const between = assemble(tokenizer, [], [mark]).tokens.indexOf(mark);
  return { tokens: kept, begins: [begin, between + first.length] };
}

function specials(tokenizer, pair) {
  return assemble(tokenizer, [], pair ? [] : null).tokens.length;
}

function assemble(tokenizer, first, second) {
  const made = tokenizer.post_processor?.(first, second, true) ?? { tokens: first, tokens_pair: second };
  if (made.tokens_pair) return { tokens: [...made.tokens, ...made.tokens_pair], token_type_ids: [...made.tokens.map(() => 0), ...made.tokens_pair.map(() => 1)] };
  // RoBERTa's texts are of one type, for which tokenizers.js has two
  return tokenizer.post_processor?.config.type === "RobertaProcessing" ? { tokens: made.tokens } : made;
}

const IDEOGRAPHS = /[\u{20000}-\u{2a6df}\u{2a700}-\u{2b73f}\u{2b740}-\u{2b81f}\u{2b820}-\u{2ceaf}\u{2f800}-\u{2fa1f}]/gu;

/**
 * A text on which BERT's normalizer of tokenizers.js 0.2.0 does what it should: it takes characters beyond U+FFFF for two, so
 * these ideographs would stay together, and lowers a capital sigma at a word's end to the final one.
 */
function mended(tokenizer, text) {
  const { type, handle_chinese_chars: parted, lowercase } = tokenizer.normalizer?.config ?? {};
  if (type !== "BertNormalizer") return text;
  const spaced = parted ? text.replace(IDEOGRAPHS, " $& ") : text;
  return lowercase ? spaced.replaceAll("\u03a3", "\u03c3") : spaced;
}
