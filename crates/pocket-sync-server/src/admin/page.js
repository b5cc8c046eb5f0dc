"use strict";
// What the server tells is put into the page as text, never as HTML.
const $ = (id) => document.getElementById(id);
const PAUSE = 1500;
let token = sessionStorage.getItem("pocket-admin-token") || "";
let shown = { namespace: null, newest: 0, search: null };
let opened = null;
let answered = null;

async function ask(path, parameters) {
  const query = parameters ? "?" + new URLSearchParams(parameters) : "";
  const headers = token ? { Authorization: "Bearer " + token } : {};
  const answer = await fetch(path + query, { headers, cache: "no-store" });
  if (answer.status === 401) throw { unauthorized: true };
  if (!answer.ok) {
    const told = (await answer.json().catch(() => ({}))).message || answer.statusText;
    throw Object.assign(new Error(told), { status: answer.status });
  }
  return answer.json();
}

const number = (value) => Number(value).toLocaleString("en");
const time = (text) => text.replace("T", " ").replace(/(\.\d+)?Z$/, "");

function cell(content) {
  const td = document.createElement("td");
  td.append(content === null || content === undefined ? "" : content);
  return td;
}

function row(...cells) {
  const tr = document.createElement("tr");
  tr.append(...cells.map(cell));
  return tr;
}

function element(kind, className, ...content) {
  const one = document.createElement(kind);
  one.className = className;
  one.append(...content);
  return one;
}

function fill(id, rows, empty) {
  const body = $(id).tBodies[0];
  if (rows.length === 0) {
    const none = cell(empty);
    none.colSpan = 9;
    none.className = "quiet";
    rows = [document.createElement("tr")];
    rows[0].append(none);
  }
  // On a phone each cell stands on a line of its own, and needs the name of its column.
  const names = [...$(id).tHead.rows[0].cells].map((th) => th.textContent);
  for (const tr of rows) [...tr.cells].forEach((td, place) => { if (rows[0].cells.length > 1) td.dataset.name = names[place]; });
  body.replaceChildren(...rows);
}

function figures(id, entries) {
  $(id).replaceChildren(...entries.map(([name, value]) => {
    const div = document.createElement("div");
    const dt = document.createElement("dt");
    const dd = document.createElement("dd");
    dt.textContent = name;
    dd.textContent = typeof value === "number" ? number(value) : value;
    div.append(dt, dd);
    return div;
  }));
}

function bytes(count) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (count >= 1000 && unit < units.length - 1) { count /= 1000; unit += 1; }
  return (unit ? count.toFixed(1) : count) + " " + units[unit];
}

function showState(state) {
  $("state").textContent = (state.ready ? "ready" : "stopping") + ", version " + state.version + ", " + time(state.time);
  $("state").className = state.ready ? "good" : "";
  const refused = Object.values(state.rejected).reduce((sum, count) => sum + count, 0);
  figures("figures", [
    ["clients", state.clients.length], ["connections", state.connections], ["pushes", state.pushes],
    ["applied", state.applied], ["conflicts", state.conflicts], ["refused", refused],
    ["received", bytes(state.received_bytes)], ["sent", bytes(state.sent_bytes)],
  ]);
  $("client-count").textContent = number(state.clients.length);
  fill("clients", state.clients.map((client) => row(client.user, client.client.slice(0, 8), client.namespace,
    time(client.since), client.lag === 0 ? "in step" : element("span", "behind", number(client.lag) + " behind"))),
  "nobody is connected");
  fill("namespaces", state.namespaces.map((namespace) => row(namespace.name, number(namespace.head), collections(namespace))),
    "no client has written anything yet");
  const reasons = [...Object.entries(state.rejected), ...Object.entries(state.errors).map(([code, count]) => [code + " (error)", count])];
  if (state.conflicts) reasons.unshift(["conflict", state.conflicts]);
  figures("reasons", reasons);
  fill("recent", state.recent.map((one) => row(time(one.time), one.code, one.document, one.user, one.reason)),
    "none since the server started");
  const names = state.namespaces.map((namespace) => namespace.name);
  $("of-namespace").hidden = names.length === 0;
  const select = $("namespace");
  if (names.join("\n") !== [...select.options].map((option) => option.value).join("\n")) {
    const before = select.value;
    select.replaceChildren(...names.map((name) => new Option(name, name)));
    if (names.includes(before)) select.value = before;
  }
}

function collections(namespace) {
  const each = namespace.collections.map((one) => element("span", "collection", one.name + " ", element("b", "", number(one.documents))));
  if (!namespace.whole) each.push(element("span", "quiet", "and more: only the first were counted"));
  return each.length === 0 ? "none" : element("span", "collections", ...each);
}

function recordRow(record, isNew) {
  const link = document.createElement("button");
  link.type = "button";
  link.className = "link";
  link.textContent = record.id;
  link.addEventListener("click", () => showDocument(record.collection, record.id));
  const tr = row(number(record.seq), record.collection, link, record.state, record.bytes === null ? "" : number(record.bytes));
  if (isNew) tr.className = "new";
  return tr;
}

