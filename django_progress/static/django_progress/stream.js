/*
 * Keeps the live regions of a page up to date by one stream, where the server offers one. While it is heard, polls are
 * held back; when it breaks they go on, and it is opened again later. Needs django_progress.js.
 */
(() => {
  "use strict";
  const { dpStream: address } = document.currentScript.dataset;
  if (window.djangoProgressStream || !window.EventSource) return;
  window.djangoProgressStream = true;

  // How many streams all tabs of a browser share where it opens no more than six connections to a site.
  const SLOTS = 2;
  // Longer addresses are refused by some servers; live regions beyond go on polling.
  const MOST_CHARACTERS = 6000;
  // How long, in ms, a new stream may say nothing: what holds it back on the way won't let go of it later.
  const PATIENCE = 10_000;
  const FIRST_PAUSE = 2000;
  const LONGEST_PAUSE = 300_000;
  // Within which time all those whose stream broke at the same moment poll again.
  const SPREAD = 3000;

  let page; // what django_progress.js has to give
  let source = null;
  let asked = new Set(); // ids of what the stream was asked for
  let held = {}; // id → how long its polls are held back, in ms, while the stream is heard
  const newest = new Map(); // id → the newest revision that the stream has told of, whether or not that was shown
  let isResting = false; // Whether polls are still to go on after the stream broke.
  let openedAt = 0;
  let breaks = 0; // one after the other
  let isLeft = false;
  let release = null; // gives up the slot, or the place in the queue for one
  let reopening, silence, looking, resting;

  // -- what it brings -----------------------------------------------------------------

  const pieces = new Map(); // id → the newest that came for it while a pointer was down
  let pressedAt = 0;

  /* Put a live region into the place of what is shown, if that is no newer; what has stopped isn't begun again. */
  function put(html) {
    const fresh = new DOMParser().parseFromString(html, "text/html").querySelector("[data-dp-live]");
    if (!fresh) return;
    if (Date.now() - pressedAt < 5000) {
      pieces.set(fresh.id, html); // A click whose element is replaced before it ends is none.
      return;
    }
    newest.set(fresh.id, Number(fresh.dataset.revision));
    for (const live of page.polled()) {
      if (live.id !== fresh.id || Number(fresh.dataset.revision) < Number(live.dataset.revision)) continue;
      const piece = document.importNode(fresh, true);
      const focused = live.contains(document.activeElement) ? document.activeElement.id : "";
      // All who look at a process are sent the same, and must not poll at the same time once the stream has broken.
      const trigger = (piece.getAttribute("hx-trigger") || "").replace(/\d+/, (ms) => Math.round(ms * around(1)));
      if (trigger) piece.setAttribute("hx-trigger", trigger);
      live.replaceWith(piece);
      page.brought(piece);
      if (focused) piece.querySelector(`[id="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    }
  }

  document.addEventListener("pointerdown", () => (pressedAt = Date.now()), true);
  for (const name of ["pointerup", "pointercancel"]) {
    document.addEventListener(
      name,
      () =>
        setTimeout(() => {
          pressedAt = 0;
          const brought = [...pieces.values()];
          pieces.clear();
          brought.forEach(put);
        }),
      true,
    );
  }

  function poke(ids) {
    const regions = page.polled().filter((live) => ids.includes(live.id));
    for (const id of ids) if (!regions.some((live) => live.id === id)) newest.set(id, Infinity);
    page.poke(regions);
  }

  /* Say whether a live region shows less than the stream has told of, as one that htmx has restored from its history. */
  function isBehind(live) {
    return Number(live.dataset.revision) < newest.get(live.id);
  }

  // -- its life -----------------------------------------------------------------------

  const around = (number) => number * (0.9 + Math.random() / 5);

  /* Have a stream for what there is to be kept up to date, while it is looked at. */
  function look() {
    looking = null;
    const lives = page.polled();
    const ids = lives.flatMap(shown);
    if (!ids.length || document.hidden || isLeft) close();
    else if (!release) open();
    else if (source && (ids.some((id) => !asked.has(id)) || lives.some(isBehind))) {
      close();
      open();
    }
  }

  /* Return the ids of a live region and of what it lists, which the server watches as it was when it was asked. */
  function shown(live) {
    return [live.id, ...[...live.querySelectorAll(".dp-row[id]")].map((row) => row.id)];
  }

  function open() {
    release = takeSlot(connect);
  }

  function close() {
    [reopening, silence, resting].forEach(clearTimeout);
    isResting = false;
    if (source) source.close();
    if (release) release();
    source = release = null;
    held = {};
  }

  function connect() {
    asked = new Set(page.polled().flatMap(shown));
    newest.clear(); // The server is told what is shown now.
    let query = "";
    for (const live of page.polled()) {
      const part = `&poll=${encodeURIComponent(live.getAttribute("hx-get"))}`;
      if (query.length + part.length < MOST_CHARACTERS) query += part;
    }
    openedAt = Date.now();
    source = new EventSource(`${address}?${query.slice(1)}`);
    const stream = source;
    let alive = PATIENCE;
    const listen = (name, handle) =>
      stream.addEventListener(name, (event) => {
        if (stream !== source) return;
        clearTimeout(silence);
        handle(event.data);
        if (stream === source) silence = setTimeout(broken, alive);
      });
    silence = setTimeout(broken, alive);
    listen("hello", (data) => {
      ({ held, alive } = JSON.parse(data));
      page.polled().forEach((live) => live.id in held && page.hear(live)); // It brings what has changed by now.
    });
    listen("live", put);
    listen("poke", (data) => poke(JSON.parse(data)));
    listen("alive", () => {});
    listen("again", () => pause(Math.random() * 500));
    stream.onerror = () => stream === source && broken();
  }

  /* Poll for a while, and then try again: later each time, unless it had worked. */
  function broken() {
    const wasHeard = Object.keys(held).length > 0;
    if (wasHeard && Date.now() - openedAt > PATIENCE) breaks = 0;
    pause(Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** breaks) * (0.5 + Math.random()));
    breaks += 1;
    if (!wasHeard) return;
    // A server that starts again must not be asked by all at once.
    isResting = true;
    resting = setTimeout(() => {
      isResting = false;
      page.poke(page.polled());
    }, Math.random() * SPREAD);
  }

  function pause(time) {
    close();
    release = () => {};
    reopening = setTimeout(() => {
      release = null;
      look();
    }, time);
  }

  /* Call `use` when this tab may have a stream; return what ends that, or the wait for it. */
  function takeSlot(use) {
    const [loaded] = performance.getEntriesByType("navigation");
    if (loaded && /^h[23]/.test(loaded.nextHopProtocol)) {
      use();
      return () => {};
    }
    if (!navigator.locks) return () => {}; // Not to be had: without it, tabs can't agree.
    const queue = new AbortController();
    let end;
    const ended = new Promise((resolve) => (end = resolve));
    let isTaken = false;
    for (let number = 1; number <= SLOTS; number += 1) {
      const hold = () => {
        if (isTaken || queue.signal.aborted) return undefined;
        isTaken = true;
        use();
        return ended;
      };
      navigator.locks.request(`django-progress-stream-${number}`, { signal: queue.signal }, hold).catch(() => {});
    }
    return () => {
      queue.abort();
      end();
    };
  }

  // -----------------------------------------------------------------------------------

  function begin() {
    page = window.djangoProgress;
    page.interval = (live) => held[live.id] || (isResting ? Infinity : 0);
    page.changed = () => {
      if (!looking) looking = setTimeout(look, 50);
    };
    document.addEventListener("visibilitychange", look);
    window.addEventListener("pagehide", () => {
      isLeft = true;
      look();
    });
    window.addEventListener("pageshow", () => {
      isLeft = false;
      look();
    });
    page.changed();
  }

  if (window.djangoProgress) begin();
  else document.addEventListener("dp:ready", begin, { once: true });
})();
