// The whole page: ask, draw, remember the question in the address. No libraries, no inline styles (CSP).
"use strict";

const at = (id) => document.getElementById(id);
const form = at("form"), box = at("query"), pick = at("index"), newest = at("newest"), live = at("live");
const PAGE = 50, COLUMNS = 12, BARS = 60, LIVE_MS = 2000;
const STEPS = [["1s", 1e3], ["5s", 5e3], ["30s", 3e4], ["1m", 6e4], ["5m", 3e5], ["30m", 18e5], ["1h", 36e5],
  ["3h", 108e5], ["12h", 432e5], ["1d", 864e5], ["7d", 6048e5], ["30d", 2592e6], ["365d", 31536e6]];

let asked = 0;            // number of the newest question: older answers are dropped
let dates = [];           // date fields of the chosen index
let shown = 0;            // rows in the table
let last = null;          // sort values of the last row, where the next page goes on

function make(name, attributes = {}, text = null) {
  const space = ["svg", "g", "rect", "line", "title"].includes(name) ? "http://www.w3.org/2000/svg" : "http://www.w3.org/1999/xhtml";
  const element = document.createElementNS(space, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== null) element.textContent = text;
  return element;
}

async function ask(path, body) {
  const options = body ? { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) } : {};
  let answer;
  try {
    answer = await fetch(path, { ...options, headers: { ...options.headers, Accept: "application/json" } });
  } catch {
    throw new Error("the server does not answer; is it running?");
  }
  const found = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(found.error ? `${found.error.type}: ${found.error.reason}` : `HTTP ${answer.status}`);
  return found;
}

const indexPath = () => "/" + encodeURIComponent(pick.value);
const query = () => box.value.trim() ? { query_string: { query: box.value, default_operator: "and" } } : { match_all: {} };

function fail(error) {
  at("error").hidden = !error;
  at("error").textContent = error ? error.message : "";
}

function flatten(value, path = "", out = {}) {
  if (value !== null && typeof value === "object" && !Array.isArray(value)) {
    for (const [key, inner] of Object.entries(value)) flatten(inner, path ? `${path}.${key}` : key, out);
  } else out[path] = value;
  return out;
}

function shownAs(value) {
  if (Array.isArray(value)) return value.map((item) => (item !== null && typeof item === "object" ? JSON.stringify(item) : String(item))).join(", ");
  return String(value);
}

async function loadIndexes() {
  const known = (await ask("/_cat/indices?format=json")).map((row) => row.index);
  const wanted = new URLSearchParams(location.hash.slice(1)).get("index") || pick.value;
  pick.replaceChildren(...known.map((name) => make("option", { value: name }, name)));
  if (known.includes(wanted)) pick.value = wanted;
  return known.length;
}

async function loadMapping() {
  const found = await ask(indexPath() + "/_mapping");
  dates = [];
  (function walk(properties, path) {
    for (const [name, field] of Object.entries(properties || {})) {
      if (field.type === "date" || field.type === "date_nanos") dates.push(path + name);
      walk(field.properties, path + name + ".");
    }
  })(found[pick.value].mappings.properties, "");
  newest.parentElement.hidden = !dates.length;
}

async function span() {
  if (!dates.length) return null;
  const aggs = { first: { min: { field: dates[0] } }, last: { max: { field: dates[0] } } };
  const { aggregations: found } = await ask(indexPath() + "/_search", { size: 0, query: query(), aggs });
  if (found.first.value === null) return null;
  const width = found.last.value - found.first.value;
  const step = STEPS.find(([, ms]) => width / ms <= BARS) || STEPS[STEPS.length - 1];
  return { interval: step[0], ms: step[1] };
}

async function search({ more = false } = {}) {
  const mine = ++asked;
  const sorted = newest.checked && dates.length;
  const body = { query: query(), size: PAGE };
  if (sorted) body.sort = [{ [dates[0]]: "desc" }];
  if (more && sorted && last) body.search_after = last;
  else if (more) body.from = shown;
  try {
    const chart = more ? null : await span();
    if (chart) body.aggs = { over_time: { date_histogram: { field: dates[0], fixed_interval: chart.interval, min_doc_count: 1 } } };
    const found = await ask(indexPath() + "/_search", body);
    if (mine !== asked) return;
    fail(null);
    draw(found, more, chart);
  } catch (error) {
    if (mine !== asked) return;
    fail(error);
    at("status").textContent = "";
  }
}

function draw(found, more, chart) {
  const { hits, total } = found.hits;
  const status = at("status");
  status.replaceChildren(make("b", {}, total.value.toLocaleString("en")), ` ${total.value === 1 ? "document" : "documents"} in ${found.took} ms`);
  if (!more) {
    shown = 0;
    drawChart(chart && found.aggregations.over_time.buckets, chart);
  }
  drawTable(hits, more);
  shown += hits.length;
  last = hits.length ? hits[hits.length - 1].sort || null : last;
  at("more").hidden = shown >= total.value || !hits.length || (!last && shown + PAGE > 10000);
  nothing(total.value ? null : ["Nothing matches", box.value.trim()
    ? "Check the field names and quotes, or use fewer words." : "This index has no documents yet: its pipeline may still be starting."]);
}

function nothing(told) {
  at("empty").hidden = !told;
  if (told) at("empty").replaceChildren(make("h2", {}, told[0]), ...told.slice(1).map((line) => make("p", {}, line)));
}

