// How answers are shown: labels with bars, a number, words marked in the text.

const SHOWN = 5;

/** The lines of an answer: of many labels the first few, and all that are given. */
export function lines(kind, answers) {
  if (kind === "regression") return answers.map(({ label, share }) => line("number", label, share.toFixed(3)));
  if (kind === "token_classification") return answers.map(({ label, text }) => line("entity", text, label));
  return answers.filter(({ given }, place) => given || place < SHOWN).map(shared);
}

/** The text with what is marked in it; a label goes by its colour and by its name. */
export function marked(text, marks) {
  const pieces = [];
  let from = 0;
  for (const { begin, end, label } of marks) {
    pieces.push(text.slice(from, begin), mark(text.slice(begin, end), label));
    from = end;
  }
  return [...pieces, text.slice(from)];
}

function shared({ label, share, threshold, given, nothing }, place) {
  const kind = threshold === undefined ? (place === 0 ? "first" : "") : given ? "given" : "without";
  const track = element("div", "track");
  track.ariaHidden = "true";
  const bar = element("div", "bar");
  bar.style.width = `${100 * Math.min(1, Math.max(0, share))}%`;
  track.append(bar);
  if (threshold !== undefined) {
    const limit = element("div", "limit");
    limit.style.left = `${100 * threshold}%`;
    track.append(limit);
  }
  return line(kind, nothing ? "no answer" : given ? `\u2713 ${label}` : label, `${(100 * share).toFixed(1)} %`, track);
}

function line(kind, label, share, ...between) {
  const made = element("li", kind);
  made.append(element("span", "label", label), ...between, element("span", "share", share));
  return made;
}

function mark(words, label) {
  const made = element("mark", "", words);
  if (!label) return made;
  made.style.setProperty("--hue", hue(label));
  made.append(element("small", "", label));
  return made;
}

/** A colour of a label's own: the golden angle apart, by the number of its letters' codes. */
function hue(label) {
  return Math.round([...label].reduce((sum, letter) => sum * 31 + letter.codePointAt(0), 7) * 137.508) % 360;
}

function element(name, kind, words = "") {
  const made = document.createElement(name);
  made.className = kind;
  made.textContent = words;
  return made;
}
