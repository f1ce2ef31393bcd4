// Tokenizers from Hugging Face's tokenizer.json: WordPiece, byte-level BPE and Unigram.
import { addedTokens } from './added_tokens';
import { type JsonObject, number, object, objects, optionalObject, parsed, text } from './json';
import { tokenModel } from './models';
import { normalizer } from './normalizers';
import { Piece } from './piece';
import { type Names, type Placed, postProcessor } from './post_processors';
import { preTokenizer } from './pre_tokenizers';
import { type Token, tokenOf } from './vocabulary';

/** A text as a model takes it: one place per token in every list, unpadded. */
export interface Encoded {
  readonly ids: readonly number[];
  /** 0 for tokens of the first text, 1 for those of the second, as the model was trained. */
  readonly typeIds: readonly number[];
  /** For each token its first character (UTF-16) in the text it comes from; 0 for special tokens. */
  readonly begins: readonly number[];
  /** For each token the character after its last; 0 for special tokens. */
  readonly ends: readonly number[];
  /** For each token the text it comes from: 0, 1, or SPECIAL. */
  readonly sequences: readonly number[];
  /** Whether something was cut off. */
  readonly truncated: boolean;
}

/** Which of two texts is cut when both together are too long: the longer one first, or only the second. */
export type Truncation = 'longest_first' | 'only_second';

export interface Tokenizer {
  /**
   * Token ids of a text, or of two together, with the special tokens of the model.
   *
   * maxLength: longest result in tokens, specials included.
   */
  encode(text: string, pair: string | null, maxLength: number, truncation?: Truncation): Encoded;
  /** Tokens of a text alone, without special tokens, uncut. */
  tokens(text: string): Encoded;
}

/**
 * The tokenizer that a tokenizer.json describes. Its own truncation and padding don't count: palmtop cuts at the model's
 * length and pads nothing.
 *
 * Throws Refused: it asks for what isn't known here, by name; nothing is left out in silence.
 */
export function tokenizerOf(content: string): Tokenizer {
  const json = parsed(content, 'tokenizer.json');
  const added = json.added_tokens ? objects(json.added_tokens, 'added_tokens') : [];
  const normalize = normalizer(optionalObject(json, 'normalizer'));
  const { asWritten, asNormalized } = addedTokens(added, normalize);
  const split = preTokenizer(optionalObject(json, 'pre_tokenizer'));
  const model = tokenModel(object(json.model, 'model'));
  const post = postProcessor(optionalObject(json, 'post_processor'), namesOf(json, added));

  const sought = (whole: string): Token[] => {
    const found: Token[] = [];
    for (const part of asWritten(Piece.of(whole))) {
      const inner = part.id === null ? asNormalized(normalize(part.piece)) : [part];
      for (const { piece, id } of inner) {
        if (id !== null) found.push({ ...tokenOf(id, piece), written: piece.text() });
        else if (piece.size > 0) split(piece).forEach((word) => word.size > 0 && model(word, found));
      }
    }
    return found;
  };
  return {
    encode: (first, second, maxLength, truncation = 'longest_first') => {
      const [one, two] = [sought(first), second === null ? null : sought(second)];
      const room = Math.max(0, maxLength - post.added(two !== null));
      const [a, b] = kept(one.length, two?.length ?? null, room, truncation);
      const placed = post.assembled(post.trimmed(one.slice(0, a)), two === null ? null : post.trimmed(two.slice(0, b)));
      return encoded(placed, a < one.length || (two !== null && b < two.length));
    },
    tokens: (whole) => encoded(post.trimmed(sought(whole)).map((token) => ({ token, type: 0, sequence: 0 })), false),
  };
}

function namesOf(json: JsonObject, added: readonly JsonObject[]): Names {
  const vocab = object(json.model, 'model').vocab;
  const known = new Map<number, string>();
  if (vocab !== undefined && !Array.isArray(vocab)) {
    for (const [token, id] of Object.entries(object(vocab, 'vocab'))) known.set(number(id, token), token);
  }
  for (const row of added) known.set(number(row.id, 'id'), text(row.content, 'content'));
  return (id) => known.get(id);
}

function encoded(placed: readonly Placed[], truncated: boolean): Encoded {
  return {
    ids: placed.map(({ token }) => token.id),
    typeIds: placed.map(({ type }) => type),
    begins: placed.map(({ token }) => token.begin),
    ends: placed.map(({ token }) => token.end),
    sequences: placed.map(({ sequence }) => sequence),
    truncated,
  };
}

/** How many tokens of each text are kept in a room for both, special tokens apart, as Hugging Face's tokenizers do it. */
function kept(first: number, second: number | null, room: number, truncation: Truncation): [number, number] {
  const excess = first + (second ?? 0) - room;
  if (excess <= 0) return [first, second ?? 0];
  if (second === null) return [room, 0];
  if (truncation === 'longest_first') return longestFirst(first, second, room);
  if (second <= excess) throw new Error(`the first text alone is too long: ${first} tokens of ${room}`);
  return [first, second - excess];
}

function longestFirst(first: number, second: number, room: number): [number, number] {
  const shorter = Math.min(first, second);
  const longer = shorter > room ? shorter : Math.max(shorter, room - shorter);
  const half = Math.floor(room / 2);
  const [small, large] = shorter + longer > room ? [half, room - half] : [shorter, longer];
  return first > second ? [large, small] : [small, large];
}
