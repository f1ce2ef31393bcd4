// Words of a text, the tokens they begin with, and the entities that their tags mark.
import { SPECIAL } from './post_processors';
import type { Encoded } from './tokenizer';
import * as unicode from './unicode';

/** Where something stands in a text: from its first character to the one after its last. */
export interface Place {
  readonly begin: number;
  readonly end: number;
}

/** An entity among words: its type, its first and its last word. */
export interface Marked {
  readonly label: string;
  readonly first: number;
  readonly last: number;
}

/** Of \w what is no letter, number or mark: connecting signs such as '_', the invisible joiners, circled letters. */
const ONLY_OF_EXPRESSIONS = new unicode.CodePointSet([
  0x5f, 0x60, 0x200c, 0x200e, 0x203f, 0x2041, 0x2054, 0x2055, 0x24b6, 0x24ea, 0xfe33, 0xfe35, 0xfe4d, 0xfe50, 0xff3f, 0xff40,
  0x1f130, 0x1f14a, 0x1f150, 0x1f16a, 0x1f170, 0x1f18a,
]);

/** The tag of a word that is part of no entity. */
export const NO_ENTITY = 'O';

/** The words of a text as a person writes it: parted at spaces, and signs at their beginning and end by themselves. */
export function wordsOf(text: string): Place[] {
  const found: Place[] = [];
  let place = 0;
  while (place < text.length) {
    if (isSpace(text, place)) {
      place += width(text, place);
      continue;
    }
    const start = place;
    while (place < text.length && !isSpace(text, place)) place += width(text, place);
    found.push(...wordAndSigns(text, start, place));
  }
  return found;
}

function wordAndSigns(text: string, start: number, end: number): Place[] {
  const before: Place[] = [];
  let first = start;
  while (first < end && !isOfAWord(text, first)) {
    before.push({ begin: first, end: first + width(text, first) });
    first += width(text, first);
  }
  const after: Place[] = [];
  let last = end;
  while (last > first && !isOfAWord(text, previous(text, last))) {
    after.unshift({ begin: previous(text, last), end: last });
    last = previous(text, last);
  }
  return last > first ? [...before, { begin: first, end: last }, ...after] : [...before, ...after];
}

/** The first token of each word; null where the word was cut off. */
export function firstTokens(encoded: Encoded, text: string, words: readonly Place[]): (number | null)[] {
  const tokens = encoded.ids.map((_, token) => placeOf(encoded, token, text));
  const real = tokens.map((_, token) => token).filter((token) => tokens[token].end > tokens[token].begin);
  let at = 0;
  return words.map((word) => {
    while (at < real.length && tokens[real[at]].end <= word.begin) at++;
    return at < real.length && tokens[real[at]].begin < word.end ? real[at] : null;
  });
}

/** A token's place, without spaces at its beginning; an empty one of tokens that stand for nothing of the text. */
function placeOf({ sequences, begins, ends }: Encoded, token: number, text: string): Place {
  if (sequences[token] === SPECIAL) return { begin: 0, end: 0 };
  let begin = begins[token];
  while (begin < ends[token] && isSpace(text, begin)) begin += width(text, begin);
  return { begin, end: ends[token] };
}

/** The entities that IOB2 tags mark; an `I-` that follows no tag of its type begins one, as conlleval has it. */
export function entities(tags: readonly string[]): Marked[] {
  const found: Marked[] = [];
  let open: string | null = null;
  let first = 0;
  [...tags, NO_ENTITY].forEach((tag, place) => {
    const dash = tag.indexOf('-');
    const [mark, type] = dash < 0 ? [tag, ''] : [tag.slice(0, dash), tag.slice(dash + 1)];
    if (open !== null && !(mark === 'I' && type === open)) {
      found.push({ label: open, first, last: place - 1 });
      open = null;
    }
    if (open === null && (mark === 'B' || mark === 'I')) [open, first] = [type || '_', place];
  });
  return found;
}

/** As Python has it, which counts the separators U+001C to U+001F too. */
export function isSpace(text: string, place: number): boolean {
  const point = text.codePointAt(place) as number;
  return unicode.whitespace.has(point) || (point >= 0x1c && point <= 0x1f);
}

function isOfAWord(text: string, place: number): boolean {
  const point = text.codePointAt(place) as number;
  if (unicode.letters.has(point) || unicode.numerals.has(point)) return true;
  return unicode.wordCharacters.has(point) && !ONLY_OF_EXPRESSIONS.has(point);
}

function width(text: string, place: number): number {
  return (text.codePointAt(place) as number) > 0xffff ? 2 : 1;
}

/** Where the character before a place begins. */
function previous(text: string, place: number): number {
  return place > 1 && (text.codePointAt(place - 2) as number) > 0xffff ? place - 2 : place - 1;
}
