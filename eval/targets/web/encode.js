// A text, or a pair, as token ids: what Hugging Face's tokenizers give for it, special tokens in, cut to the model's length.
import { truncate } from "./truncation.js";

/** Answers {ids, types, truncated} for [text] or [text, pair]. */
export function encode(tokenizer, maxLength, [text, pair]) {
  const tokens = [text, pair].map((part) => (part === undefined ? null : tokenizer.tokenize(part, { add_special_tokens: false })));
  const [first, second, truncated] = truncate(tokens[0], tokens[1], maxLength - specials(tokenizer, tokens[1] !== null));
  const whole = assemble(tokenizer, first, second);
  const ids = whole.tokens.map((token) => tokenizer.token_to_id(token) ?? tokenizer.model.unk_token_id);
  return { ids, types: whole.token_type_ids ?? ids.map(() => 0), truncated };
}

function specials(tokenizer, pair) {
  return assemble(tokenizer, [], pair ? [] : null).tokens.length;
}

function assemble(tokenizer, first, second) {
  if (tokenizer.post_processor) return tokenizer.post_processor(first, second, true);
  return { tokens: [...first, ...(second ?? [])] };
}
