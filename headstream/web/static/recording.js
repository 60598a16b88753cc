// Recordings and snapshots of the result, with the microphone where that is wanted.
import { speaker, troubled } from "./messages.js";
import { seekable } from "./webm.js";

const $ = (id) => document.getElementById(id);
const say = speaker("recording");
const RATE = 30, BITS = 8_000_000, KEY_MS = 2000, LONGEST_DELAY_S = 5;

// trip: milliseconds from a frame to its cut-out, or null. Gives back what ends a recording.
export function startRecording({ canvas, trip }) {
  let recorder = null, asking = false, saving = 0;

  async function record() {
    if (asking) return;
    const sound = $("microphone").checked;
    const type = typeOf(sound);
    if (!type) { say("this browser records no video", true); return; }
    asking = true;
    const microphone = sound ? await listen(trip() ?? 0) : null;
    asking = false;
    if (sound && !microphone) return;
    if ($("record").disabled) { microphone?.end(); return; } // the camera was stopped meanwhile
    const pictures = canvas.captureStream(RATE);
    const stream = new MediaStream([...pictures.getVideoTracks(), ...(microphone?.tracks ?? [])]);
    recorder = new MediaRecorder(stream, { mimeType: type, videoBitsPerSecond: BITS, videoKeyFrameIntervalDuration: KEY_MS });
    const pieces = [], clock = counted();
    recorder.ondataavailable = ({ data }) => { if (data.size) pieces.push(data); };
    recorder.onstop = () => {
      clock();
      microphone?.end();
      for (const track of pictures.getTracks()) track.stop();
      shown(false);
      saving += 1;
      kept(pieces, type).finally(() => { saving -= 1; });
    };
    say(sound ? "" : "recording without sound; tick \"with microphone\" before the next one to have it");
    recorder.start(1000);
    shown(true);
  }

  function stop() { if (recorder?.state === "recording") recorder.stop(); }
  $("record").addEventListener("click", () => (recorder?.state === "recording" ? stop() : record()));
  $("snapshot").addEventListener("click", () => canvas.toBlob((blob) => save(blob, `headstream-${stamp()}.png`)));
  addEventListener("beforeunload", (event) => { if (recorder?.state === "recording" || saving) event.preventDefault(); });
  return stop;
}

function typeOf(sound) {
  const kinds = [sound ? "video/webm;codecs=vp9,opus" : "video/webm;codecs=vp9", "video/webm", "video/mp4"];
  return kinds.find((kind) => MediaRecorder.isTypeSupported(kind));
}

// The microphone, as late as the pictures are: lips and words meet again.
async function listen(late_ms) {
  let stream = null;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  } catch (error) {
    const why = { NotAllowedError: "the browser was not allowed to use it", NotFoundError: "there is none" }[error.name] ?? error.message;
    say(`no microphone: ${why}; untick "with microphone" to record without sound`, true);
    return null;
  }
  const sounds = new AudioContext(), heard = sounds.createMediaStreamDestination();
  const delay = new DelayNode(sounds, { maxDelayTime: LONGEST_DELAY_S, delayTime: Math.min(late_ms / 1000, LONGEST_DELAY_S) });
  sounds.createMediaStreamSource(stream).connect(delay).connect(heard);
  const end = () => {
    for (const track of stream.getTracks()) track.stop();
    sounds.close();
  };
  return { tracks: heard.stream.getAudioTracks(), end };
}

function shown(on) {
  $("record").setAttribute("aria-pressed", String(on));
  $("record").textContent = on ? "Stop recording" : "Record";
  $("microphone").disabled = on;
}

async function kept(pieces, type) {
  if (!pieces.length) { say("this browser recorded nothing; try another, Chrome or Firefox", true); return; }
  const film = new Blob(pieces, { type }), webm = type.includes("webm");
  if (!troubled()) say("finishing the recording ..."); // of an hour it takes seconds
  const whole = webm ? await seekable(film).catch((error) => { console.warn(error); return film; }) : film;
  save(whole, `headstream-${stamp()}.${webm ? "webm" : "mp4"}`);
  if (!troubled()) say("the recording is among your downloads"); // or why it ended
}

// Shows how long it has been going on; gives back what ends that.
function counted() {
  const began = performance.now();
  const show = () => {
    const seconds = Math.floor((performance.now() - began) / 1000);
    $("elapsed").textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  };
  show();
  $("elapsed").hidden = false;
  const ticking = setInterval(show, 500);
  return () => { clearInterval(ticking); $("elapsed").hidden = true; };
}

function save(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

const stamp = () => new Date().toISOString().slice(0, 19).replaceAll(":", "");
