// A .tflite for any number of tokens as one for a certain number: LiteRT.js has no call that gives an input another size.
// Sizes lie in the FlatBuffer as vectors that several tensors may share, so the new ones are written behind the file and
// the tensors are pointed at them; weights stay where they are.

const OPEN = -1;
/** Places of fields in TensorFlow Lite's schema (schema_v3c.fbs). */
const FIELD = { subgraphs: 2, tensors: 0, shape: 0, shapeSignature: 7 };

/**
 * A copy of the file for texts of `length` tokens.
 * file: a Uint8Array; longest: the number of tokens that its sizes stand at, the most that it takes.
 */
export function atLength(file, longest, length) {
  const table = reader(file);
  const made = [];
  const links = [];
  let end = file.length + (-file.length & 3);
  for (const tensor of tensors(table)) {
    const [shape, open] = [table.field(tensor, FIELD.shape), table.field(tensor, FIELD.shapeSignature)];
    const signature = table.numbers(open);
    if (!signature.includes(OPEN)) continue;
    const sizes = table.numbers(shape).map((size, axis) => (signature[axis] === OPEN ? resized(size, longest, length) : size));
    links.push([shape, end], [open, end]);
    made.push(sizes.length, ...sizes);
    end += 4 * (sizes.length + 1);
  }
  if (!links.length) throw new Error("model.tflite has no open size: it was made for fixed lengths");
  return written(file, made, links, end);
}

/** A size that follows the length: as many, a multiple of it, or some fewer. */
function resized(size, longest, length) {
  return size % longest === 0 ? (size / longest) * length : size - longest + length;
}

function written(file, made, links, end) {
  const whole = new Uint8Array(end);
  whole.set(file);
  const view = new DataView(whole.buffer);
  made.forEach((number, place) => view.setInt32(end - 4 * (made.length - place), number, true));
  for (const [place, target] of links) view.setUint32(place, target - place, true);
  return whole;
}

function* tensors(table) {
  for (const graph of table.tables(table.field(table.root, FIELD.subgraphs))) yield* table.tables(table.field(graph, FIELD.tensors));
}

/** What is read of a FlatBuffer: tables are known by where they begin, fields by where they lie, 0 where there is none. */
function reader(file) {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const follow = (place) => place + view.getUint32(place, true);
  const field = (table, number) => {
    const fields = table - view.getInt32(table, true);
    const entry = 4 + 2 * number;
    const offset = entry < view.getUint16(fields, true) ? view.getUint16(fields + entry, true) : 0;
    return offset ? table + offset : 0;
  };
  const places = (vector) => (vector ? Array.from({ length: view.getUint32(follow(vector), true) }, (_, item) => follow(vector) + 4 + 4 * item) : []);
  return {
    root: follow(0),
    field,
    tables: (vector) => places(vector).map(follow),
    numbers: (vector) => places(vector).map((place) => view.getInt32(place, true)),
  };
}
