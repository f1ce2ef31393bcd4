// Byte-pair encoding (Sennrich et al. 2016): neighbours are joined in the order in which training joined them.
import { flag, type Json, type JsonObject, list, object, Refused, text, texts } from './json';
import type { Piece } from './piece';
import { byteIds, type Model, spelled, tokenOf, vocabulary } from './vocabulary';

/** The place among all merges, and the token that is made. */
interface Merge {
  readonly rank: number;
  readonly id: number;
}

type Merges = ReadonlyMap<number, Merge>;

/** A part of a word: its token, and its code points. */
interface Part {
  readonly id: number;
  readonly from: number;
  readonly to: number;
}

interface Settings {
  readonly known: ReadonlyMap<string, number>;
  readonly unknown: number | undefined;
  readonly fusesUnknown: boolean;
  readonly takesWholeWords: boolean;
  readonly bytes: readonly number[] | null;
}

const UNKNOWN_SETTINGS = ['dropout', 'continuing_subword_prefix', 'end_of_word_suffix'];
/** More than any id: two ids make one number, exactly. */
const IDS = 0x4000000;

export function bytePairs(json: JsonObject): Model {
  for (const name of UNKNOWN_SETTINGS) if (json[name]) throw new Refused(`BPE with '${name}' isn't known to this code`);
  const known = vocabulary(object(json.vocab, 'vocab'));
  const merges = mergesOf(list(json.merges, 'merges'), known);
  const settings: Settings = {
    known,
    unknown: typeof json.unk_token === 'string' ? known.get(json.unk_token) : undefined,
    fusesUnknown: flag(json, 'fuse_unk', false),
    takesWholeWords: flag(json, 'ignore_merges', false),
    bytes: flag(json, 'byte_fallback', false) ? byteIds(known) : null,
  };
  return (piece, out) => {
    const whole = settings.takesWholeWords ? known.get(piece.text()) : undefined;
    const parts = whole === undefined ? joined(partsOf(piece, settings), merges) : [{ id: whole, from: 0, to: piece.size }];
    out.push(...parts.map(({ id, from, to }) => tokenOf(id, piece, from, to)));
  };
}

/** A part for each code point; those in no vocabulary are unknown, spelled in bytes, or left out, as asked for. */
function partsOf(piece: Piece, { known, unknown, fusesUnknown, bytes }: Settings): Part[] {
  const made: Part[] = [];
  let lastUnknown = false;
  for (let place = 0; place < piece.size; place++) {
    const id = known.get(piece.text(place, place + 1));
    if (id !== undefined || bytes !== null) {
      const ids = id !== undefined ? [id] : spelled([piece.points[place]], bytes ?? []);
      made.push(...ids.map((one) => ({ id: one, from: place, to: place + 1 })));
      lastUnknown = false;
    } else if (lastUnknown && fusesUnknown) {
      made[made.length - 1] = { ...made[made.length - 1], to: place + 1 };
    } else if (unknown !== undefined) {
      made.push({ id: unknown, from: place, to: place + 1 });
      lastUnknown = true;
    }
  }
  return made;
}

/** The merge of the lowest rank first, of equal ones the leftmost, until none is left. Words are short: no queue is kept. */
function joined(parts: Part[], merges: Merges): Part[] {
  for (;;) {
    let best: Merge | undefined;
    let at = 0;
    for (let place = 0; place + 1 < parts.length; place++) {
      const merge = merges.get(pair(parts[place].id, parts[place + 1].id));
      if (merge !== undefined && (best === undefined || merge.rank < best.rank)) [best, at] = [merge, place];
    }
    if (best === undefined) return parts;
    parts.splice(at, 2, { id: best.id, from: parts[at].from, to: parts[at + 1].to });
  }
}

/** A merge is a list of two tokens, or in older files both in a string with a space between. */
function mergesOf(json: readonly Json[], known: ReadonlyMap<string, number>): Merges {
  const made = new Map<number, Merge>();
  json.forEach((row, rank) => {
    const [left, right] = Array.isArray(row) ? texts(row, 'merges') : text(row, 'merges').split(' ');
    const [first, second, id] = [left, right, left + right].map((token) => known.get(token));
    if (first === undefined || second === undefined || id === undefined) {
      throw new Refused(`the merge of '${left}' and '${right}' isn't in the vocabulary`);
    }
    made.set(pair(first, second), { rank, id });
  });
  return made;
}

function pair(left: number, right: number): number {
  return left * IDS + right;
}
