// The benchmark: how long answers take on this device, and the numbers as JSON in the form that the Android app's has, which
// 'palmtop compare' reads.

const GOLDEN = "golden.jsonl";
const WARM_UP = 10;
const RUNS = 60;
const AT_ONCE = 10;

/** Show the panel; what it times is asked of the model's worker, some runs at a time, so that it can be stopped and others answered. */
export function offerBenchmark({ manifest, about, ask }) {
  const part = (id) => document.getElementById(`bench-${id}`);
  const panel = { start: part("start"), save: part("save"), share: part("share"), status: part("status"), table: part("table") };
  let running = false;
  let report;
  const tell = (words) => { panel.status.textContent = words; };
  const measured = async () => {
    const texts = await goldenTexts();
    const lengths = [];
    for (const length of about.lengths) {
      tell(`Measuring ${about.runtime}: ${lengths.length} of ${about.lengths.length} lengths. Leave this page in front.`);
      const times = await timed(() => running, (runs) => ask("time", { texts: texts[0], length, runs }));
      if (!times) return tell("Stopped; nothing was kept.");
      lengths.push({ ...quantiles(times), tokens: length });
      drawTable(panel.table, lengths);
    }
    const tokenization = quantiles((await ask("timeTokenizer", { texts: cycled(texts, WARM_UP + RUNS) })).slice(WARM_UP));
    drawTable(panel.table, lengths, tokenization);
    report = { ...described(manifest, about), lengths, tokenization };
    tell(`${about.runtime} ${about.version}, ${about.threads} ${about.threads === 1 ? "thread" : "threads"}, ${RUNS} answers each after ${WARM_UP} untimed ones.`);
    panel.save.hidden = false;
    panel.share.hidden = !navigator.canShare?.({ files: [file(report)] });
  };
  panel.start.onclick = async () => {
    running = !running;
    if (!running) return;
    panel.start.textContent = "Stop";
    try {
      await measured();
    } catch (error) {
      tell(error.message);
    } finally {
      running = false;
      panel.start.textContent = "Start";
    }
  };
  panel.save.onclick = () => save(file(report));
  panel.share.onclick = () => navigator.share({ files: [file(report)] }).catch((error) => tell(error.message));
  document.getElementById("benchmark").hidden = false;
}

/** p50, p90 and p99 of milliseconds, linear between ranks, as numpy has them. */
export function quantiles(times) {
  const ordered = times.toSorted((a, b) => a - b);
  const at = (share) => {
    const rank = share * (ordered.length - 1);
    const below = Math.floor(rank);
    const value = ordered[below] + (rank - below) * ((ordered[below + 1] ?? ordered[below]) - ordered[below]);
    return Math.round(value * 1e4) / 1e4;
  };
  return { n: ordered.length, p50_ms: at(0.5), p90_ms: at(0.9), p99_ms: at(0.99) };
}

/** Times after a warm-up; nothing once it is stopped. */
async function timed(goesOn, run) {
  await run(WARM_UP);
  const times = [];
  while (times.length < RUNS) {
    if (!goesOn()) return null;
    times.push(...(await run(AT_ONCE)));
  }
  return times;
}

async function goldenTexts() {
  const lines = (await (await fetch(GOLDEN)).text()).split("\n").filter((line) => line);
  return lines.map((line) => JSON.parse(line).text);
}

function cycled(items, count) {
  return Array.from({ length: count }, (_, place) => items[place % items.length]);
}

/** What was measured and where; a browser tells neither chip nor heat, and not all of them the memory: 0 is unknown. */
function described(manifest, about) {
  const { digest } = manifest.lineage.at(-1);
  const weights = Object.entries(manifest.files).filter(([name]) => /^(model\.(tflite|json)|[^/]*\.bin)$/.test(name));
  return {
    palmtop_phone: 1,
    target: "app_page",
    model: { name: manifest.name, digest, format: manifest.format, precision: manifest.precision, task: manifest.task, bytes: weights.reduce((sum, [, { size_bytes: size }]) => sum + size, 0) },
    phone: { model: browser(), chip: "unknown", cores: navigator.hardwareConcurrency, memory_gb: navigator.deviceMemory ?? 0, system: navigator.userAgentData?.platform || navigator.platform || "unknown" },
    litert: `${about.runtime} ${about.version}`,
    threads: about.threads,
    warm_up: WARM_UP,
    heat: { before: "unknown", after: "unknown" },
    session: crypto.randomUUID?.() ?? String(Math.random()),
    date: new Date().toISOString().replace(/\.\d+Z$/, "+00:00"),
  };
}

function browser() {
  return /(Firefox|Edg|Chrome|Version)\/[\d.]+/.exec(navigator.userAgent)?.[0] ?? navigator.userAgent;
}

function file(report) {
  return new File([`${JSON.stringify(report, null, 1)}\n`], "palmtop-benchmark.json", { type: "application/json" });
}

function save(content) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = content.name;
  link.click();
  URL.revokeObjectURL(link.href);
}

function drawTable(table, lengths, tokenization) {
  const rows = lengths.map((each) => [`${each.tokens} tokens`, each]);
  if (tokenization) rows.push(["tokenizer", tokenization]);
  table.hidden = false;
  table.tBodies[0].replaceChildren(...rows.map(([name, { p50_ms: p50, p90_ms: p90, p99_ms: p99 }]) => {
    const row = document.createElement("tr");
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = name;
    row.append(head, ...[p50, p90, p99].map((value) => Object.assign(document.createElement("td"), { textContent: value.toFixed(2) })));
    return row;
  }));
}
