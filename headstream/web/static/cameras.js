// The browser's cameras in the list of sources. Browsers tell their names only once one of them may be used.

const list = document.getElementById("source");
const MARK = "page ";

export async function listCameras() {
  const devices = (await navigator.mediaDevices?.enumerateDevices?.()) ?? [];
  const cameras = devices.filter(({ kind, deviceId }) => kind === "videoinput" && deviceId);
  if (!cameras.length) return; // nothing is told yet
  const chosen = list.value;
  for (const option of [...list.options]) if (option.value.startsWith(MARK)) option.remove();
  list.options[0].after(...cameras.map(({ deviceId, label }, at) => new Option(label || `camera ${at + 1}`, MARK + deviceId)));
  list.value = chosen;
  if (list.selectedIndex < 0) list.selectedIndex = 0; // it was taken away
}

// What is chosen, as live.js starts it: whose camera, and which of the browser's.
export function chosenCamera() {
  const named = list.value.startsWith(MARK);
  return { kind: named ? "page" : list.value, camera: named ? list.value.slice(MARK.length) : null };
}

navigator.mediaDevices?.addEventListener?.("devicechange", listCameras);
listCameras();
