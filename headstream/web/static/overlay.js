// The head alone on nothing, for an OBS browser source. Empty while nobody is being cut.
import { connect, newest, unpackCut } from "./wire.js";

const canvas = document.getElementById("head");
const pen = canvas.getContext("2d");
const STALE_MS = 3000;
let stale = 0;

function clear() { pen.clearRect(0, 0, canvas.width, canvas.height); }

connect("/ws/overlay", {
  state: () => {},
  binary: newest((buffer) => {
    const cut = unpackCut(buffer);
    if (canvas.width !== cut.width || canvas.height !== cut.height) Object.assign(canvas, { width: cut.width, height: cut.height });
    clear();
    if (cut.head) pen.putImageData(cut.head, cut.x, cut.y);
    document.body.dataset.frames = Number(document.body.dataset.frames ?? 0) + 1;
    clearTimeout(stale);
    stale = setTimeout(clear, STALE_MS);
  }),
});
