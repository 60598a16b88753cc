// Photos and videos: sent, cut, fetched.

const $ = (id) => document.getElementById(id);
const ENDED = ["done", "failed", "cancelled"];

export function startFiles({ settings, say }) {
  const sending = new Map(); // name and time -> share sent
  let polling = false, again = false;

  function send(file) {
    const key = `${file.name} ${performance.now()}`;
    const query = new URLSearchParams({ name: file.name, output: $("output").value, settings: JSON.stringify(settings()) });
    const request = new XMLHttpRequest();
    request.open("POST", `/api/files?${query}`);
    request.upload.onprogress = ({ loaded, total }) => { sending.set(key, { file, share: loaded / total, request }); show(); };
    request.onloadend = () => {
      sending.delete(key);
      if (request.status !== 201) say(errorOf(request, file), true);
      poll();
    };
    sending.set(key, { file, share: 0, request });
    request.send(file);
    show();
  }

  let known = [];
  async function poll() {
    again = true;
    if (polling) return;
    polling = true;
    try {
      do {
        again = false;
        known = await (await fetch("/api/files")).json();
        show();
        await new Promise((after) => setTimeout(after, 400));
      } while (again || sending.size || known.some(({ state }) => !ENDED.includes(state)));
    } catch {
      setTimeout(poll, 2000); // the studio is away for a moment
    } finally {
      polling = false;
    }
  }

  function show() {
    const rows = [...sending.values()].map(({ file, share, request }) =>
      row({ name: file.name, text: "sending", share, action: ["Cancel", () => request.abort()] }));
    for (const item of known) if (item.state !== "uploading") rows.push(rowOf(item));
    $("list").replaceChildren(...rows);
  }

  function rowOf(item) {
    const share = item.total ? item.done / item.total : item.state === "done" ? 1 : 0;
    const text = item.state === "failed" ? `failed: ${item.error}` : item.state === "running" && item.total ? `${item.done} of ${item.total}` : item.state;
    const ended = ENDED.includes(item.state);
    const link = item.state === "done" ? `/api/files/${encodeURIComponent(item.id)}/result` : null;
    return row({ name: item.name, text, share, link, linkName: item.result_name, action: [ended ? "Remove" : "Cancel", () => remove(item.id)] });
  }

  function row({ name, text, share, link, linkName, action: [label, act] }) {
    const line = document.createElement("li");
    const title = Object.assign(document.createElement("span"), { className: "name", textContent: name });
    title.append(document.createElement("br"), Object.assign(document.createElement("span"), { className: "state", textContent: text }));
    const bar = Object.assign(document.createElement("progress"), { max: 1, value: share });
    bar.setAttribute("aria-label", `${name}: ${text}`);
    const get = document.createElement(link ? "a" : "span");
    if (link) Object.assign(get, { href: link, download: linkName, textContent: "Download" });
    const button = Object.assign(document.createElement("button"), { textContent: label, onclick: act });
    button.setAttribute("aria-label", `${label} ${name}`);
    line.append(title, bar, get, button);
    return line;
  }

  async function remove(id) {
    await fetch(`/api/files/${encodeURIComponent(id)}`, { method: "DELETE" });
    poll();
    known = known.filter((item) => item.id !== id);
    show();
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
  poll();
}

function errorOf(request, file) {
  try { return JSON.parse(request.responseText).error; } catch { return request.status ? `${file.name} was not taken (${request.status})` : `${file.name} was not sent`; }
}