async function showFeed() {
  const namespace = $("namespace").value;
  if (!namespace || shown.search !== null) return;
  if (namespace !== shown.namespace) { shown = { namespace, newest: 0, search: null }; closeDocument(); }
  const feed = await ask("/admin/feed", { namespace });
  // Something else may have been asked for meanwhile.
  if (shown.search !== null || namespace !== $("namespace").value) return;
  const newest = shown.newest;
  const records = feed.records.reverse();
  fill("feed", records.map((record) => recordRow(record, newest > 0 && record.seq > newest)), "nothing yet");
  $("feed-note").textContent = "each document at its last change, the newest first; 100 at the most";
  $("again").hidden = true;
  shown.newest = feed.head;
}

async function showSearch(wanted) {
  const namespace = $("namespace").value;
  if (!namespace) return;
  const found = await ask("/admin/search", { namespace, id: wanted });
  if (shown.search !== wanted || namespace !== $("namespace").value) return;
  fill("feed", found.records.map((record) => recordRow(record, false)), "no document of such an id");
  $("feed-note").textContent = found.whole ? number(found.records.length) + " found" : "the first " + number(found.records.length) + " found; search for more of the id";
  $("again").hidden = false;
}

// A revision begins with the milliseconds since 1970, 48 bits of them, and ends with who wrote.
function written(rev) {
  const [clock, client] = rev.split("-");
  return time(new Date(parseInt(clock.slice(0, 12), 16)).toISOString()) + " by " + client.slice(0, 8);
}

async function refreshDocument() {
  if (opened === null) return;
  const { namespace, collection, id } = opened;
  const record = await ask("/admin/document", { namespace, collection, id }).catch((error) => {
    if (error.status !== 404) throw error;
    return { rev: null, state: "not there", seq: "none", bytes: null, content: null };
  });
  // Another one may have been opened meanwhile.
  if (opened === null || opened.id !== id || opened.collection !== collection || opened.rev === (record.rev || "none")) return;
  opened.rev = record.rev || "none";
  $("document-title").textContent = collection + " / " + id;
  figures("document-about", [["state", record.state], ["place", record.seq], ["written", record.rev === null ? "unknown" : written(record.rev)],
    ["bytes", record.bytes === null ? "none" : record.bytes]]);
  $("document-rev").textContent = opened.rev;
  $("document-content").textContent = record.content === null ? "no content" : pretty(record.content);
}

async function showDocument(collection, id) {
  opened = { namespace: $("namespace").value, collection, id, rev: null };
  try {
    await refreshDocument();
    $("document").hidden = false;
    $("document").scrollIntoView({ block: "nearest" });
  } catch (error) {
    failed(error);
  }
}

function closeDocument() {
  opened = null;
  $("document").hidden = true;
}

// Line breaks between fields, without reading the numbers: large ones would change.
function pretty(text) {
  let out = "", depth = 0, quoted = false;
  for (let place = 0; place < text.length; place += 1) {
    const c = text[place];
    if (quoted) {
      out += c;
      if (c === "\\") out += text[++place];
      else if (c === '"') quoted = false;
    } else if (c === '"') { quoted = true; out += c;
    } else if (c === "{" || c === "[") {
      const end = c === "{" ? "}" : "]";
      if (text[place + 1] === end) { out += c + end; place += 1; } else { depth += 1; out += c + "\n" + "  ".repeat(depth); }
    } else if (c === "}" || c === "]") { depth -= 1; out += "\n" + "  ".repeat(depth) + c;
    } else if (c === ",") { out += ",\n" + "  ".repeat(depth);
    } else if (c === ":") { out += ": ";
    } else { out += c; }
  }
  return out;
}

function failed(error) {
  $("state").className = "";
  if (error && error.unauthorized) {
    $("main").hidden = true;
    $("login").hidden = false;
    $("state").textContent = "locked";
    $("refused").textContent = token ? "this token is not the one" : "";
    return;
  }
  const what = error && error.status ? "the server answers with an error" : "the server does not answer";
  const since = answered === null ? "" : "; this is how it was " + answered;
  $("state").textContent = what + since + " (" + (error && error.message ? error.message : error) + ")";
  $("main").classList.add("old");
}

async function refresh() {
  try {
    const state = await ask("/admin/state");
    answered = time(state.time);
    showState(state);
    $("main").classList.remove("old");
    $("main").hidden = false;
    $("login").hidden = true;
    await showFeed();
    await refreshDocument();
  } catch (error) {
    failed(error);
  }
}

async function live() {
  if (!document.hidden && $("login").hidden) await refresh();
  setTimeout(live, PAUSE);
}

$("login").addEventListener("submit", (event) => {
  event.preventDefault();
  token = $("token").value.trim();
  sessionStorage.setItem("pocket-admin-token", token);
  refresh();
});
$("close").addEventListener("click", closeDocument);
$("namespace").addEventListener("change", () => { $("wanted").value = ""; shown.search = null; refresh(); });
$("search").addEventListener("submit", (event) => {
  event.preventDefault();
  const wanted = $("wanted").value.trim();
  shown.search = wanted === "" ? null : wanted;
  (wanted === "" ? showFeed() : showSearch(wanted)).catch(failed);
});
$("again").addEventListener("click", () => {
  $("wanted").value = "";
  shown.search = null;
  showFeed().catch(failed);
});
live();
