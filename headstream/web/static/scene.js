// What is seen: the background and the head before it on one canvas, which is recorded, and what was before on another above it.

export class Scene {
  constructor({ canvas, before, background, wipe }) {
    Object.assign(this, { canvas, before, background, wipe });
    this.pen = canvas.getContext("2d");
    for (const name of ["head", "soft"]) this[name] = document.createElement("canvas");
    this.blur = Array.from({ length: 4 }, () => document.createElement("canvas")); // each half as large as the one before
    this.shown = null;
  }

  // Draw a cut-out; gives back the one that was shown until now.
  show(cut) {
    const last = this.shown;
    this.shown = cut;
    this.draw();
    return last;
  }

  // Show nothing any more; gives back what was shown.
  clear() {
    const last = this.shown;
    this.shown = null;
    for (const canvas of [this.canvas, this.before, this.head, this.soft, ...this.blur]) {
      canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
    }
    return last;
  }

  draw() {
    const { shown, pen, canvas } = this;
    if (!shown) return;
    const { width, height, x, y, head, whole } = shown;
    if (canvas.width !== width || canvas.height !== height) {
      sized(canvas, width, height);
      canvas.parentElement.style.setProperty("--ratio", width / height);
    }
    if (head) {
      if (this.head.width < head.width || this.head.height < head.height) {
        Object.assign(this.head, { width: Math.max(this.head.width, head.width), height: Math.max(this.head.height, head.height) });
      }
      this.head.getContext("2d").putImageData(head, 0, 0);
    }
    pen.clearRect(0, 0, width, height);
    this.drawBackground(whole, width, height);
    if (head) pen.drawImage(this.head, 0, 0, head.width, head.height, x, y, head.width, head.height);
    this.drawBefore(whole, width, height);
  }

  // What the camera sees, up to the wipe: above the canvas and never in it, or recordings and snapshots would have the room.
  drawBefore(whole, width, height) {
    const { before } = this, pen = before.getContext("2d");
    sized(before, width, height);
    pen.clearRect(0, 0, width, height);
    const edge = Math.round(width * this.wipe());
    if (!edge || !whole) return;
    pen.drawImage(whole, 0, 0, edge, height, 0, 0, edge, height);
    pen.fillStyle = "#fff";
    pen.fillRect(edge - 1, 0, 2, height);
  }

  drawBackground(whole, width, height) {
    const { kind, colour, source } = this.background();
    const { pen } = this;
    if (kind === "colour") { pen.fillStyle = colour; pen.fillRect(0, 0, width, height); }
    if (kind === "blur" && whole) pen.drawImage(this.blurred(whole, width, height), 0, 0, width, height);
    if (kind === "file" && source) {
      const [w, h] = [source.videoWidth || source.naturalWidth, source.videoHeight || source.naturalHeight];
      const scale = Math.max(width / w, height / h);
      pen.drawImage(source, (width - w * scale) / 2, (height - h * scale) / 2, w * scale, h * scale);
    }
  }

  // The scene out of focus at a fifth of its size, the head left out so that no halo of it remains: a hole in it is filled
  // from around by drawing the blurred rest over itself until it is opaque.
  blurred(whole, width, height) {
    const { soft, blur } = this, [small] = blur, pen = small.getContext("2d");
    blur.forEach((canvas, level) => sized(canvas, Math.ceil(width / (5 << level)), Math.ceil(height / (5 << level))));
    sized(soft, small.width, small.height);
    replaced(small, whole);
    defocused(blur);
    replaced(soft, small);
    if (this.shown.head) {
      const { head, x, y } = this.shown;
      replaced(small, whole);
      pen.globalCompositeOperation = "destination-out";
      for (let again = 0; again < 3; again++) {
        pen.drawImage(this.head, 0, 0, head.width, head.height, x / 5 - 1, y / 5 - 1, head.width / 5 + 2, head.height / 5 + 2);
      }
      defocused(blur);
      for (let again = 0; again < 5; again++) soft.getContext("2d").drawImage(small, 0, 0);
    }
    return soft;
  }
}

export function sized(canvas, width, height) {
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
}

function replaced(canvas, picture) {
  const pen = canvas.getContext("2d");
  pen.globalCompositeOperation = "copy";
  pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
  pen.globalCompositeOperation = "source-over";
}

// The first of the canvases blurred, by way of the smaller ones and back. Safari's canvas has no filter for it.
function defocused(canvases) {
  for (let at = 1; at < canvases.length; at++) replaced(canvases[at], canvases[at - 1]);
  for (let at = canvases.length - 1; at; at--) replaced(canvases[at - 1], canvases[at]);
}
