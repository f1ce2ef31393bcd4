// Puts special tokens around the tokens of one text, or of two: the `post_processor` of tokenizer.json.
import { CHARACTERS } from './byte_level';
import { flag, type Json, type JsonObject, list, number, numbers, object, objects, Refused, text } from './json';
import { pointsOf, SPACE } from './piece';
import * as unicode from './unicode';
import type { Token } from './vocabulary';

/** In `sequence`: a token that stands for no text. */
export const SPECIAL = -1;

/** A token in its place: its type, and the text it comes from (0, 1, or SPECIAL). */
export interface Placed {
  readonly token: Token;
  readonly type: number;
  readonly sequence: number;
}

export interface PostProcessor {
  /** How many special tokens are added to one text, or to a pair. */
  added(pair: boolean): number;
  /** Characters of tokens as they are told in the end; some don't count the spaces at a token's ends. */
  trimmed(tokens: readonly Token[]): readonly Token[];
  assembled(first: readonly Token[], second: readonly Token[] | null): Placed[];
}

/** What a token of some id is called. */
export type Names = (id: number) => string | undefined;

/** A place in a template: a text, or special tokens. */
interface Slot {
  readonly sequence: number;
  readonly ids: readonly number[];
  readonly type: number;
}

/** The post-processor that tokenizer.json describes; one that adds nothing for null. */
export function postProcessor(json: JsonObject | null, names: Names): PostProcessor {
  if (json === null) return template([slot(0)], [slot(0), slot(1, 1)]);
  const type = text(json.type, 'type');
  switch (type) {
    case 'TemplateProcessing':
      return templateOf(json);
    case 'BertProcessing':
      return bert(json);
    case 'RobertaProcessing':
      return trims(json) ? trimming(roberta(json), json, names) : roberta(json);
    case 'ByteLevel':
      return trims(json) ? trimming(postProcessor(null, names), json, names) : postProcessor(null, names);
    case 'Sequence':
      return inTurn(objects(json.processors, 'processors'), names);
    default:
      throw new Refused(`the post-processor '${type}' isn't known to this code`);
  }
}

/** Of several steps, the template and what trims go together; nothing else is known to come in one. */
function inTurn(steps: readonly JsonObject[], names: Names): PostProcessor {
  const others = steps.filter((step) => step.type !== 'ByteLevel');
  if (others.length > 1) throw new Refused(`a post-processor 'Sequence' of ${others.length} templates isn't known to this code`);
  const trimmers = steps.filter((step) => step.type === 'ByteLevel' && trims(step));
  return trimmers.reduce((inner, step) => trimming(inner, step, names), postProcessor(others[0] ?? null, names));
}

function trims(json: JsonObject): boolean {
  return flag(json, 'trim_offsets', true);
}

function slot(sequence: number, type = 0): Slot {
  return { sequence, ids: [], type };
}

function special(json: Json | undefined, name: string, type = 0): Slot {
  return { sequence: SPECIAL, ids: [number(list(json, name)[1], name)], type };
}

function bert({ cls, sep }: JsonObject): PostProcessor {
  const [begin, end] = [special(cls, 'cls'), special(sep, 'sep')];
  return template([begin, slot(0), end], [begin, slot(0), end, slot(1, 1), special(sep, 'sep', 1)]);
}

function roberta({ cls, sep }: JsonObject): PostProcessor {
  const [begin, end] = [special(cls, 'cls'), special(sep, 'sep')];
  return template([begin, slot(0), end], [begin, slot(0), end, end, slot(1), end]);
}

function templateOf(json: JsonObject): PostProcessor {
  const known = object(json.special_tokens, 'special_tokens');
  const slots = (value: Json | undefined, name: string) => objects(value, name).map((piece) => templateSlot(piece, known));
  return template(slots(json.single, 'single'), slots(json.pair, 'pair'));
}

function templateSlot(piece: JsonObject, known: JsonObject): Slot {
  const [kind] = Object.keys(piece);
  const said = object(piece[kind], kind);
  const [name, type] = [text(said.id, 'id'), number(said.type_id, 'type_id')];
  if (kind === 'Sequence') return slot(name === 'A' ? 0 : 1, type);
  if (known[name] === undefined) throw new Refused(`the template names '${name}', which isn't among its special tokens`);
  return { sequence: SPECIAL, ids: numbers(object(known[name], name).ids, 'ids'), type };
}

/** Texts and special tokens in the order of a template. */
function template(single: readonly Slot[], pair: readonly Slot[]): PostProcessor {
  return {
    added: (two) => (two ? pair : single).reduce((sum, { ids }) => sum + ids.length, 0),
    trimmed: (tokens) => tokens,
    assembled: (first, second) => {
      const made: Placed[] = [];
      for (const { sequence, ids, type } of second === null ? single : pair) {
        const own = sequence === 0 ? first : sequence === 1 ? (second ?? []) : ids.map((id) => ({ id, begin: 0, end: 0 }));
        for (const token of own) made.push({ token, type, sequence });
      }
      return made;
    },
  };
}

/** Takes the spaces at the ends of byte-level tokens out of their characters. */
function trimming(inner: PostProcessor, json: JsonObject, names: Names): PostProcessor {
  const prefix = flag(json, 'add_prefix_space', true);
  return {
    added: (pair) => inner.added(pair),
    assembled: (first, second) => inner.assembled(first, second),
    trimmed: (tokens) =>
      inner.trimmed(tokens).map((token, place) => {
        const points = pointsOf(token.written ?? names(token.id) ?? '');
        const leading = run(points);
        const trailing = run([...points].reverse());
        // the space that was put in front of the text isn't one of the text's
        const own = leading > 0 && prefix && (place === 0 || token.begin === 0) ? leading - 1 : leading;
        const begin = Math.min(token.begin + own, token.end);
        return { id: token.id, begin, end: token.end >= trailing ? Math.max(token.end - trailing, begin) : token.end };
      }),
  };
}

/** How many spaces are in front. */
function run(points: readonly number[]): number {
  const end = points.findIndex((point) => point !== CHARACTERS[SPACE] && !unicode.whitespace.has(point));
  return end < 0 ? points.length : end;
}
