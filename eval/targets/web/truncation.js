// Truncation as Hugging Face's tokenizers do it by default (longest first, on the right); tokenizers.js has none.

/**
 * Cut one text, or a pair, to `room` tokens (special tokens apart).
 * Of a pair the longer text is cut first; when both are longer than half the room, each keeps half and the longer one
 * the odd token (the second, if they are equally long).
 * Returns [first, second or null, whether anything was cut].
 */
export function truncate(first, second, room) {
  if (first.length + (second?.length ?? 0) <= room) return [first, second, false];
  if (second === null) return [first.slice(0, Math.max(0, room)), null, true];
  const [shorter, longer] = shares(Math.min(first.length, second.length), room);
  const [a, b] = first.length > second.length ? [longer, shorter] : [shorter, longer];
  return [first.slice(0, a), second.slice(0, b), true];
}

function shares(shorter, room) {
  const half = Math.floor(room / 2);
  return shorter <= half ? [shorter, room - shorter] : [half, room - half];
}

const MOST_OF_QUESTION = 64;

/**
 * A question and its context as windows of at most `room` tokens, which have `stride` tokens of the context in common:
 * what `truncateSecond` returns for each, and as fourth how many tokens of the context stand before it.
 */
export function windows(question, context, room, maxLength, stride) {
  const asked = question.slice(0, Math.min(MOST_OF_QUESTION, Math.floor(maxLength / 2)));
  const most = room - asked.length;
  const made = [];
  for (let begin = 0; !made.length || begin + stride < context.length; begin += most - stride) {
    made.push([asked, context.slice(begin, begin + most), !begin && asked.length < question.length, begin]);
  }
  return made;
}

/**
 * Cut a question and its context to `room` tokens: of the question at most 64, or half of what the model takes, and the
 * context to what is left. Returns what `truncate` does.
 */
export function truncateSecond(question, context, room, maxLength) {
  const asked = question.slice(0, Math.min(MOST_OF_QUESTION, Math.floor(maxLength / 2)));
  const kept = context.slice(0, Math.max(0, room - asked.length));
  return [asked, kept, asked.length < question.length || kept.length < context.length];
}
