// Live cutting: frames go out, heads come back, scene.js draws both. One or two frames are on the way, never more, so that a slow
// machine shows fewer frames and not older ones.
import { sized } from "./scene.js";
import { connect, newest, packFrame, unpackCut } from "./wire.js";

const ON_THE_WAY = 2;
const STALL_MS = 2000, FIRST_MS = 10_000; // the networks may have to be loaded for the first picture
const RATE = 30;

export class Live {
  constructor({ scene, settings, say, figures, stalled, strangers, running }) {
    Object.assign(this, { scene, canvas: scene.canvas, settings, say, figures, stalled, strangers, running });
    this.sent = new Map(); // number -> {canvas, at}
    this.spare = [];
    this.people = [];
    this.on = false;
    this.run = 0;
    this.trips = []; // milliseconds of frames of the page's own; what another camera's took is not known here
  }

  // kind: "page", whose camera can be named, or "own".  size: width and height that are asked of it, and the most that is sent.
  async start({ kind, camera = null, size }) {
    this.stop();
    const run = ++this.run;
    this.kind = kind;
    this.size = size;
    this.number = 0;
    this.times = [];
    this.trips = [];
    this.opening = true;
    const opened = kind !== "page" || (await this.openCamera(run, camera));
    if (run !== this.run) return;
    this.opening = false;
    if (!opened) return;
    this.on = true;
    this.running(true);
    this.came = performance.now();
    this.waits = 0; // whole seconds without a picture, from the second on
    this.watch = setInterval(() => this.waited(), 250);
    const received = (buffer) => (run === this.run ? this.received(unpackCut(buffer)) : undefined);
    this.link = connect(kind === "page" ? "/ws/page" : "/ws/own", {
      open: () => { this.recycle(); this.people = []; this.strangers(); this.configure(); },
      state: (name, reason) => this.linked(name, reason),
      binary: kind === "page" ? received : newest(received), // of the page's own frames no more come than it sent
      text: (status) => this.told(status),
    });
    if (kind === "page") this.everyFrame(run);
  }

