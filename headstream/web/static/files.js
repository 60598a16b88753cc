// Photos and videos: sent, cut, fetched.

const $ = (id) => document.getElementById(id);
const AWAY = "headstream does not answer: is it still running?";
const KEEP_MS = 60_000;
const ENDED = ["done", "failed"];

// introduced: after that the browser has the cookie that makes files its own.
export function startFiles({ settings, say, introduced }) {
  const sending = new Map(); // key -> {file, share, request}
  const refused = new Map(); // key -> {name, error}
  const lines = new Map(); // key -> what is shown of it
  let known = [], changes = 0, count = 0, polling = false, again = false, later = 0;

  function send(file) {
    const key = `file ${++count}`;
    const asked = JSON.stringify({ ...settings(), hq: $("hq").checked });
    const query = new URLSearchParams({ name: file.name, output: $("output").value, settings: asked });
    const request = new XMLHttpRequest();
    let cancelled = false;
    request.open("POST", `/api/files?${query}`);
    request.upload.onprogress = ({ loaded, total }) => { sending.get(key).share = loaded / total; show(); };
    request.onabort = () => { cancelled = true; };
    request.onloadend = async () => {
      const error = request.status === 201 || cancelled ? "" : await errorOf(request, file);
      sending.delete(key);
      if (request.status === 201) { // its line goes on, whoever is at its button stays there
        const item = JSON.parse(request.responseText);
        known = [...known.filter(({ id }) => id !== item.id), item];
        changes++;
        say("");
        if (!lines.has(item.id)) { lines.set(item.id, lines.get(key)); lines.delete(key); }
      }
      if (error) refused.set(key, { name: file.name, error });
      show();
      poll();
    };
    sending.set(key, { file, share: 0, request });
    introduced.finally(() => { if (sending.has(key)) request.send(file); });
    show();
  }

  async function poll() {
    again = true;
    clearTimeout(later);
    if (polling) return;
    polling = true;
    try {
      do {
        again = false;
        const asked = changes, listed = await (await fetch("/api/files")).json();
        if (asked === changes) known = listed; // else it is from before
        else again = true;
        show();
        await new Promise((after) => setTimeout(after, 400));
      } while (again || sending.size || known.some(({ state }) => !ENDED.includes(state)));
    } catch {
      later = setTimeout(poll, 2000); // the studio is away for a moment
      return;
    } finally {
      polling = false;
    }
    if (known.length) later = setTimeout(poll, KEEP_MS); // results stay there for as long as somebody asks
  }

  // A link that leads nowhere is told by browsers where nobody looks, if at all.
  async function fetchable(event, item) {
    event.preventDefault();
    try {
      const { ok, status } = await fetch(item.link, { method: "HEAD" });
      if (ok) {
        say("");
        Object.assign(document.createElement("a"), { href: item.link, download: item.linkName }).click();
      } else if (status !== 404) say(`${item.name}: its result cannot be fetched (${status}); load this page anew`, true);
      else say(`${item.name}: its result is not here any more (the studio was started anew, or it was removed); drop the file again`, true);
    } catch {
      say(AWAY, true);
    }
    poll();
  }

  // Lines stay the same elements while what they say changes: who is at a button with the keyboard stays there.
  function show() {
    const items = [
      ...known.filter(({ state }) => state !== "uploading").map(itemOf),
      ...[...refused].map(([key, { name, error }]) =>
        ({ key, name, text: `not taken: ${error}`, failed: true, label: "Remove", act: () => { refused.delete(key); show(); } })),
      ...[...sending].map(([key, { file, share, request }]) =>
        ({ key, name: file.name, text: "sending", share, label: "Cancel", act: () => { request.abort(); sending.delete(key); show(); } })),
    ];
    for (const key of [...lines.keys()]) if (!items.some((item) => item.key === key)) drop(key);
    const active = document.activeElement;
    items.forEach((item, at) => {
      if (!lines.has(item.key)) lines.set(item.key, newLine());
      fill(lines.get(item.key), item);
      const { line } = lines.get(item.key), there = $("list").children[at];
      if (there !== line) $("list").insertBefore(line, there ?? null);
    });
    if ($("list").contains(active)) active.focus(); // a line that was moved has lost it
  }

  function itemOf(item) {
    const share = item.total ? item.done / item.total : 0;
    const text = item.state === "failed" ? `failed: ${within(item.error, item.name)}` : item.state === "running" && item.total ? `${item.done} of ${item.total}` : item.state;
    const link = item.state === "done" ? `/api/files/${encodeURIComponent(item.id)}/result` : null;
    const label = ENDED.includes(item.state) ? "Remove" : "Cancel";
    const failed = item.state === "failed";
    return { key: item.id, name: item.name, text, failed, share: ENDED.includes(item.state) ? undefined : share, link, linkName: item.result_name, label, act: () => remove(item.id) };
  }

  function newLine() {
    const [line, title, name, state, bar, get, button] = ["li", "span", "span", "span", "progress", "a", "button"].map((tag) => document.createElement(tag));
    title.className = "name";
    state.className = "state";
    bar.max = 1;
    title.append(name, document.createElement("br"), state);
    line.append(title, bar, get, button);
    return { line, name, state, bar, get, button };
  }

  function fill({ line, name, state, bar, get, button }, item) {
    name.textContent = item.name;
    line.classList.toggle("failed", Boolean(item.failed));
    if (item.failed) state.setAttribute("role", "alert"); // before its text: what changes in it is read out
    if (state.textContent !== item.text) state.textContent = item.text;
    bar.hidden = item.share === undefined;
    bar.value = item.share ?? 0;
    bar.setAttribute("aria-label", `${item.name}: ${item.text}`);
    if (item.link && !get.href) {
      Object.assign(get, { href: item.link, download: item.linkName, textContent: "Download" });
      get.onclick = (event) => fetchable(event, item);
      get.setAttribute("aria-label", `Download ${item.linkName}`);
    }
    Object.assign(button, { textContent: item.label, onclick: item.act });
    button.setAttribute("aria-label", `${item.label} ${item.name}`);
  }

  function drop(key) {
    const { line } = lines.get(key);
    const next = (line.nextElementSibling ?? line.previousElementSibling)?.querySelector("button") ?? $("choose");
    if (line.contains(document.activeElement)) next.focus();
    line.remove();
    lines.delete(key);
  }

  async function remove(id) {
    try {
      await fetch(`/api/files/${encodeURIComponent(id)}`, { method: "DELETE" });
    } catch {
      say(AWAY, true);
      return;
    }
    say("");
    known = known.filter((item) => item.id !== id);
    changes++;
    show();
    poll();
  }

  $("choose").addEventListener("click", () => $("files").click());
  $("files").addEventListener("change", () => { for (const file of $("files").files) send(file); $("files").value = ""; });
  for (const kind of ["dragenter", "dragover"]) {
    addEventListener(kind, (event) => { event.preventDefault(); document.body.classList.add("dropping"); });
  }
  for (const kind of ["dragleave", "drop"]) {
    addEventListener(kind, (event) => { event.preventDefault(); if (kind === "drop" || !event.relatedTarget) document.body.classList.remove("dropping"); });
  }
  addEventListener("drop", (event) => { for (const file of event.dataTransfer.files) send(file); });
  introduced.finally(poll);
}

// An error without the file's name before it, which stands above it.
function within(error, name) {
  return error.startsWith(`${name}: `) ? error.slice(name.length + 2) : error;
}

async function errorOf(request, file) {
  if (!request.status) {
    try { await file.slice(0, 1).arrayBuffer(); } catch { return "the browser cannot read it: it is a folder (drop the files in it), or was moved or changed"; }
    return AWAY;
  }
  try { return within(JSON.parse(request.responseText).error, file.name); } catch { return `${request.responseText.slice(0, 200).trim()} (${request.status})`; }
}
