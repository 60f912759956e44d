"use strict";
// Rows are data; those in sight are elements. All text goes through textContent.
const {columns, shown, rows} = JSON.parse(document.getElementById("data").textContent);
const CHUNK = 100;
const at = Object.fromEntries(columns.map((name, index) => [name, index]));
const isNumber = columns.map((_, index) => rows.every(
  row => row[index] === null || typeof row[index] === "number"));
const byLower = Object.fromEntries(columns.map(name => [name.toLowerCase(), at[name]]));
const heads = document.getElementById("heads");
const body = document.getElementById("rows");
const query = document.getElementById("query");
const state = {query: "", verdicts: [], sort: null, down: false, ...remembered()};
let found = [], drawn = 0;

function remembered() {
  try { return JSON.parse(decodeURIComponent(location.hash.slice(1))); } catch { return {}; }
}

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function condition(word) {
  const parts = word.match(/^([^<>=]+)(<=|>=|<|>|=)(.+)$/);
  const index = parts && byLower[parts[1].toLowerCase()];
  if (index === null || index === undefined) {
    const sought = word.toLowerCase();
    return row => row.some((cell, i) => !isNumber[i] && cell !== null
      && String(cell).toLowerCase().includes(sought));
  }
  const [, , sign, text] = parts, wanted = Number(text);
  if (!isNumber[index]) return row => String(row[index]).toLowerCase() === text.toLowerCase();
  const holds = {"<": (a, b) => a < b, ">": (a, b) => a > b, "<=": (a, b) => a <= b,
    ">=": (a, b) => a >= b, "=": (a, b) => a === b}[sign];
  return row => row[index] !== null && holds(row[index], wanted);
}

function compare(index) {
  // What has no value comes last, either way.
  const sign = state.down ? -1 : 1;
  return (one, other) => {
    const a = one[index], b = other[index];
    if (a === null || b === null) return (a === null) - (b === null);
    if (isNumber[index]) return sign * (a - b);
    return sign * String(a).localeCompare(String(b), undefined, {numeric: true});
  };
}

function update() {
  const conditions = state.query.split(/\s+/).filter(Boolean).map(condition);
  found = rows.filter(row => conditions.every(holds => holds(row)));
  const counts = new Map();
  for (const row of found) {
    counts.set(row[at.verdict], (counts.get(row[at.verdict]) || 0) + 1);
  }
  if (state.verdicts.length) {
    found = found.filter(row => state.verdicts.includes(row[at.verdict]));
  }
  if (state.sort in at) found = found.slice().sort(compare(at[state.sort]));
  document.getElementById("shown").textContent = `${found.length} of ${rows.length} lenses`;
  drawVerdicts(counts);
  for (const head of heads.children) {
    const sorted = head.dataset.name !== undefined && head.dataset.name === state.sort;
    head.ariaSort = sorted ? (state.down ? "descending" : "ascending") : "none";
  }
  body.replaceChildren();
  drawn = 0;
  draw();
  location.replace("#" + encodeURIComponent(JSON.stringify(state)));
}

function drawVerdicts(counts) {
  const verdicts = [...new Set(rows.map(row => row[at.verdict]))].sort();
  document.getElementById("verdicts").replaceChildren(...verdicts.map(verdict => {
    const button = element("button", `${verdict}: ${counts.get(verdict) || 0}`);
    button.ariaPressed = String(state.verdicts.includes(verdict));
    button.onclick = () => {
      const others = state.verdicts.filter(each => each !== verdict);
      state.verdicts = others.length < state.verdicts.length ? others : [...others, verdict];
      update();
    };
    return button;
  }));
  document.body.style.setProperty("--top",
    document.querySelector("header").offsetHeight + "px");
}

function draw() {
  const part = document.createDocumentFragment();
  for (const row of found.slice(drawn, drawn + CHUNK)) part.append(line(row));
  drawn += CHUNK;
  body.append(part);
}

function line(row) {
  const made = element("tr"), folder = row[at.folder];
  const panels = element("td", undefined, "panels");
  if (folder && row[at.has_thumbnail]) {
    const image = element("img");
    image.loading = "lazy";
    image.alt = "";
    image.src = `${folder}/thumbnail.png`;
    panels.append(image);
  }
  for (const name of shown) {
    const value = row[at[name]];
    if (name === "name") {
      const cell = element("td"), link = element("a", value);
      link.href = `${folder}/index.html`;
      cell.append(link);
      made.append(cell, panels);
      continue;
    }
    const number = isNumber[at[name]];
    const cell = element("td", undefined, number ? "number" : "words");
    const std = row[at[name + "_std"]];
    cell.textContent = written(value, std);
    made.append(cell);
  }
  return made;
}

function written(value, std) {
  if (value === null || value === undefined) return "";
  if (typeof value !== "number") return String(value);
  if (typeof std === "number" && std > 0 && std < 1e6) {
    const digits = Math.min(8, Math.max(0, 1 - Math.floor(Math.log10(std))));
    return `${value.toFixed(digits)} \u00b1 ${std.toFixed(digits)}`;
  }
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4)));
}

for (const name of shown) {
  const head = element("th", name.replaceAll("_", " "));
  head.dataset.name = name;
  head.onclick = () => {
    state.down = state.sort === name && !state.down;
    state.sort = name;
    update();
  };
  heads.append(head);
  if (name === "name") {
    const panels = element("th", undefined, "panels"), titles = element("div");
    for (const title of ["data", "without light", "model", "residuals", "source"]) {
      titles.append(element("span", title));
    }
    panels.append(titles);
    heads.append(panels);
  }
}
query.value = state.query;
query.oninput = () => { state.query = query.value; update(); };
new IntersectionObserver(seen => {
  if (seen.some(each => each.isIntersecting) && drawn < found.length) draw();
}, {rootMargin: "1500px"}).observe(document.getElementById("more"));
addEventListener("scroll", () => {
  if (innerHeight + scrollY > document.body.scrollHeight - 1500 && drawn < found.length) draw();
});
update();
