// What is done to code points, frozen: JavaScript engines of phones differ in their tables, and some have no \p{...}.
// Read from UNICODE_TABLE, which android_demo/core/unicode_table.py writes; the order here is the order there.
import { UNICODE_TABLE } from './unicode_table';

/** A set of code points as ranges: `bounds` has the first of each and the one after its last, ascending. */
export class CodePointSet {
  constructor(private readonly bounds: readonly number[]) {}

  has(point: number): boolean {
    let low = 0;
    let high = this.bounds.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.bounds[middle] <= point) low = middle + 1;
      else high = middle;
    }
    return low % 2 === 1;
  }
}

type Parts = readonly number[];

// The Unicode Standard, section 3.12, "Conjoining Jamo Behavior"
const SYLLABLE = 0xac00;
const LEAD = 0x1100;
const VOWEL = 0x1161;
const TAIL = 0x11a7;
const LEADS = 19;
const VOWELS = 21;
const TAILS = 28;
const SYLLABLES = LEADS * VOWELS * TAILS;
const DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

const table = decoded(UNICODE_TABLE);
let place = 0;

/** Characters that BertNormalizer's clean_text removes. */
export const control = readSet();
/** Characters that clean_text makes a space. */
export const cleanedToSpace = readSet();
/** Characters that handle_chinese_chars puts spaces around. */
export const ideographs = readSet();
/** Marks that BertNormalizer's strip_accents removes. */
export const nonspacingMarks = readSet();
/** Marks that StripAccents removes. */
export const marks = readSet();
/** Rust's char::is_whitespace. */
export const whitespace = readSet();
/** Punctuation of BertPreTokenizer. */
export const bertPunctuation = readSet();
/** Punctuation of the pre-tokenizer of that name. */
export const punctuation = readSet();
/** \p{L} of byte-level BPE's regular expression. */
export const letters = readSet();
/** \p{N} of that expression. */
export const numerals = readSet();
/** \s of that expression. */
export const spaces = readSet();
/** \w of the pre-tokenizer Whitespace. */
export const wordCharacters = readSet();
/** Digits of the pre-tokenizer of that name. */
export const digits = readSet();
/** Characters that come apart and are never put together again. */
const excluded = readSet();
/** Characters that make one cluster with the one before them: in the table for the Android app's 'Precompiled'. */
export const joining = readSet();

const smallLetters = readMap();
const canonical = readMap();
const compatible = readMap();
const classes = readMap();
/** Composites by their two parts, in one number. */
const composites = pairs();

/** The small letter; nothing, where a character stays. Two code points in one case, the dotted I. */
export function lower(point: number): Parts | undefined {
  return smallLetters.get(point);
}

/** What a code point comes apart into in NFD, or in NFKD; nothing where it stays. */
export function decomposition(point: number, compatibility: boolean): Parts | undefined {
  return jamo(point) ?? (compatibility ? compatible.get(point) : undefined) ?? canonical.get(point);
}

/** The canonical combining class; 0 of what begins a cluster. */
export function combiningClass(point: number): number {
  return classes.get(point)?.[0] ?? 0;
}

/** What two code points are put together to in NFC. */
export function composed(first: number, second: number): number | undefined {
  return syllable(first, second) ?? composites.get(key(first, second));
}

function pairs(): Map<number, number> {
  const byParts = [...canonical].filter(([point, parts]) => parts.length > 1 && !excluded.has(point));
  const made = new Map<number, number>();
  // a character of three parts is put together of that of the first two, and the third
  for (const [point, parts] of byParts.sort(([, one], [, other]) => one.length - other.length)) {
    let first = parts[0];
    for (const next of parts.slice(1, -1)) first = made.get(key(first, next)) ?? first;
    made.set(key(first, parts[parts.length - 1]), point);
  }
  return made;
}

function key(first: number, second: number): number {
  return first * 0x200000 + second;
}

function jamo(point: number): Parts | undefined {
  const at = point - SYLLABLE;
  if (at < 0 || at >= SYLLABLES) return undefined;
  const parts = [LEAD + Math.floor(at / (VOWELS * TAILS)), VOWEL + Math.floor((at % (VOWELS * TAILS)) / TAILS)];
  return at % TAILS === 0 ? parts : [...parts, TAIL + (at % TAILS)];
}

function syllable(first: number, second: number): number | undefined {
  const [lead, vowel, at, tail] = [first - LEAD, second - VOWEL, first - SYLLABLE, second - TAIL];
  if (lead >= 0 && lead < LEADS && vowel >= 0 && vowel < VOWELS) return SYLLABLE + (lead * VOWELS + vowel) * TAILS;
  return at >= 0 && at < SYLLABLES && at % TAILS === 0 && tail >= 1 && tail < TAILS ? first + tail : undefined;
}

function readSet(): CodePointSet {
  const bounds: number[] = [];
  let end = 0;
  for (let left = 2 * read(); left > 0; left--) {
    end += read();
    bounds.push(end);
  }
  return new CodePointSet(bounds);
}

function readMap(): Map<number, Parts> {
  const made = new Map<number, Parts>();
  let point = 0;
  for (let left = read(); left > 0; left--) {
    point += read();
    const start = point;
    made.set(point, Array.from({ length: read() }, () => start + unfolded(read())));
  }
  return made;
}

/** 0, 1, 2, 3, ... as 0, -1, 1, -2, ... */
function unfolded(value: number): number {
  return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
}

/** A number of seven bits a byte, the lowest first; the eighth bit says that more follow. */
function read(): number {
  let made = 0;
  for (let shift = 0; ; shift += 7) {
    const byte = table[place++];
    made |= (byte & 0x7f) << shift;
    if (byte < 0x80) return made;
  }
}

function decoded(base64: string): Uint8Array {
  const made = new Uint8Array((base64.replace(/=+$/, '').length * 3) >> 2);
  let [held, bits, at] = [0, 0, 0];
  for (const digit of base64) {
    const value = DIGITS.indexOf(digit);
    if (value < 0) continue;
    held = ((held << 6) | value) & 0xffff;
    bits += 6;
    if (bits >= 8) made[at++] = (held >> (bits -= 8)) & 0xff;
  }
  return made;
}
