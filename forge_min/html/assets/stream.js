// The stream that all tabs of a browser share. A SharedWorker runs this file; in a browser without
// SharedWorker, live.js loads it into the leading tab.
(() => {
  "use strict";
  const HIDDEN_FOR = 5000; // ms without a visible tab, after which the stream is closed
  const REFUSED = [400, 401, 403, 404]; // a retry would not help
  const jitter = (ms) => ms / 2 + Math.random() * ms;

  // Yields the blocks of the body as {event, id, retry, data: lines}. Heartbeats are regular: without
  // them the connection is dead, even if TCP reports nothing.
  async function* blocksOf(body) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    for (let text = "", heartbeat = 30; ; ) {
      const silent = setTimeout(() => reader.cancel(), 3000 * heartbeat);
      const { value, done } = await reader.read().finally(() => clearTimeout(silent));
      if (done) return;
      const blocks = (text + value).split("\n\n");
      text = blocks.pop();
      for (const block of blocks) {
        const fields = { data: [] };
        // Without a regular expression, for which U+2028 in data would end a line.
        for (const line of block.split("\n")) {
          const colon = line.indexOf(":");
          const field = line.slice(0, colon);
          const rest = line.slice(colon + (line[colon + 1] === " " ? 2 : 1));
          if (colon < 0) continue;
          if (field === "data") fields.data.push(rest);
          else if (field) fields[field] = rest;
          else heartbeat = Number(/^heartbeat (\d+)/.exec(rest)?.[1] ?? heartbeat);
        }
        yield fields;
      }
    }
  }

  // take(member, {url, hidden}), or take(member, null) for a member that leaves.
  // post(member, {state, read} or {event, id, data}). read: events may be missing, so reload.
  function newOwner(post) {
    const wants = new Map();
    const groups = new Map(); // members whose URLs differ only in their topics share a stream
    const apart = new Set(); // base URLs whose combined topics were refused
    let timer = 0;

    const broadcast = (group, message) => group.members.forEach((_, member) => post(member, message));
    const setState = (group, state, read) => broadcast(group, { state: (group.state = state), read });

    async function run(group) {
      const { signal } = (group.stop = new AbortController());
      const url = new URL(group.base);
      for (const topic of group.topics) url.searchParams.append("topic", topic);
      for (let failures = 0; !signal.aborted; failures = Math.min(failures + 1, 5)) {
        setState(group, "connecting");
        try {
          const headers = { Accept: "text/event-stream" };
          if (group.last) headers["Last-Event-ID"] = group.last;
          const response = await fetch(url, { headers, signal, cache: "no-store" });
          if (REFUSED.includes(response.status)) return refused(group);
          if (!response.ok) throw new Error(response.status);
          setState(group, "live", !group.last);
          failures = 0;
          for await (const { event, id, retry, data } of blocksOf(response.body)) {
            if (signal.aborted) return;
            group.retry = Number(retry ?? group.retry);
            group.last = id ?? group.last;
            // After any other reason it reconnects for the remaining topics.
            if (event === "close" && data[0].includes('"expired"')) return setState(group, "closed");
            if (event === "status") setState(group, JSON.parse(data[0]).state);
            if (event === "status" && group.state === "live") broadcast(group, { event: "refresh" });
            else if (event && event !== "close") broadcast(group, { event, id, data: data.join("\n") });
          }
        } catch {} // unreachable, full, or cut off: retry later
        if (signal.aborted) return;
        setState(group, "connecting");
        await new Promise((go) => setTimeout(go, jitter(group.retry * 2 ** failures)));
      }
    }

    function refused(group) {
      if (apart.has(group.base)) return setState(group, "closed");
      apart.add(group.base); // one tab's refused topic must not end the streams of other tabs
      arrange();
    }

    function join(member, address) {
      const url = new URL(address);
      const topics = url.searchParams.getAll("topic");
      url.searchParams.delete("topic");
      const base = url.href;
      const key = apart.has(base) ? address : base;
      const group = groups.get(key) ?? { base, members: new Map(), topics: [], retry: 2000 };
      groups.set(key, group);
      group.members.set(member, topics);
    }

    // Opens a stream for each group, reopens it for a new topic, and closes it without members.
    function arrange() {
      clearTimeout(timer);
      if (wants.size && [...wants.values()].every((want) => want.hidden)) {
        timer = setTimeout(pause, HIDDEN_FOR);
        return;
      }
      groups.forEach((group) => group.members.clear());
      for (const [member, want] of wants) join(member, want.url);
      for (const [key, group] of groups) {
        const topics = [...new Set([...group.members.values()].flat())];
        const covered = topics.every((topic) => group.topics.includes(topic));
        if (covered && topics.length) continue;
        group.stop?.abort();
        group.topics = topics.sort();
        if (topics.length) run(group);
        else groups.delete(key);
      }
    }

    function pause() {
      for (const group of groups.values()) {
        group.stop.abort();
        group.topics = []; // `last` stays: a resumed stream continues there
        setState(group, "paused");
      }
    }

    function take(member, want) {
      for (const group of groups.values()) {
        if (group.state !== "closed") continue;
        if (!wants.has(member)) group.topics = []; // the user may have signed in again
        else if (!want && group.members.has(member)) apart.delete(group.base); // its topic may have been the refused one
      }
      if (want) wants.set(member, want);
      else wants.delete(member);
      arrange();
      for (const group of groups.values()) {
        if (group.members.has(member)) post(member, { state: group.state });
      }
    }

    return { take, close: () => groups.forEach((group) => group.stop.abort()) };
  }

  if (typeof SharedWorkerGlobalScope === "undefined") {
    window.forge = Object.assign(window.forge || {}, { newOwner });
    return;
  }
  const owner = newOwner((port, message) => port.postMessage(message));
  self.onconnect = ({ ports: [port] }) => {
    port.onmessage = ({ data }) => owner.take(port, data);
    port.onclose = () => owner.take(port, null);
  };
})();
