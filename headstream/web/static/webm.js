// Recordings that can be sought. MediaRecorder writes WebM as a stream, without a duration and without an index: both are added
// here (RFC 9559: Duration in Info, Cues behind the last cluster, a SeekHead that tells where they are). The clusters stay what they
// were, byte for byte; a file that is built otherwise than expected stays as a whole.

const EBML = 0x1a45dfa3, SEGMENT = 0x18538067, SEEK_HEAD = 0x114d9b74, SEEK = 0x4dbb, SEEK_ID = 0x53ab, SEEK_POSITION = 0x53ac;
const INFO = 0x1549a966, DURATION = 0x4489, TRACKS = 0x1654ae6b, TRACK_ENTRY = 0xae, TRACK_NUMBER = 0xd7, TRACK_TYPE = 0x83, VIDEO = 1;
const CLUSTER = 0x1f43b675, TIME = 0xe7, SIMPLE_BLOCK = 0xa3, BLOCK_GROUP = 0xa0, BLOCK = 0xa1, REFERENCE = 0xfb;
const CUES = 0x1c53bb6b, CUE_POINT = 0xbb, CUE_TIME = 0xb3, CUE_POSITIONS = 0xb7, CUE_TRACK = 0xf7, CUE_CLUSTER = 0xf1;
const VOID = 0xec, CRC = 0xbf, TAGS = 0x1254c367;
const HEAD_BYTES = 1 << 16, WINDOW_BYTES = 4 << 20;

class Unexpected extends Error {}

// The same recording with a duration and an index, or itself.
export async function seekable(blob) {
  try {
    return await rebuilt(blob);
  } catch (error) {
    if (error instanceof Unexpected || error instanceof RangeError) return blob; // RangeError: it ends where more was promised
    throw error;
  }
}

async function rebuilt(blob) {
  const head = new DataView(await blob.slice(0, HEAD_BYTES).arrayBuffer());
  const ebml = element(head, 0), segment = element(head, ebml.end);
  if (ebml.id !== EBML || segment.id !== SEGMENT || segment.end !== Infinity) throw new Unexpected("no stream");
  const { parts, track, clusters } = headed(head, segment.start);
  const { duration, keys } = await walked(blob, clusters, track);
  parts.get(INFO).push(made(DURATION, double(duration)));
  const written = [INFO, TRACKS, TAGS].filter((id) => parts.has(id)).map((id) => [id, made(id, ...parts.get(id))]);
  // Every number in it has eight bytes, so that it is as long before the positions are known as after.
  const seeks = (positions) => made(SEEK_HEAD, ...positions.map(([id, position]) =>
    made(SEEK, made(SEEK_ID, idBytes(id)), made(SEEK_POSITION, eight(position)))));
  let at = seeks([...written, [CUES]].map(([id]) => [id, 0])).length;
  const positions = written.map(([id, bytes]) => { const seek = [id, at]; at += bytes.length; return seek; });
  const cues = made(CUES, ...keys.map(({ time, cluster }) => made(CUE_POINT, made(CUE_TIME, eight(time)),
    made(CUE_POSITIONS, made(CUE_TRACK, eight(track)), made(CUE_CLUSTER, eight(at + cluster - clusters))))));
  const end = at + blob.size - clusters;
  const size = eight(end + cues.length);
  size[0] = 0x01; // the mark of a size of eight bytes
  const front = new Uint8Array(head.buffer, 0, ebml.end), bytes = written.map(([, part]) => part);
  return new Blob([front, idBytes(SEGMENT), size, seeks([...positions, [CUES, end]]), ...bytes, blob.slice(clusters), cues], { type: blob.type });
}

