"use strict";
// What the server tells is put into the page as text, never as HTML.
const $ = (id) => document.getElementById(id);
const PAUSE = 1500;
let token = sessionStorage.getItem("pocket-admin-token") || "";
let shown = { namespace: null, newest: 0, search: null };

async function ask(path, parameters) {
  const query = parameters ? "?" + new URLSearchParams(parameters) : "";
  const headers = token ? { Authorization: "Bearer " + token } : {};
  const answer = await fetch(path + query, { headers, cache: "no-store" });
  if (answer.status === 401) throw { unauthorized: true };
  if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).message || answer.statusText);
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

function fill(id, rows, empty) {
  const body = $(id).tBodies[0];
  if (rows.length === 0) {
    const none = cell(empty);
    none.colSpan = 9;
    none.className = "quiet";
    rows = [document.createElement("tr")];
    rows[0].append(none);
  }
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
    time(client.since), number(client.lag))), "nobody is connected");
  fill("namespaces", state.namespaces.map((namespace) => row(namespace.name, number(namespace.head),
    namespace.collections.map((one) => one.name + " " + number(one.documents)).join(", ") +
    (namespace.whole ? "" : " …"))), "no client has written anything yet");
  const reasons = [...Object.entries(state.rejected), ...Object.entries(state.errors).map(([code, count]) => [code + " (error)", count])];
  if (state.conflicts) reasons.unshift(["conflict", state.conflicts]);
  figures("reasons", reasons);
  fill("recent", state.recent.map((one) => row(time(one.time), one.code, one.document, one.user, one.reason)),
    "none since the server started");
  const names = state.namespaces.map((namespace) => namespace.name);
  const select = $("namespace");
  if (names.join("\n") !== [...select.options].map((option) => option.value).join("\n")) {
    const before = select.value;
    select.replaceChildren(...names.map((name) => new Option(name, name)));
    if (names.includes(before)) select.value = before;
  }
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
  if (namespace !== shown.namespace) shown = { namespace, newest: 0, search: null };
  const feed = await ask("/admin/feed", { namespace });
  const newest = shown.newest;
  const records = feed.records.reverse();
  fill("feed", records.map((record) => recordRow(record, newest > 0 && record.seq > newest)), "nothing yet");
  $("feed-note").textContent = "the newest " + number(records.length) + " documents, the last changed first";
  shown.newest = feed.head;
}

async function showSearch(wanted) {
  const namespace = $("namespace").value;
  if (!namespace) return;
  const found = await ask("/admin/search", { namespace, id: wanted });
  fill("feed", found.records.map((record) => recordRow(record, false)), "no document of such an id");
  $("feed-note").textContent = found.whole ? number(found.records.length) + " found" : "the first " + number(found.records.length) + " found; search for more of the id";
}

async function showDocument(collection, id) {
  try {
    const record = await ask("/admin/document", { namespace: $("namespace").value, collection, id });
    $("document").hidden = false;
    $("document-title").textContent = collection + " / " + id;
    $("document-about").textContent = record.state + ", revision " + record.rev + ", place " + number(record.seq);
    $("document-content").textContent = record.content === null ? "no content" : pretty(record.content);
    $("document").scrollIntoView({ behavior: "smooth", block: "nearest" });
  } catch (error) {
    failed(error);
  }
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
  $("state").textContent = "the server does not answer: " + (error && error.message ? error.message : error);
}

async function refresh() {
  try {
    showState(await ask("/admin/state"));
    $("main").hidden = false;
    $("login").hidden = true;
    await showFeed();
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
$("namespace").addEventListener("change", () => { shown.search = null; refresh(); });
$("search").addEventListener("submit", (event) => {
  event.preventDefault();
  const wanted = $("wanted").value.trim();
  shown.search = wanted === "" ? null : wanted;
  (wanted === "" ? showFeed() : showSearch(wanted)).catch(failed);
});
live();
