// Which characters of a text a token stands for: the JavaScript tokenizer doesn't say, so its tokens are looked up in the text.

const SPACE = "\u0120";
const WORD_BEGIN = "\u2581";
const IDEOGRAPH = "\\u3400-\\u4dbf\\u4e00-\\u9fff\\uf900-\\ufaff\\u{20000}-\\u{2ceaf}\\u{2f800}-\\u{2fa1f}";
const UNKNOWN = new RegExp(`^(?:[${IDEOGRAPH}]|[^\\s\\p{P}$+<=>^\`|~${IDEOGRAPH}]+|.)`, "u");

/**
 * [begin, end] of each token, in UTF-16 units of the text; both are the end of the token before where one stands for no character.
 * known: what tokenizer.json says.
 */
export function placesOf(text, tokens, known) {
  const byteLevel = JSON.stringify([known.pre_tokenizer, known.decoder]).includes('"ByteLevel"');
  return byteLevel ? byBytes(text, tokens) : byLetters(text, tokens, known.model.unk_token ?? known.model.vocab[known.model.unk_id]?.[0]);
}

/** Byte-level tokens have a letter for each byte of the text. */
function byBytes(text, tokens) {
  const starts = [];
  let at = 0;
  for (const letter of text) {
    const bytes = new TextEncoder().encode(letter).length;
    for (let byte = 0; byte < bytes; byte++) starts.push([at, at + letter.length]);
    at += letter.length;
  }
  let from = tokens[0]?.startsWith(SPACE) && !/^\s/.test(text) ? -1 : 0; // a space that the tokenizer puts in front isn't the text's
  return tokens.map((token) => {
    const own = starts.slice(Math.max(0, from), Math.max(0, (from += token.length)));
    return own.length ? trimmed(text, own[0][0], own.at(-1)[1]) : [0, 0];
  });
}

function trimmed(text, begin, end) {
  const piece = text.slice(begin, end);
  return [begin + piece.length - piece.trimStart().length, end];
}

/** Other tokens are compared with the text without accents and case, which normalizers change. */
function byLetters(text, tokens, unknown) {
  const { folded, places } = foldedText(text);
  let from = 0;
  const nothing = () => Array(2).fill(from ? places[from - 1][1] : 0);
  return tokens.map((token, number) => {
    const letters = fold(token.replace(/^##/, "").replaceAll(WORD_BEGIN, ""));
    // what is put in front of a text counts as its first character, as Hugging Face has it
    if (!number && token === WORD_BEGIN && /^\S/.test(text)) return places[0];
    if (token === unknown && !folded.startsWith(fold(token), skipSpaces(folded, from))) {
      const [begin, end] = unknownWord(folded, from);
      from = end;
      return begin < end ? [places[begin][0], places[end - 1][1]] : nothing();
    }
    const found = letters ? folded.indexOf(letters, from) : -1;
    if (found < 0) return nothing();
    from = found + letters.length;
    return [places[found][0], places[from - 1][1]];
  });
}

function fold(text) {
  return text.normalize("NFKD").replace(/\p{Mn}/gu, "").toLowerCase();
}

/** The text as it is compared, and for each of its units where that stood. */
function foldedText(text) {
  const places = [];
  let [folded, at] = ["", 0];
  for (const letter of text) {
    const plain = fold(letter);
    folded += plain;
    for (let unit = 0; unit < plain.length; unit++) places.push([at, at + letter.length]);
    at += letter.length;
  }
  return { folded, places };
}

function skipSpaces(folded, from) {
  while (from < folded.length && /\s/.test(folded[from])) from++;
  return from;
}

/** What no token is known for: characters up to the next space or sign, a sign, or an ideograph. */
function unknownWord(folded, from) {
  const begin = skipSpaces(folded, from);
  const word = UNKNOWN.exec(folded.slice(begin));
  return [begin, begin + (word ? word[0].length : 0)];
}
