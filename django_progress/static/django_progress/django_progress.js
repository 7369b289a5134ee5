/*
 * What htmx leaves to do for live regions (elements with data-dp-live): brings htmx where the page has none,
 * announces, keeps what is open open, refuses older states, polls less where nobody looks. htmx 2 and htmx 4.
 */
(() => {
  "use strict";
  if (window.djangoProgress) return;
  // What stream.js uses, where it is there; and at the end, what it gives.
  const api = (window.djangoProgress = { polled, brought, hear, poke, interval: () => 0, changed: () => {} });

  const HIDDEN_INTERVAL = 15_000;
  const script = document.currentScript;
  // By element and not by id: one process may be shown twice in a page.
  const homes = new WeakMap(); // live region → the box that it stands, or stood, in
  const seen = new WeakMap(); // box → the live region that was shown last
  const kept = new WeakMap(); // box → name of a <details> → whether it is open
  const heard = new WeakMap(); // box → when it polled last, or a stream last brought something
  const asking = new WeakMap(); // live region that polls now → whether it is to poll again after that
  const strange = new WeakSet(); // live regions whose last answer was none of ours
  let isBrought = false;
  const failures = new WeakMap(); // box → failed polls in a row

  // -- htmx ---------------------------------------------------------------------------

  function bringHtmx() {
    const source = script && script.dataset.dpHtmx;
    if (!source || window.htmx || isBrought) return;
    isBrought = true;
    if (!document.querySelector('meta[name="htmx-config"]')) {
      const meta = document.createElement("meta");
      meta.name = "htmx-config";
      meta.content = '{"includeIndicatorStyles": false}'; // an inline <style>, which a strict policy blocks
      document.head.append(meta);
    }
    const element = document.createElement("script");
    element.src = source;
    if (script.nonce) element.nonce = script.nonce;
    // It may have come too late to see the page become ready.
    element.addEventListener("load", () => window.htmx.process(document.body));
    document.head.append(element);
  }

  // -- a live region that has come, or come back --------------------------------------

  function arrived(live) {
    const box = live.closest("[data-dp]") || live.parentElement;
    const before = seen.get(box);
    if (before === live) return;
    seen.set(box, live);
    homes.set(live, box);
    if (box.hasAttribute("data-dp-page")) document.title = live.dataset.title;
    if (before && before.dataset.said !== live.dataset.said) {
      const region = box.querySelector("[data-dp-said]");
      if (region) region.textContent = live.dataset.said;
    }
    for (const details of live.querySelectorAll("details[data-dp-keep]")) {
      const name = details.dataset.dpKeep;
      // As it was last, of which the browser may not have told yet.
      const last = before && before.querySelector(`details[data-dp-keep="${name}"]`);
      const open = last ? last.open : kept.get(box) && kept.get(box).get(name);
      if (open !== undefined) details.open = open;
    }
    // Beside the live region, too: what stands there doesn't change, but is in the server's time zone.
    for (const time of box.querySelectorAll("time[data-dp-time]")) localise(time);
    if (before) moveOn(before, live);
  }

  function localise(time) {
    const moment = new Date(time.dateTime);
    if (Number.isNaN(moment.getTime())) return;
    const clock = { hour: "numeric", minute: "2-digit" };
    const isToday = moment.toDateString() === new Date().toDateString();
    const format = isToday ? clock : { day: "numeric", month: "short", year: "numeric", ...clock };
    const language = document.documentElement.lang || undefined;
    try {
      time.textContent = new Intl.DateTimeFormat(language, format).format(moment);
    } catch {
      // The page's language is none that the browser knows: what the server wrote is kept.
    }
  }

  /* Let bars and spinners go on from where the elements were that these have replaced. */
  function moveOn(before, live) {
    const place = (bar) => bar.closest("[id]").id;
    const old = new Map([...before.querySelectorAll("progress")].map((bar) => [place(bar), bar]));
    for (const bar of live.querySelectorAll("progress")) {
      const last = old.get(place(bar));
      const value = bar.value;
      if (!last || last.max !== bar.max || last.position < 0 || last.value >= value) continue;
      bar.value = last.value;
      bar.getBoundingClientRect(); // draws it, so that the stylesheet's transition has a beginning
      bar.value = value;
    }
    if (!live.getAnimations) return;
    for (const animation of live.getAnimations({ subtree: true })) {
      if (animation.effect.getComputedTiming().iterations === Infinity) animation.startTime = 0;
    }
  }

  function look(root) {
    if (root.matches("[data-dp-live]")) arrived(root);
    root.querySelectorAll("[data-dp-live]").forEach(arrived);
  }

  new MutationObserver((records) => {
    for (const record of records) {
      for (const node of record.addedNodes) if (node.nodeType === Node.ELEMENT_NODE && node.isConnected) look(node);
    }
    api.changed();
  }).observe(document.documentElement, { childList: true, subtree: true });

  document.addEventListener(
    "toggle",
    (event) => {
      const details = event.target;
      const live = details.closest && details.closest("[data-dp-live]");
      if (live && live.isConnected && details.dataset.dpKeep) {
        const box = homes.get(live);
        if (!kept.has(box)) kept.set(box, new Map());
        kept.get(box).set(details.dataset.dpKeep, details.open);
      }
    },
    true,
  );

  /* Take a live region that did not come by htmx, but by a stream. */
  function brought(live) {
    arrived(live);
    hear(live);
    connected(homes.get(live), 0);
    if (window.htmx) window.htmx.process(live);
  }

  // -- polls --------------------------------------------------------------------------

  /* Return the live regions that ask for themselves, and not for the page around them. */
  function polled() {
    return [...document.querySelectorAll('[data-dp-live][hx-get][hx-target="this"]')];
  }

  const isLive = (element) => element instanceof Element && element.hasAttribute("data-dp-live");
  const listen = (names, handle) => names.forEach((name) => document.addEventListener(name, handle));

  /* Return what an event of htmx 2 or of htmx 4 is about. */
  function told(event) {
    const { ctx, xhr, elt, requestConfig, serverResponse } = event.detail || {};
    if (ctx) {
      const response = ctx.response;
      return {
        element: ctx.sourceElement,
        status: response ? response.status : 0,
        redirect: response && response.headers ? response.headers.get("HX-Redirect") : null,
        text: ctx.text || "",
      };
    }
    return {
      // Where that has been replaced meanwhile, elt is what it stood in.
      element: (requestConfig && requestConfig.elt) || elt,
      status: xhr ? xhr.status : 0,
      redirect: xhr && xhr.readyState >= 2 ? xhr.getResponseHeader("HX-Redirect") : null,
      text: serverResponse || "",
    };
  }

  /* htmx 2 lets a live region inherit hx-confirm, and nothing but an answer takes that back. */
  document.addEventListener(
    "htmx:confirm",
    (event) => {
      const { ctx, elt, question, issueRequest } = event.detail;
      if (ctx || !isLive(elt) || !question || !issueRequest) return;
      event.preventDefault();
      event.stopPropagation(); // A host's dialog must not ask either.
      issueRequest(true);
    },
    true,
  );

  /* htmx 2 doesn't let hx-headers take the place of its own: the host's page is wanted as a whole. */
  listen(["htmx:configRequest"], (event) => {
    const { elt, headers } = event.detail;
    if (isLive(elt) && elt.hasAttribute("hx-headers")) headers["HX-Request"] = "false";
  });

  listen(["htmx:beforeRequest", "htmx:before:request"], (event) => {
    const { element } = told(event);
    if (!isLive(element)) return;
    const interval = document.hidden ? HIDDEN_INTERVAL : api.interval(element);
    if (Date.now() - (heard.get(boxOf(element)) || 0) < interval) event.preventDefault();
    else {
      hear(element);
      asking.set(element, false);
    }
  });

  /* Return by what to remember when a live region was last heard of; of a page around it that isn't known. */
  function boxOf(live) {
    return live.getAttribute("hx-target") === "this" ? homes.get(live) || live : live;
  }

  function hear(live) {
    heard.set(boxOf(live), Date.now());
  }

  /* Have live regions poll at once, however lately they did. */
  function poke(regions) {
    for (const live of regions) {
      heard.delete(boxOf(live));
      // What is asked already may be answered as it was before.
      if (asking.has(live)) asking.set(live, true);
      else live.dispatchEvent(new Event("dp:poke"));
    }
  }

  function wakeUp() {
    if (!document.hidden) poke(document.querySelectorAll("[data-dp-live][hx-get]"));
  }
  document.addEventListener("visibilitychange", wakeUp);
  window.addEventListener("pageshow", (event) => event.persisted && wakeUp());

  /* Leave the wait page behind: the back button would lead to it, and from there here again. */
  listen(["htmx:beforeOnLoad", "htmx:before:response"], (event) => {
    const { element, redirect } = told(event);
    if (!isLive(element) || !redirect || !(homes.get(element) || element).closest("[data-dp-page]")) return;
    event.preventDefault();
    location.replace(redirect);
  });

  listen(["htmx:beforeSwap", "htmx:before:swap"], (event) => {
    const { element, status, text } = told(event);
    if (!isLive(element) || status !== 200) return;
    const selector = element.getAttribute("hx-select");
    const page = new DOMParser().parseFromString(text, "text/html");
    const wanted = selector && page.querySelector(selector);
    const fresh = wanted && (isLive(wanted) ? wanted : wanted.querySelector("[data-dp-live]"));
    if (!wanted) {
      // Not what was asked for: a page of a proxy, say. A host page without its block has changed altogether.
      event.preventDefault();
      strange.add(element);
      if (selector !== `#${element.id}`) location.reload();
    } else if (fresh && Number(fresh.dataset.revision) < Number(element.dataset.revision)) {
      event.preventDefault();
    }
  });

  listen(["htmx:afterRequest", "htmx:finally:request"], (event) => {
    const { element, status } = told(event);
    if (!isLive(element)) return;
    const isAskedAgain = asking.get(element);
    asking.delete(element);
    if (document.hidden) return;
    const ok = status >= 200 && status < 400 && !strange.delete(element);
    const box = homes.get(element);
    if (!box || !box.isConnected) return;
    const isGone = status === 404;
    if (!ok) heard.delete(boxOf(element));
    connected(box, ok ? 0 : (failures.get(box) || 0) + 1, isGone);
    if (isGone && element.isConnected) stop(element);
    // htmx 4 says this before it has put the answer in its place, htmx 2 after that.
    else if (isAskedAgain) setTimeout(() => poke(polled().filter((live) => homes.get(live) === box)), 50);
  });

  /* Say, or no longer say, that there is no connection, or nothing at its other end. */
  function connected(box, count, isGone = false) {
    failures.set(box, count);
    for (const note of box.querySelectorAll("[data-dp-trouble]")) {
      note.hidden = note.dataset.dpTrouble === "gone" ? !isGone : isGone || count < 2;
    }
  }

  /* Ask no more: both versions stop with the element that asked. */
  function stop(live) {
    const still = live.cloneNode(true);
    for (const name of still.getAttributeNames()) if (name.startsWith("hx-")) still.removeAttribute(name);
    live.replaceWith(still);
  }

  // -----------------------------------------------------------------------------------

  look(document.documentElement);
  document.dispatchEvent(new Event("dp:ready"));
  if (document.readyState === "complete") {
    bringHtmx();
  } else {
    document.addEventListener("DOMContentLoaded", () => {
      // A host that loads htmx by itself may do so asynchronously.
      if (!document.querySelector("script[async][src]")) bringHtmx();
    });
    window.addEventListener("load", bringHtmx);
  }
})();
