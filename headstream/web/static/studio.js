// The studio page: live.js cuts, files.js uploads, recording.js records, this file is the controls.
import { chosenCamera, listCameras } from "./cameras.js";
import { startFiles } from "./files.js";
import { Live } from "./live.js";
import { forget, keep, lastCamera, recall } from "./memory.js";
import { speaker, troubled } from "./messages.js";
import { startRecording } from "./recording.js";
import { Scene } from "./scene.js";

const $ = (id) => document.getElementById(id);
const SLIDERS = ["padding", "smoothing", "feather", "threshold"];

const say = speaker("controls"), sayOfStall = speaker("stall");

export function settings() {
  const heads = $("heads").value;
  return {
    ...Object.fromEntries(SLIDERS.map((name) => [name, Number($(name).value)])),
    spill: $("spill").checked,
    mirror: $("mirror").checked,
    hair_color: $("dye").checked ? $("hair").value : "",
    part: $("part").value,
    heads: /^\d+$/.test(heads) ? Number(heads) : heads,
  };
}

const scene = new Scene({
  canvas: $("view"),
  before: $("before"),
  background: () => ({ kind: $("background").value, colour: $("colour").value, source: backSource }),
  wipe: () => Number($("wipe").value) / 100,
});
const live = new Live({
  scene,
  settings,
  say: speaker("live"),
  figures: ({ fps, latency, cut, device, people }) => {
    if (fps !== undefined) $("fps").textContent = fps?.toFixed(1) ?? "–";
    for (const [id, took] of Object.entries({ latency, cut })) {
      if (took !== undefined) $(id).textContent = took === null ? "–" : `${took.toFixed(0)} ms`;
    }
    if (device !== undefined) $("device").textContent = device;
    if (people !== undefined) showPeople(people);
  },
  stalled,
  strangers,
  running: (on) => {
    $("start").textContent = on ? "Stop" : "Start camera";
    $("start").classList.toggle("main", !on);
    $("hint").hidden = on;
    for (const id of ["record", "snapshot"]) $(id).disabled = !on;
    if (on) { listCameras(); return; }
    stopRecording();
    strangers();
    stalled(0);
    for (const id of ["fps", "latency", "cut"]) $(id).textContent = "–";
  },
});

const stopRecording = startRecording({ canvas: $("view"), trip: () => live.trip() });

// Read out once; the seconds are to be seen only.
function stalled(seconds) {
  $("stalled").hidden = !seconds;
  if (!seconds) { sayOfStall(""); return; }
  $("stalled").textContent = `no pictures for ${seconds} s`;
  if (!troubled()) sayOfStall("no pictures come: is headstream busy, or its machine?", true);
}

// Numbers are of one session: the next gives them to whoever it sees first.
function strangers() {
  if (/^\d+$/.test($("heads").value)) $("heads").value = "largest";
  showPeople([]);
}

function showPeople(people) {
  const wanted = ["largest", "all", ...people.map(({ id }) => String(id))];
  const list = $("heads");
  if (/^\d+$/.test(list.value) && !wanted.includes(list.value)) wanted.push(list.value);
  if (wanted.join() === [...list.options].map(({ value }) => value).join()) return;
  const chosen = list.value;
  list.replaceChildren(...wanted.map((value) => new Option({ largest: "the largest", all: "all" }[value] ?? `person ${value}`, value)));
  list.value = chosen;
}

// --- controls ---

function changed() {
  for (const name of SLIDERS) {
    const value = Number($(name).value).toFixed(2);
    document.querySelector(`output[for=${name}]`).textContent = value;
    $(name).setAttribute("aria-valuetext", value);
  }
  live.configure();
  drawBackground();
}
// A colour that is chosen is wanted.
$("hair").addEventListener("input", () => { $("dye").checked = true; });
$("panel").addEventListener("input", changed);
$("panel").addEventListener("reset", () => setTimeout(() => { forget(); shownBefore = $("background").value; wiped(); changed(); }));
addEventListener("change", keep);
$("panel").addEventListener("submit", (event) => event.preventDefault());
$("start").addEventListener("click", () => (live.on ? live.stop() : begin()));
for (const id of ["source", "size"]) $(id).addEventListener("change", () => { sizeable(); if (live.on || live.opening) begin(); });
function sizeable() { $("size").disabled = $("source").value === "own"; } // that one has its own
function begin() {
  const size = $("size").value.split("x").map(Number);
  live.start({ ...chosenCamera(), size });
}
$("wipe").addEventListener("input", wiped);
function wiped() {
  const share = Number($("wipe").value);
  $("wipe").setAttribute("aria-valuetext", share ? `${share} % before` : "after only");
  scene.draw();
}
$("view").addEventListener("click", (event) => {
  const person = live.personAt(event);
  if (person === undefined) return;
  showPeople(live.people);
  $("heads").value = String(person);
  say(`cutting person ${person}; choose "the largest" or "all" under Whose to go back`);
  changed();
});

// --- background from a file ---

let backSource = null, backUrl = "", shownBefore = "transparent";
function drawBackground() {
  $("plain").hidden = $("background").value !== "colour";
  $("backchoose").hidden = $("background").value !== "file";
  scene.draw();
}
$("background").addEventListener("change", () => {
  if ($("background").value === "file") $("backfile").click(); // WebKit opens nothing here: there the button does
  else shownBefore = $("background").value;
  drawBackground();
});
$("backchoose").addEventListener("click", () => $("backfile").click());
$("backfile").addEventListener("cancel", keepBackground);
$("backfile").addEventListener("change", async () => {
  const [file] = $("backfile").files;
  $("backfile").value = ""; // or choosing it again would be no change
  if (!file) return;
  const url = URL.createObjectURL(file);
  const film = file.type.startsWith("video/");
  const element = film ? Object.assign(document.createElement("video"), { muted: true, loop: true, playsInline: true }) : new Image();
  element.src = url;
  try {
    await (film ? element.play() : element.decode());
  } catch {
    URL.revokeObjectURL(url);
    say(`${file.name} is no picture or video this browser shows`, true);
    keepBackground();
    return;
  }
  backSource?.pause?.();
  URL.revokeObjectURL(backUrl);
  [backSource, backUrl] = [element, url];
  say("");
  scene.draw();
});

function keepBackground() {
  if (!backSource) {
    $("background").value = shownBefore;
    $("background").focus();
  }
  drawBackground();
}

// --- start ---

// The page itself says so where frames stay on the machine that shows it. Heads travel as raw pixels: over a network in fewer.
if (!["127.0.0.1", "localhost", "[::1]"].includes(location.hostname)) {
  $("size").value = "640x480";
  $("hint").textContent = "Start your camera to see your head cut out here. Its pictures go to the machine that runs this studio, and nowhere else.";
}
if ($("background").value === "file") $("background").value = shownBefore; // browsers keep it when a page is loaded again
const last = lastCamera();
if (last?.[1].startsWith("page ")) $("source").append(new Option(...last));
recall();
shownBefore = $("background").value;
const asked = fetch("/api/studio");
const introduced = asked.then(() => {}, () => {});
// A person's number means nobody in another picture.
startFiles({ settings: () => ({ ...settings(), heads: $("heads").value === "all" ? "all" : "largest" }), say: speaker("files"), introduced });
changed();
const about = await (await asked).json();
$("device").textContent = about.device;
$("files").accept += `,${about.kinds}`; // of some, systems know no more than the name
$("overlay").textContent = `${location.origin}/overlay${about.token ? "?token=…" : ""}`;
if (about.camera) $("source").append(new Option(`this machine's: ${about.camera}`, "own"));
recall(["source"]);
sizeable();
