// Live pages: patches by element id, a fresh page where something was missed. The stream itself is
// one for all tabs of the browser: stream.js.
//
//   <body data-live="/events?topic=flights&format=html" data-live-events="airport.updated">
//   <tbody id="flights" data-live-region>   what a refresh reads again, from this page's own address
//   <p data-live-status role="status" data-live-reconnecting="…" data-live-closed="…">  says so when not live
//
// The server's fragments come as `datastar-patch-elements`. JSON events that a page wants are named
// in data-live-events, or by forge.live.on("flight.updated", (data, id) => { ...; return true; }).
// One that no function takes (returns true) reads the regions again.
(() => {
  "use strict";
  const NAME = "forge-live-1"; // what tabs share goes by it: another protocol gets another name
  const STREAM = new URL("stream.js", document.currentScript.src).href;
  const [patchers, names] = [new Map(), new Set()];
  let send = () => {}; // tells the owner of the stream what this tab wants; null: it leaves
  let unread = true; // what changed since the page was made must be read
  let [root, readTimer, reading, again] = [null, 0, false, false];
  const held = []; // what to do with events that come while the page is read: they may be newer

  const jitter = (ms) => ms / 2 + Math.random() * ms;
  const later = (act) => (reading ? held.push(act) : act());

  function show(state) {
    for (const element of document.querySelectorAll("[data-live-status]")) {
      const said = element.dataset;
      said.liveText ??= element.textContent;
      const texts = { live: said.liveText, paused: said.liveText, closed: said.liveClosed ?? "closed…" };
      if (said.liveState) element.textContent = texts[state] ?? said.liveReconnecting ?? "reconnecting…";
      said.liveState = state; // a page that has just been opened connects, which is not worth a word
    }
  }

  // -- patches -------------------------------------------------------------------------------------

  const METHODS = {
    append: "append", prepend: "prepend", before: "before", after: "after",
    inner: "replaceChildren", outer: "replaceWith", replace: "replaceWith", remove: "remove",
  };
  const ADDING = ["append", "prepend", "before", "after"];
  const byId = (node) => (node.id ? document.getElementById(node.id) : null);

  // Data lines of the wire format start with a word: mode, selector or elements.
  function apply(text) {
    const patch = { mode: "outer", selector: "", elements: "" };
    for (const line of text.split("\n")) {
      const [word] = line.split(" ", 1), rest = line.slice(word.length + 1);
      if (word in patch) patch[word] = word === "elements" ? patch.elements + rest + "\n" : rest;
    }
    const method = METHODS[patch.mode];
    const template = document.createElement("template"); // takes a <tr> without its table
    template.innerHTML = patch.elements;
    const nodes = [...template.content.children];
    if (!method) return;
    if (!patch.selector) return nodes.forEach((node) => byId(node)?.[method](node));
    const target = document.querySelector(patch.selector);
    // A replayed event must not add a second row: what is there already is replaced where it is.
    const known = target && ADDING.includes(patch.mode) ? nodes.filter(byId) : [];
    for (const node of known) byId(node).replaceWith(node);
    const fresh = nodes.filter((node) => !known.includes(node));
    if (target && (fresh.length || !nodes.length)) target[method](...fresh);
  }

  // -- reading the page again ----------------------------------------------------------------------

  function readSoon(ms = 200) {
    if (reading) again = true;
    else if (!readTimer) readTimer = setTimeout(read, jitter(ms));
  }

  // The one for the other; what has the focus there, and how far it is scrolled, stays.
  function replace(region, fresh) {
    const all = (root, what = "*") => [root, ...root.querySelectorAll(what)];
    const scrolled = all(region, ".scroll").map((e) => e.scrollLeft);
    const focused = document.activeElement;
    const home = region.contains(focused) && focused.closest("[id]");
    const place = home && all(home).indexOf(focused);
    region.replaceWith(fresh);
    all(fresh, ".scroll").forEach((e, number) => (e.scrollLeft = scrolled[number] || 0));
    if (home) all(document.getElementById(home.id) || fresh)[place]?.focus({ preventScroll: true });
  }

  async function read() {
    [readTimer, reading, again] = [0, true, false];
    try {
      const [here, signal] = [location.href, AbortSignal.timeout(20000)];
      const answer = await fetch(here, { cache: "no-store", headers: { Accept: "text/html" }, signal });
      if (!answer.ok) throw new Error(String(answer.status));
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (here !== location.href) again = true; // forms.js shows another list by now
      else for (const region of document.querySelectorAll("[data-live-region][id]")) {
        const fresh = page.getElementById(region.id);
        if (fresh) replace(region, document.adoptNode(fresh));
      }
    } catch {
      setTimeout(readSoon, jitter(2000));
    }
    reading = false;
    held.splice(0).forEach((act) => act());
    if (again) readSoon();
  }

  // -- what the owner of the stream tells ----------------------------------------------------------

  function hear({ state, read, event, id, data }) {
    if (state) show(state);
    if (state === "live" && (unread || read)) unread = void readSoon();
    if (event === "refresh") readSoon(1000); // all browsers are told at once
    else if (event === "datastar-patch-elements") later(() => apply(data));
    else if (names.has(event) || patchers.has(event)) later(() => onJson(event, id, data));
  }

  function onJson(event, id, data) {
    let taken = false;
    try {
      taken = patchers.get(event)?.(JSON.parse(data), id) === true;
    } catch (error) {
      console.error(error);
    }
    if (!taken) readSoon();
  }

  // -- who owns the stream: a SharedWorker; without one, a tab that is seen and has the lock --------

  function connect() {
    const script = document.createElement("script");
    script.onload = share;
    script.src = STREAM;
    const without = () => document.head.append(script);
    try {
      const worker = new SharedWorker(STREAM, NAME);
      worker.onerror = without;
      worker.port.onmessage = ({ data }) => hear(data);
      send = (want) => worker.port.postMessage(want);
    } catch {
      without();
    }
  }

  function share() {
    const me = Math.random().toString(36);
    const channel = self.BroadcastChannel && navigator.locks ? new BroadcastChannel(NAME) : null;
    let [mine, owner, release, waiting] = [null, null, null, null];
    const tell = (to, message) => (to === me ? hear(message) : channel.postMessage({ to, message }));

    function lead() {
      owner = forge.newOwner(tell);
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
      if (to === me) hear(message);
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
