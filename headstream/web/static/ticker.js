// A worker that keeps time for a page behind another tab or window: there browsers stop every clock of the page's own.
setInterval(() => postMessage(0), 1000 / 30);