function drawChart(buckets, chart) {
  at("chart").hidden = !buckets || !buckets.length;
  if (!buckets || !buckets.length) return;
  const first = buckets[0].key, count = Math.round((buckets[buckets.length - 1].key - first) / chart.ms) + 1;
  const most = Math.max(...buckets.map((bucket) => bucket.doc_count));
  const svg = make("svg", { viewBox: `0 0 ${count} 100`, preserveAspectRatio: "none", role: "img", "aria-label": "documents over time" });
  for (const bucket of buckets) {
    const x = Math.round((bucket.key - first) / chart.ms), high = Math.max(1.5, (96 * bucket.doc_count) / most);
    const group = make("g");
    group.append(make("title", {}, `${bucket.key_as_string}: ${bucket.doc_count.toLocaleString("en")}`),
      make("rect", { class: "slot", x, y: 0, width: 1, height: 100 }),
      make("rect", { class: "bar", x: x + 0.08, y: 100 - high, width: 0.84, height: high }));
    group.addEventListener("click", () => narrow(bucket.key, chart.ms));
    svg.append(group);
  }
  const ends = make("div", { class: "ends" });
  const day = (key) => new Date(key).toISOString().replace("T", " ").slice(0, 16);
  ends.append(make("span", {}, day(first)), make("span", {}, `most: ${most.toLocaleString("en")}`), make("span", {}, day(buckets[buckets.length - 1].key)));
  at("caption").textContent = `${dates[0]}, per ${chart.interval} (UTC); click a bar to narrow`;
  at("bars").replaceChildren(svg, ends);
}

function narrow(from, width) {
  const part = `${dates[0]}:[${new Date(from).toISOString()} TO ${new Date(from + width).toISOString()}}`;
  box.value = box.value.trim() ? `(${box.value.trim()}) AND ${part}` : part;
  submit();
}

function drawTable(hits, more) {
  const table = at("table"), head = table.tHead, rows = table.tBodies[0];
  const flat = hits.map((hit) => flatten(hit._source));
  if (!more) {
    const seen = new Map();
    for (const row of flat) for (const name of Object.keys(row)) seen.set(name, (seen.get(name) || 0) + 1);
    const names = [...seen.keys()].sort((a, b) => dates.includes(b) - dates.includes(a) || seen.get(b) - seen.get(a)).slice(0, COLUMNS);
    table.dataset.columns = JSON.stringify(names);
    const line = make("tr");
    for (const name of names) line.append(make("th", { scope: "col", class: flat.every((row) => row[name] === undefined || row[name] === null || typeof row[name] === "number") ? "number" : "" }, name));
    head.replaceChildren(line);
    rows.replaceChildren();
  }
  const names = JSON.parse(table.dataset.columns || "[]");
  hits.forEach((hit, place) => rows.append(rowOf(hit, flat[place], names)));
  table.hidden = !rows.children.length;
}

function rowOf(hit, flat, names) {
  const row = make("tr", { class: "hit", tabindex: 0, "aria-expanded": "false", title: `_id ${hit._id}` });
  for (const name of names) {
    const value = flat[name], missing = value === undefined || value === null;
    const cell = make("td", { class: missing ? "none" : typeof value === "number" ? "number" : "" }, missing ? "–" : shownAs(value));
    row.append(cell);
  }
  const toggle = () => {
    const open = row.getAttribute("aria-expanded") === "true";
    row.setAttribute("aria-expanded", String(!open));
    if (open) return row.nextElementSibling.remove();
    const detail = make("tr", { class: "detail" }), cell = make("td", { colspan: names.length || 1 });
    cell.append(make("pre", {}, JSON.stringify({ _id: hit._id, _score: hit._score ?? undefined, ...hit._source }, null, 2)));
    detail.append(cell);
    row.after(detail);
  };
  row.addEventListener("click", () => { if (!String(getSelection())) toggle(); });
  row.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); toggle(); }
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      let next = row;
      do next = event.key === "ArrowDown" ? next.nextElementSibling : next.previousElementSibling;
      while (next && !next.classList.contains("hit"));
      if (next) next.focus();
    }
  });
  return row;
}

function remember() {
  const state = new URLSearchParams({ index: pick.value, q: box.value, newest: newest.checked ? 1 : 0, live: live.checked ? 1 : 0 });
  history.replaceState(null, "", "#" + state);
}

function submit() {
  remember();
  return search();
}

async function start() {
  const state = new URLSearchParams(location.hash.slice(1));
  box.value = state.get("q") || "";
  if (state.has("newest")) newest.checked = state.get("newest") === "1";
  live.checked = state.get("live") === "1";
  try {
    if (!(await loadIndexes())) {
      nothing(["There is no index yet", "Start a pipeline with headrace run CONFIG, or index some files: headrace index FILES --into DIR"]);
      return;
    }
    await loadMapping();
    await search();
  } catch (error) {
    fail(error);
  }
}

form.addEventListener("submit", (event) => { event.preventDefault(); submit(); });
pick.addEventListener("change", async () => {
  last = null;
  try { await loadMapping(); } catch (error) { return fail(error); }
  submit();
});
newest.addEventListener("change", submit);
live.addEventListener("change", submit);
at("more").addEventListener("click", () => search({ more: true }));
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !["INPUT", "SELECT"].includes(document.activeElement.tagName)) { event.preventDefault(); box.focus(); box.select(); }
  if (event.key === "Escape") box.focus();
});
setInterval(() => {
  const reading = document.querySelector("tr.detail") || shown > PAGE;
  if (live.checked && !document.hidden && !reading) (pick.options.length ? search() : start());
}, LIVE_MS);
start().finally(() => document.body.setAttribute("data-ready", "yes"));