  async openCamera(run, camera) {
    if (!navigator.mediaDevices?.getUserMedia) {
      this.say("this page may not use a camera here: open it as http://127.0.0.1 or over https", true);
      return false;
    }
    const [width, height] = this.size.map((ideal) => ({ ideal }));
    const video = { width, height, frameRate: { ideal: RATE }, ...(camera && { deviceId: { exact: camera } }) };
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ video, audio: false });
      if (run !== this.run) { for (const track of stream.getTracks()) track.stop(); return false; }
      this.stream = stream;
      this.video = Object.assign(document.createElement("video"), { srcObject: stream, muted: true, playsInline: true });
      await this.video.play();
    } catch (error) {
      if (run !== this.run) return false; // another is being opened, or none is wanted any more
      const none = camera ? "the one that is chosen is not there" : "there is none";
      const why = { NotAllowedError: "the browser was not allowed to use it", NotFoundError: none, OverconstrainedError: none, NotReadableError: "another program is using it" };
      this.say(`no camera: ${why[error.name] ?? error.message}`, true);
      return false;
    }
    if (run !== this.run) return false;
    const [track] = this.stream.getVideoTracks();
    track.onended = () => { this.stop(); this.say("the camera was unplugged or taken away", true); };
    track.onmute = () => this.say("the camera gives no pictures: is it covered, switched off, or used by another program?", true);
    track.onunmute = () => this.say("");
    return true;
  }

  everyFrame(run) {
    const next = () => {
      if (run !== this.run || !this.on) return;
      this.grab();
      if (this.video.requestVideoFrameCallback) this.video.requestVideoFrameCallback(next);
      else requestAnimationFrame(next);
    };
    next();
    this.ticker = new Worker("/static/ticker.js"); // OBS goes on showing the overlay while this page is behind another
    this.ticker.onmessage = () => { if (document.hidden) this.grab(); };
  }

  grab() {
    if (!this.link?.ready || this.sent.size >= ON_THE_WAY || !this.video.videoWidth) return;
    const [width, height] = fitted(this.video.videoWidth, this.video.videoHeight, Math.max(...this.size));
    const canvas = this.spare.pop() ?? document.createElement("canvas");
    sized(canvas, width, height);
    const pen = canvas.getContext("2d");
    const mirror = this.settings().mirror;
    pen.setTransform(mirror ? -1 : 1, 0, 0, 1, mirror ? width : 0, 0);
    pen.drawImage(this.video, 0, 0, width, height);
    const number = this.number++;
    this.sent.set(number, { canvas, at: performance.now() });
    encoded(canvas, (jpeg) => { if (jpeg && this.sent.has(number)) this.link.send(packFrame(number, jpeg)); });
  }

  async received(cut) {
    const run = this.run;
    let whole = null, at = null;
    if (this.kind === "page") {
      const own = this.sent.get(cut.number);
      if (!own) return;
      this.sent.delete(cut.number);
      ({ canvas: whole, at } = own);
    } else if (cut.jpeg) whole = await createImageBitmap(cut.jpeg);
    if (run !== this.run || !this.on) return;
    this.keep(this.scene.show({ ...cut, whole }));
    const now = performance.now();
    if (this.waits) { this.times = []; this.trips = []; this.stalled(this.waits = 0); } // new figures: the pause is in the old ones
    this.came = now;
    this.times = [...this.times.slice(-60), now];
    if (at !== null) this.trips = [...this.trips.slice(-60), now - at];
    this.figures({ fps: this.rate(), latency: this.trip() });
    this.canvas.dataset.frames = Number(this.canvas.dataset.frames ?? 0) + 1;
  }

  told({ people, cut_ms: cut, device, notice }) {
    this.people = people;
    if (this.waits) this.figures({ people });
    else this.figures({ fps: this.rate(), latency: this.trip(), cut, device, people });
    if (notice) this.say(notice);
  }

  // Whoever answers nothing makes no event.
  waited() {
    const gone = performance.now() - this.came;
    if (gone < (this.times.length ? STALL_MS : FIRST_MS) || Math.floor(gone / 1000) === this.waits) return;
    this.waits = Math.floor(gone / 1000);
    this.figures({ fps: null, latency: null, cut: null });
    this.stalled(this.waits);
  }

  rate() { return this.times.length > 1 ? ((this.times.length - 1) * 1000) / (this.times.at(-1) - this.times[0]) : 0; }
  trip() { return this.trips.length ? [...this.trips].sort((a, b) => a - b)[this.trips.length >> 1] : null; }

  linked(name, reason) {
    if (name === "refused") { this.stop(); this.say(reason || "the studio refused this page", true); }
    if (name === "lost") this.say("connection to headstream lost; trying again", true);
    if (name === "open") this.say("");
  }

  configure() {
    const wanted = this.settings();
    if (this.kind === "page") wanted.mirror = false; // done here, before sending
    this.link?.send(JSON.stringify(wanted));
  }

  personAt(event) {
    const { left, top, width, height } = this.canvas.getBoundingClientRect();
    const x = ((event.clientX - left) * this.canvas.width) / width;
    const y = ((event.clientY - top) * this.canvas.height) / height;
    return this.people.find(({ box: [x0, y0, x1, y1] }) => x >= x0 && x <= x1 && y >= y0 - (y1 - y0) / 2 && y <= y1)?.id;
  }

  // The frame of what was shown is used again.
  keep(shown) {
    if (shown?.whole instanceof HTMLCanvasElement) this.spare.push(shown.whole);
    else shown?.whole?.close?.();
  }

  recycle() {
    for (const { canvas } of this.sent.values()) this.spare.push(canvas);
    this.sent.clear();
  }

  stop() {
    this.run++;
    clearInterval(this.watch);
    this.link?.close();
    this.link = null;
    this.ticker?.terminate();
    this.ticker = null;
    this.recycle();
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = null;
    this.people = [];
    this.opening = false;
    if (this.on) { this.on = false; this.running(false); }
    this.keep(this.scene.clear());
    this.say("");
  }
}

// What a page does when it has time for it, it does once a second when it is not shown: there the picture is encoded at once.
function encoded(canvas, then) {
  if (!document.hidden) { canvas.toBlob(then, "image/jpeg", 0.85); return; }
  const data = atob(canvas.toDataURL("image/jpeg", 0.85).split(",")[1]);
  then(Uint8Array.from(data, (letter) => letter.charCodeAt(0)));
}

function fitted(width, height, most) {
  const scale = Math.min(1, most / Math.max(width, height));
  return [Math.round((width * scale) / 2) * 2, Math.round((height * scale) / 2) * 2];
}
