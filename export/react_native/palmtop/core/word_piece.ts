// The longest token that fits, from left to right (Devlin et al. 2018); a word that doesn't come out is unknown.
import { type JsonObject, number, object, Refused, text } from './json';
import type { Piece } from './piece';
import { type Model, type Token, tokenOf, vocabulary } from './vocabulary';

export function wordPiece(json: JsonObject): Model {
  const known = vocabulary(object(json.vocab, 'vocab'));
  const name = text(json.unk_token, 'unk_token');
  const unknown = known.get(name);
  if (unknown === undefined) throw new Refused(`the unknown token '${name}' isn't in the vocabulary`);
  const prefix = text(json.continuing_subword_prefix ?? '##', 'continuing_subword_prefix');
  const longest = number(json.max_input_chars_per_word ?? 100, 'max_input_chars_per_word');
  return (piece, out) => {
    const found = piece.size > longest ? null : pieces(piece, known, prefix);
    out.push(...(found ?? [tokenOf(unknown, piece)]));
  };
}

/** The tokens of a word; null where some of its code points are in no token. */
function pieces(piece: Piece, known: ReadonlyMap<string, number>, prefix: string): Token[] | null {
  const made: Token[] = [];
  let from = 0;
  while (from < piece.size) {
    let to = piece.size;
    let id: number | undefined;
    for (; to > from; to--) {
      id = known.get((from > 0 ? prefix : '') + piece.text(from, to));
      if (id !== undefined) break;
    }
    if (id === undefined) return null;
    made.push(tokenOf(id, piece, from, to));
    from = to;
  }
  return made;
}
