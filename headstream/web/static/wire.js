// How frames travel; the other end is web/wire.py.

const HEADER_BYTES = 20;

export function packFrame(number, jpeg) {
  return new Blob([new Uint32Array([number]), jpeg]);
}

export function unpackCut(buffer) {
  const view = new DataView(buffer);
  const number = view.getUint32(0, true);
  const [width, height, x, y, w, h] = [4, 6, 8, 10, 12, 14].map((at) => view.getUint16(at, true));
  const jpegBytes = view.getUint32(16, true);
  const rgbaBytes = w * h * 4;
  const head = w && h ? new ImageData(new Uint8ClampedArray(buffer, HEADER_BYTES, rgbaBytes), w, h) : null;
  const jpeg = jpegBytes ? new Blob([new Uint8Array(buffer, HEADER_BYTES + rgbaBytes, jpegBytes)], { type: "image/jpeg" }) : null;
  return { number, width, height, x, y, head, jpeg };
}

// A handler of messages that come faster than they can be shown: of those that came meanwhile it shows the newest. Firefox keeps
// any number for a page that is slow, and pictures would get older and older.
export function newest(show) {
  const turn = new MessageChannel(); // comes after the messages that are there already; timers sleep in a page behind another
  let waiting = null, busy = false;
  const next = async () => {
    const buffer = waiting;
    waiting = null;
    busy = buffer !== null;
    if (!busy) return;
    try { await show(buffer); } finally { turn.port2.postMessage(0); }
  };
  turn.port1.onmessage = next;
  return (buffer) => { waiting = buffer; if (!busy) next(); };
}

// A WebSocket that comes back. handlers: open(socket), binary(buffer), text(object), state(name, reason).
// Codes 44xx are refusals: those are final.
export function connect(path, handlers) {
  let socket = null, ended = false, wait = 300, timer = 0;
  const open = () => {
    handlers.state("connecting", "");
    socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${path}`);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => { wait = 300; handlers.state("open", ""); handlers.open?.(socket); };
    socket.onmessage = ({ data }) => (typeof data === "string" ? handlers.text?.(JSON.parse(data)) : handlers.binary(data));
    socket.onclose = ({ code, reason }) => {
      if (ended) return;
      if (code >= 4400 && code < 4500) { ended = true; handlers.state("refused", reason); return; }
      handlers.state("lost", reason);
      timer = setTimeout(open, wait);
      wait = Math.min(wait * 2, 4000);
    };
  };
  open();
  return {
    send: (data) => { if (socket?.readyState === WebSocket.OPEN) socket.send(data); },
    get ready() { return socket?.readyState === WebSocket.OPEN && socket.bufferedAmount < 1 << 20; },
    close: () => { ended = true; clearTimeout(timer); socket?.close(); },
  };
}
