// The span of a context that answers a question.
import { isSpace, type Place } from './words';

/** Stands for the logits of what is no token of the context. */
export const OUTSIDE = -1e4;

/** Longest answer in tokens, as in BERT's run_squad.py (Devlin et al. 2018). */
const MOST_TOKENS = 30;

/** First and last token of the span with the largest sum of start and end logit; the shortest, then the first, of equal
 * ones. Sums are float32, as everywhere. */
export function bestSpan(starts: readonly number[], ends: readonly number[]): [number, number] {
  let best = -Infinity;
  let found: [number, number] = [0, 0];
  for (const [first, last] of spansOf(starts.length)) {
    const sum = Math.fround(starts[first] + ends[last]);
    if (sum > best) [best, found] = [sum, [first, last]];
  }
  return found;
}

/** The probability of the best span among all that bestSpan looks at, and nothing, the sum of no answer, where there may be
 * none: the softmax of the sums. That of no answer where it isn't answered. */
export function spanScore(starts: readonly number[], ends: readonly number[], nothing: number | null, answered = true): number {
  const sums = spansOf(starts.length).map(([first, last]) => starts[first] + ends[last]);
  const chosen = answered || nothing === null ? sums.reduce((a, b) => Math.max(a, b), -Infinity) : nothing;
  const every = nothing === null ? sums : [...sums, nothing];
  return 1 / every.reduce((sum, each) => sum + Math.exp(each - chosen), 0);
}

/** A place without the spaces around it. */
export function trimmed(context: string, { begin, end }: Place): Place {
  let [from, to] = [begin, end];
  while (from < to && isSpace(context, from)) from++;
  while (to > from && isSpace(context, to - 1)) to--;
  return { begin: from, end: to };
}

/** First and last token of every span, short ones first. */
function spansOf(tokens: number): [number, number][] {
  const made: [number, number][] = [];
  for (let more = 0; more < Math.min(MOST_TOKENS, tokens); more++) {
    for (let first = 0; first < tokens - more; first++) made.push([first, first + more]);
  }
  return made;
}