// What stands before the first cluster: the bytes of what is in each part, the number of the video's track, where the clusters begin.
function headed(head, start) {
  const parts = new Map();
  let track = 0, found = element(head, start);
  for (; found.id !== CLUSTER; found = element(head, found.end)) {
    if ([VOID, CRC, SEEK_HEAD].includes(found.id)) continue;
    if (![INFO, TRACKS, TAGS].includes(found.id) || parts.has(found.id)) throw new Unexpected("another part");
    const inside = children(head, found).filter(({ id }) => ![VOID, CRC, DURATION].includes(id));
    parts.set(found.id, inside.map(({ at, end }) => new Uint8Array(head.buffer, at, end - at)));
    for (const entry of inside.filter(({ id }) => id === TRACK_ENTRY)) {
      const told = Object.fromEntries(children(head, entry).map((child) => [child.id, child]));
      if (number(head, told[TRACK_TYPE]) === VIDEO) track = number(head, told[TRACK_NUMBER]);
    }
  }
  if (!track || !parts.has(INFO)) throw new Unexpected("no video");
  return { parts, track, clusters: found.at };
}

// How long it is, and the first key frame of every cluster that has one. Times are in the file's own unit.
async function walked(blob, start, track) {
  const keys = [], frames = { first: null, last: 0, count: 0 };
  let view = null, base = 0, cluster = 0, began = 0, latest = 0, end = 0, fresh = false;
  for (let at = start; at < blob.size; at = end) {
    if (!view || at + 32 > base + view.byteLength) { // no header is longer
      view = new DataView(await blob.slice(at, at + WINDOW_BYTES).arrayBuffer());
      base = at;
    }
    const found = element(view, at - base);
    end = base + ([CLUSTER, BLOCK_GROUP].includes(found.id) ? found.start : found.end);
    if (end > blob.size || [CUES, TAGS, SEEK_HEAD].includes(found.id)) throw new Unexpected("another end");
    if (found.id === CLUSTER) cluster = at;
    else if (found.id === TIME) began = number(view, found);
    else if (found.id === REFERENCE && fresh) keys.pop(); // it needs another frame
    else if (found.id === SIMPLE_BLOCK || found.id === BLOCK) {
      const of = vint(view, found.start), time = began + view.getInt16(of.end);
      const key = found.id === BLOCK || view.getUint8(of.end + 2) & 0x80;
      latest = Math.max(latest, time);
      fresh = false;
      if (of.value !== track) continue;
      frames.first ??= time;
      Object.assign(frames, { last: time, count: frames.count + 1 });
      fresh = Boolean(key) && keys.at(-1)?.cluster !== cluster;
      if (fresh) keys.push({ time, cluster });
    }
  }
  const each = frames.count > 1 ? (frames.last - frames.first) / (frames.count - 1) : 0; // the last one is shown as long as others
  return { duration: Math.max(latest, frames.last + each), keys };
}

// --- elements: an id, a size, content ---

function element(view, at) {
  const id = vint(view, at, true), size = vint(view, id.end);
  return { id: id.value, at, start: size.end, end: size.unknown ? Infinity : size.end + size.value };
}

function children(view, { start, end }) {
  const found = [];
  for (let at = start; at < end; at = found.at(-1).end) found.push(element(view, at));
  return found;
}

// A number whose first byte tells by its leading zeros how many follow. An id keeps that mark.
function vint(view, at, marked = false) {
  const first = view.getUint8(at), length = Math.clz32(first) - 23;
  if (length > 8) throw new Unexpected("no number");
  let value = marked ? first : first & (0xff >> length);
  for (let next = 1; next < length; next++) value = value * 256 + view.getUint8(at + next);
  return { value, end: at + length, unknown: value === 2 ** (7 * length) - 1 };
}

function number(view, found) {
  if (!found) throw new Unexpected("a number is missing");
  let value = 0;
  for (let at = found.start; at < found.end; at++) value = value * 256 + view.getUint8(at);
  return value;
}

function made(id, ...parts) {
  const length = parts.reduce((sum, part) => sum + part.length, 0), size = eight(length);
  size[0] = 0x01;
  const bytes = new Uint8Array(idBytes(id).length + 8 + length);
  let at = 0;
  for (const part of [idBytes(id), size, ...parts]) { bytes.set(part, at); at += part.length; }
  return bytes;
}

function idBytes(id) {
  const bytes = eight(id);
  return bytes.slice(bytes.findIndex(Boolean));
}

function eight(value) {
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, BigInt(value));
  return new Uint8Array(view.buffer);
}

function double(value) {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value);
  return new Uint8Array(view.buffer);
}
