// Answers what is being written: while the model is at work only the newest texts wait, and no older answer is shown.
import type { TextModel, TimedAnswer } from './text_model';

/** An answer, and the texts that it is to. */
export interface Answered extends TimedAnswer {
  readonly texts: readonly string[];
}

/** A function that is called with every change of the texts; nothing is found where one is empty. */
export function startAnswering(
  model: Pick<TextModel, 'answer' | 'manifest'>,
  show: (found: Answered | null) => void,
  fail: (error: Error) => void,
): (texts: readonly string[]) => void {
  let busy = false;
  let waiting: readonly string[] | null = null;
  const work = async () => {
    busy = true;
    try {
      while (waiting !== null) {
        const texts: readonly string[] = waiting;
        waiting = null;
        const found = texts.every((text) => text.trim()) ? { ...(await model.answer(texts)), texts } : null;
        if (waiting === null) show(found);
      }
    } catch (error) {
      fail(error as Error);
    } finally {
      busy = false;
    }
  };
  return (texts) => {
    waiting = texts.slice(0, model.manifest.texts);
    if (!busy) void work();
  };
}
