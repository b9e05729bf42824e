// Live pages: one EventSource, patches by element id, a fresh page where something was missed.
//
//   <body data-live="/events?topic=flights&format=html" data-live-events="airport.updated">
//   <tbody id="flights" data-live-region>   what a refresh reads again, from this page's own address
//   <p data-live-status>                    shows the state while it is not live
//
// The server's fragments come as `datastar-patch-elements`. JSON events need their names, since an
// EventSource hears only names that it was told: in data-live-events, or by
//   forge.live.on("flight.updated", (data, id) => { ...; return true; })
// A JSON event that no function takes (returns true) reads the regions again.
(() => {
  "use strict";

  const PATCH = "datastar-patch-elements";
  const HIDDEN_FOR = 5000; // ms in the background before the stream is given back
  const patchers = new Map();
  const names = new Set();
  let root = null;
  let source = null;
  let failures = 0;
  let [openTimer, hideTimer, readTimer] = [0, 0, 0];
  let [reading, again] = [false, false];
  let held = []; // patches that arrive while the page is read: they may be newer than it

  const jitter = (ms) => ms / 2 + Math.random() * ms;

  function show(state) {
    for (const element of document.querySelectorAll("[data-live-status]")) {
      if (element.dataset.liveText === undefined) element.dataset.liveText = element.textContent;
      element.dataset.liveState = state;
      element.textContent = state === "live" ? element.dataset.liveText : state + "…";
    }
  }

  // -- patches ---------------------------------------------------------------------------------

  // Data lines of the wire format start with a word: mode, selector or elements.
  function parsePatch(text) {
    const patch = { mode: "outer", selector: "", elements: [] };
    for (const line of text.split("\n")) {
      const space = line.indexOf(" ");
      const word = space < 0 ? line : line.slice(0, space);
      const rest = space < 0 ? "" : line.slice(space + 1);
      if (word === "elements") patch.elements.push(rest);
      else if (word === "mode" || word === "selector") patch[word] = rest;
    }
    return patch;
  }

  function nodesOf(lines) {
    const template = document.createElement("template"); // takes a <tr> without its table
    template.innerHTML = lines.join("\n");
    return [...template.content.children];
  }

  const byId = (node) => node.id && document.getElementById(node.id);
  const ADDING = new Set(["append", "prepend", "before", "after"]);
  const placed = {
    remove: (target) => target.remove(),
    inner: (target, nodes) => target.replaceChildren(...nodes),
    append: (target, nodes) => target.append(...nodes),
    prepend: (target, nodes) => target.prepend(...nodes),
    before: (target, nodes) => target.before(...nodes),
    after: (target, nodes) => target.after(...nodes),
    outer: (target, nodes) => target.replaceWith(...nodes),
    replace: (target, nodes) => target.replaceWith(...nodes),
  };

  function apply(text) {
    const { mode, selector, elements } = parsePatch(text);
    const place = placed[mode];
    const nodes = nodesOf(elements);
    if (!place) return;
    if (!selector) {
      for (const node of nodes) if (byId(node)) place(byId(node), [node]);
      return;
    }
    const target = document.querySelector(selector);
    if (!target) return;
    if (!ADDING.has(mode)) return place(target, nodes);
    // A replayed event must not add a second row: what is there already is replaced where it is.
    const fresh = nodes.filter((node) => !byId(node));
    for (const node of nodes) if (byId(node)) byId(node).replaceWith(node);
    if (fresh.length) place(target, fresh);
  }

  const onPatch = (event) => (reading ? held.push(event.data) : apply(event.data));

  // -- reading the page again ------------------------------------------------------------------

  function readSoon() {
    if (document.hidden && !source) return; // the next open reads
    if (reading) again = true;
    else if (!readTimer) readTimer = setTimeout(read, jitter(200));
  }

  async function read() {
    readTimer = 0;
    reading = true;
    again = false;
    try {
      const answer = await fetch(location.href, { cache: "no-store", headers: { Accept: "text/html" } });
      if (!answer.ok) throw new Error(String(answer.status));
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const region of document.querySelectorAll("[data-live-region][id]")) {
        const fresh = page.getElementById(region.id);
        if (fresh) region.replaceWith(document.adoptNode(fresh));
      }
    } catch {
      setTimeout(readSoon, jitter(4000));
    }
    reading = false;
    const patches = held;
    held = [];
    patches.forEach(apply);
    if (again) readSoon();
  }

  function onJson(event) {
    const patcher = patchers.get(event.type);
    let taken = false;
    try {
      taken = patcher !== undefined && patcher(JSON.parse(event.data), event.lastEventId) === true;
    } catch (error) {
      console.error(error);
    }
    if (!taken) readSoon();
  }

  // -- the stream ------------------------------------------------------------------------------

  function open() {
    openTimer = 0;
    if (source || !root || document.hidden) return;
    show("connecting");
    source = new EventSource(root.dataset.live);
    let fresh = true; // knows no last id: what changed since the page was made must be read
    source.addEventListener("open", () => {
      failures = 0;
      show("live");
      if (fresh) readSoon();
      fresh = false;
    });
    source.addEventListener("error", () => {
      show("connecting");
      // CONNECTING: the browser comes back by itself, after the server's `retry`, and resumes.
      if (source && source.readyState === EventSource.CLOSED) reopen();
    });
    source.addEventListener(PATCH, onPatch);
    source.addEventListener("refresh", readSoon);
    source.addEventListener("close", (event) => {
      if (["shutdown", "changed"].includes(JSON.parse(event.data).reason)) return;
      root = null; // signed out, or not allowed: nothing opens it again
      shut("closed");
    });
    for (const name of names) source.addEventListener(name, onJson);
  }

  function shut(state) {
    clearTimeout(openTimer);
    openTimer = 0;
    if (source) source.close();
    source = null;
    show(state);
  }

  function reopen() {
    // Refused: a cap, or a restart behind a proxy.
    shut("connecting");
    failures = Math.min(failures + 1, 5);
    openTimer = setTimeout(open, jitter(1000 * 2 ** failures));
  }

  function onVisibility() {
    clearTimeout(hideTimer);
    if (document.hidden) hideTimer = setTimeout(() => shut("paused"), HIDDEN_FOR);
    else if (root && !source && !openTimer) open();
  }

  function on(name, patcher) {
    patchers.set(name, patcher);
    if (!names.has(name) && source) source.addEventListener(name, onJson);
    names.add(name);
  }

  function start() {
    root = document.querySelector("[data-live]");
    if (!root) return;
    for (const name of (root.dataset.liveEvents || "").split(" ")) if (name) names.add(name);
    document.addEventListener("visibilitychange", onVisibility);
    addEventListener("pagehide", () => shut("paused"));
    addEventListener("pageshow", (event) => event.persisted && onVisibility());
    open();
  }

  window.forge = Object.assign(window.forge || {}, { live: { on, refresh: readSoon } });
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
