// A text in parts, some of them marked: what is drawn of entities, and of a span of a context.
import type { Answer } from './core/answer';

export interface Part {
  readonly text: string;
  /** Its label; null of what is not marked; empty of the span that answers a question. */
  readonly label: string | null;
}

/** Parts of the text that an answer marks; none where an answer marks nothing. */
export function partsOf(answer: Answer, text: string): Part[] {
  if (answer.kind === 'tags') return cut(text, answer.entities);
  return answer.kind === 'span' && answer.end > answer.begin ? cut(text, [{ ...answer, label: '' }]) : [];
}

function cut(text: string, marked: readonly { label: string; begin: number; end: number }[]): Part[] {
  const made: Part[] = [];
  let done = 0;
  for (const { label, begin, end } of marked) {
    if (begin > done) made.push({ text: text.slice(done, begin), label: null });
    made.push({ text: text.slice(begin, end), label });
    done = end;
  }
  if (done < text.length) made.push({ text: text.slice(done), label: null });
  return made;
}

/** What a marked part is told as, for those who can't see that it is marked. */
export function spoken(parts: readonly Part[]): string {
  return parts.map(({ text, label }) => (label ? `${text} (${label})` : text)).join('');
}
