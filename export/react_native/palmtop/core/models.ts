// Finds tokens in a piece of a text: the `model` of tokenizer.json.
import { bytePairs } from './byte_pairs';
import { type JsonObject, object, Refused } from './json';
import { unigram } from './unigram';
import type { Model } from './vocabulary';
import { wordPiece } from './word_piece';

/** The model that tokenizer.json describes. */
export function tokenModel(json: JsonObject): Model {
  const type = object(json, 'model').type ?? 'none';
  switch (type) {
    case 'WordPiece':
      return wordPiece(json);
    case 'BPE':
      return bytePairs(json);
    case 'Unigram':
      return unigram(json);
    default:
      throw new Refused(`the model '${String(type)}' isn't known to this code: WordPiece, BPE and Unigram are`);
  }
}
