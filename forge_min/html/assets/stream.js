// The one stream of a browser, which its tabs share. A SharedWorker runs this file; where there is
// none, live.js loads it into the tab that leads.
(() => {
  "use strict";
  const HIDDEN_FOR = 5000; // ms in which nobody sees any of the tabs, then the stream is given back
  const REFUSED = [400, 401, 403, 404]; // asking again for the same would not help
  const jitter = (ms) => ms / 2 + Math.random() * ms;

  // Blocks of the body as {event, id, retry, data: lines}, until it ends. Heartbeats come all the
  // time: without them the connection is dead, whatever TCP says.
  async function* blocksOf(body) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    for (let text = "", heartbeat = 30; ; ) {
      const silent = setTimeout(() => reader.cancel(), 3000 * heartbeat);
      const { value, done } = await reader.read().finally(() => clearTimeout(silent));
      if (done) return;
      const blocks = (text + value).split("\n\n");
      text = blocks.pop();
      for (const block of blocks) {
        const found = { data: [] };
        // Not by a pattern: to those a line ends at U+2028 too, which data may hold.
        for (const line of block.split("\n")) {
          const colon = line.indexOf(":");
          const field = line.slice(0, colon);
          const rest = line.slice(colon + (line[colon + 1] === " " ? 2 : 1));
          if (colon < 0) continue;
          if (field === "data") found.data.push(rest);
          else if (field) found[field] = rest;
          else heartbeat = Number(/^heartbeat (\d+)/.exec(rest)?.[1] ?? heartbeat);
        }
        yield found;
      }
    }
  }

  // take(member, {url, hidden}), null for one that leaves; tell(member, {state, read}) or
  // ({event, id, data}). `read`: what came before is not known, so read everything again.
  function newOwner(tell) {
    const wants = new Map();
    const groups = new Map(); // members whose addresses differ in their topics share a stream
    const apart = new Set(); // ... but where those topics together were refused
    let timer = 0;

    const say = (group, message) => group.members.forEach((_, member) => tell(member, message));
    const turn = (group, state, read) => say(group, { state: (group.state = state), read });

    async function run(group) {
      const { signal } = (group.stop = new AbortController());
      const url = new URL(group.base);
      for (const topic of group.topics) url.searchParams.append("topic", topic);
      for (let failures = 0; !signal.aborted; failures = Math.min(failures + 1, 5)) {
        turn(group, "connecting");
        try {
          const headers = { Accept: "text/event-stream" };
          if (group.last) headers["Last-Event-ID"] = group.last;
          const answer = await fetch(url, { headers, signal, cache: "no-store" });
          if (REFUSED.includes(answer.status)) return refused(group);
          if (!answer.ok) throw new Error(answer.status);
          turn(group, "live", !group.last);
          failures = 0;
          for await (const { event, id, retry, data } of blocksOf(answer.body)) {
            if (signal.aborted) return;
            group.retry = Number(retry ?? group.retry);
            group.last = id ?? group.last;
            // After any other reason it asks once more, for the topics that are left.
            if (event === "close" && data[0].includes('"expired"')) return turn(group, "closed");
            if (event === "status") turn(group, JSON.parse(data[0]).state);
            if (event === "status" && group.state === "live") say(group, { event: "refresh" });
            else if (event && event !== "close") say(group, { event, id, data: data.join("\n") });
          }
        } catch {} // unreachable, full, or cut: the same again, later
        if (signal.aborted) return;
        turn(group, "connecting");
        await new Promise((go) => setTimeout(go, jitter(group.retry * 2 ** failures)));
      }
    }

    function refused(group) {
      if (apart.has(group.base)) return turn(group, "closed");
      apart.add(group.base); // one tab's topic must not cost the others theirs
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

    // Gives every member its stream: opens one, opens it anew where a topic is new, ends it where
    // nobody is left.
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
        group.topics = []; // `last` stays: who comes back goes on from there
        turn(group, "paused");
      }
    }

    function take(member, want) {
      for (const group of groups.values()) {
        if (group.state !== "closed") continue;
        if (!wants.has(member)) group.topics = []; // perhaps signed in again
        else if (!want && group.members.has(member)) apart.delete(group.base); // perhaps it was the one
      }
      if (want) wants.set(member, want);
      else wants.delete(member);
      arrange();
      for (const group of groups.values()) {
        if (group.members.has(member)) tell(member, { state: group.state });
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
