// Live pages: patches by element id, and a reload of regions after missed events. All tabs of the
// browser share one stream (stream.js).
//   <body data-live="/events?topic=flights&format=html" data-live-events="airport.updated">
//   <tbody id="flights" data-live-region>   a refresh replaces it from this page's URL
//   <p data-live-status role="status" data-live-reconnecting="…" data-live-closed="…">  shows the state while not live
// HTML fragments come as `datastar-patch-elements`. JSON events are named in data-live-events, or by
// forge.live.on("flight.updated", (data, id) => true). One that no function handles reloads regions.
(() => {
  "use strict";
  const NAME = "forge-live-1"; // of worker, channel and lock; another protocol needs another name
  const STREAM = new URL("stream.js", document.currentScript.src).href;
  const [patchers, names] = [new Map(), new Set()];
  let send = () => {}; // sends this tab's wish to the owner of the stream; null: the tab leaves
  let unread = true; // changes since the page was rendered are not loaded yet
  let [root, readTimer, reading, again] = [null, 0, false, false];
  const deferred = []; // actions of events that arrive during a reload, which may be newer

  const jitter = (ms) => ms / 2 + Math.random() * ms;
  const later = (act) => (reading ? deferred.push(act) : act());

  function show(state) {
    for (const element of document.querySelectorAll("[data-live-status]")) {
      const dataset = element.dataset;
      dataset.liveText ??= element.textContent;
      const texts = { live: dataset.liveText, paused: dataset.liveText, closed: dataset.liveClosed ?? "closed…" };
      if (dataset.liveState) element.textContent = texts[state] ?? dataset.liveReconnecting ?? "reconnecting…";
      dataset.liveState = state; // the first connect shows no text
    }
  }

  // -- patches -------------------------------------------------------------------------------------

  const METHODS = {
    append: "append", prepend: "prepend", before: "before", after: "after",
    inner: "replaceChildren", outer: "replaceWith", replace: "replaceWith", remove: "remove",
  };
  const ADDING = ["append", "prepend", "before", "after"];
  const byId = (node) => (node.id ? document.getElementById(node.id) : null);

  // Each data line starts with a word: mode, selector or elements.
  function apply(text) {
    const patch = { mode: "outer", selector: "", elements: "" };
    for (const line of text.split("\n")) {
      const [word] = line.split(" ", 1), rest = line.slice(word.length + 1);
      if (word in patch) patch[word] = word === "elements" ? patch.elements + rest + "\n" : rest;
    }
    const method = METHODS[patch.mode];
    const template = document.createElement("template"); // accepts a <tr> without its table
    template.innerHTML = patch.elements;
    const nodes = [...template.content.children];
    if (!method) return;
    if (!patch.selector) return nodes.forEach((node) => byId(node)?.[method](node));
    const target = document.querySelector(patch.selector);
    // A replayed event must not add a row twice: an existing element is replaced in its position.
    const known = target && ADDING.includes(patch.mode) ? nodes.filter(byId) : [];
    for (const node of known) byId(node).replaceWith(node);
    const fresh = nodes.filter((node) => !known.includes(node));
    if (target && (fresh.length || !nodes.length)) target[method](...fresh);
  }

  // -- reload of regions ---------------------------------------------------------------------------

  function readSoon(ms = 200) {
    if (reading) again = true;
    else if (!readTimer) readTimer = setTimeout(read, jitter(ms));
  }

  // Replaces a region. Focus, horizontal scroll positions and selected rows stay.
  function replace(region, fresh) {
    const all = (root, what = "*") => [root, ...root.querySelectorAll(what)];
    const scrolled = all(region, ".scroll").map((e) => e.scrollLeft);
    const selected = all(region, "[type=checkbox][name]:checked").map((e) => e.value);
    const focused = document.activeElement;
    const home = region.contains(focused) && focused.closest("[id]");
    const place = home && all(home).indexOf(focused);
    for (const box of all(fresh, "[type=checkbox][name]")) box.checked ||= selected.includes(box.value);
    region.replaceWith(fresh);
    all(fresh, ".scroll").forEach((e, number) => (e.scrollLeft = scrolled[number] || 0));
    if (home) all(document.getElementById(home.id) || fresh)[place]?.focus({ preventScroll: true });
  }

  async function read() { // from the primary: a standby may not have the change yet
    [readTimer, reading, again] = [0, true, false];
    try {
      const [here, headers] = [location.href, { Accept: "text/html", "Forge-Position": "primary", "Forge-Background": "1" }];
      const response = await fetch(here, { cache: "no-store", headers, signal: AbortSignal.timeout(20000) });
      if (!response.ok) throw new Error(String(response.status));
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      if (here !== location.href) again = true; // forms.js changed the list during the request
      else for (const region of document.querySelectorAll("[data-live-region][id]")) {
        const fresh = page.getElementById(region.id);
        if (region.querySelector("details[open]")) setTimeout(readSoon, 3000); // a user may be typing
        else if (fresh) replace(region, document.adoptNode(fresh));
      }
    } catch {
      setTimeout(readSoon, jitter(2000));
    }
    reading = false;
    deferred.splice(0).forEach((act) => act());
    if (again) readSoon();
  }

  // -- messages of the stream's owner --------------------------------------------------------------

  function onMessage({ state, read, event, id, data }) {
    if (state) show(state);
    if (state === "live" && (unread || read)) unread = void readSoon();
    if (event === "refresh") readSoon(1000); // spread over time: all browsers get this event at once
    else if (event === "datastar-patch-elements") later(() => apply(data));
    else if (names.has(event) || patchers.has(event)) later(() => onJson(event, id, data));
  }

  function onJson(event, id, data) {
    let handled = false;
    try {
      handled = patchers.get(event)?.(JSON.parse(data), id) === true;
    } catch (error) {
      console.error(error);
    }
    if (!handled) readSoon();
  }

  // -- the owner of the stream: a SharedWorker, else a visible tab that has the lock ----------------

  function connect() {
    const script = document.createElement("script");
    script.onload = share;
    script.src = STREAM;
    const without = () => document.head.append(script);
    try {
      const worker = new SharedWorker(STREAM, NAME);
      worker.onerror = without;
      worker.port.onmessage = ({ data }) => onMessage(data);
      send = (want) => worker.port.postMessage(want);
    } catch {
      without();
    }
  }

  function share() {
    const me = Math.random().toString(36);
    const channel = self.BroadcastChannel && navigator.locks ? new BroadcastChannel(NAME) : null;
    let [mine, owner, release, waiting] = [null, null, null, null];
    const post = (to, message) => (to === me ? onMessage(message) : channel.postMessage({ to, message }));

    function lead() {
      owner = forge.newOwner(post);
      owner.take(me, mine);
      channel?.postMessage({ who: true });
      return new Promise((done) => (release = done));
    }

    function follow() {
      waiting?.abort();
      owner?.close();
      release?.();
      owner = release = waiting = null;
    }

    if (channel) channel.onmessage = ({ data: { to, message, from, want, who } }) => {
      if (to === me) onMessage(message);
      else if (from) owner?.take(from, want);
      else if (who && mine) channel.postMessage({ from: me, want: mine });
    };
    send = (want) => {
      mine = want;
      if (!want || want.hidden) follow();
      else if (!waiting) {
        const { signal } = (waiting = new AbortController());
        if (channel) navigator.locks.request(NAME, { signal }, lead).catch(() => {});
        else lead();
      }
      if (owner) owner.take(me, want);
      else channel?.postMessage({ from: me, want });
    };
    wish();
  }

  // -- the page ------------------------------------------------------------------------------------

  const wish = () => send({ url: new URL(root.dataset.live, location).href, hidden: document.hidden });
  const leave = () => (unread = true) && send(null);

  function start() {
    root = document.querySelector("[data-live]");
    if (!root) return;
    for (const name of (root.dataset.liveEvents || "").split(" ")) if (name) names.add(name);
    for (const name of ["visibilitychange", "resume"]) document.addEventListener(name, wish);
    document.addEventListener("freeze", leave);
    addEventListener("pagehide", leave);
    addEventListener("pageshow", (event) => event.persisted && wish());
    connect();
    wish();
  }

  const live = { on: (name, patcher) => patchers.set(name, patcher), refresh: readSoon };
  window.forge = Object.assign(window.forge || {}, { live });
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
