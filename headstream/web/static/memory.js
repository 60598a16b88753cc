// The controls as they were left, for the next time this page is opened. No files, no pictures, and not the microphone.

const KEY = "headstream controls";
const KEPT = ["background", "colour", "part", "heads", "padding", "smoothing", "feather", "threshold", "spill", "dye", "hair", "mirror",
  "source", "size", "output", "hq"];
const $ = (id) => document.getElementById(id);

// Set the controls with these ids as they were left; of lists, only to what is in them.
export function recall(ids = KEPT) {
  const kept = read();
  for (const id of ids.filter((name) => name in kept)) {
    const control = $(id), value = kept[id];
    if (control.type === "checkbox") control.checked = value === true;
    else if (control.tagName !== "SELECT" || [...control.options].some((option) => option.value === value)) control.value = value;
  }
}

export function keep() {
  const now = Object.fromEntries(KEPT.map((id) => [id, $(id).type === "checkbox" ? $(id).checked : $(id).value]));
  if (now.background === "file") delete now.background; // the one before it stays
  if (/^\d+$/.test(now.heads)) delete now.heads; // somebody's number, nobody's in the next session
  const camera = $("source").selectedOptions[0].text;
  stored((store) => store.setItem(KEY, JSON.stringify({ ...read(), ...now, camera })));
}

export function forget() { stored((store) => store.removeItem(KEY)); }

// The name of the camera that was chosen, which the browser may not tell yet: [name, value], or null.
export function lastCamera() {
  const { camera, source } = read();
  return typeof source === "string" && typeof camera === "string" ? [camera, source] : null;
}

function read() {
  const text = stored((store) => store.getItem(KEY));
  try { return Object(JSON.parse(text)); } catch { return {}; }
}

// Some browsers keep nothing for anybody, and say so by an exception.
function stored(work) {
  try { return work(localStorage); } catch { return null; }
}
