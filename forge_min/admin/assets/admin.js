// Keeps a page up to date while it is visible: the parts marked data-fresh every 2 s, readiness every 10 s.
(() => {
  "use strict";
  const live = [...document.querySelectorAll("[data-fresh]")];
  const shown = live.map((part) => part.innerHTML);
  const ready = document.querySelector("[data-ready]");
  const told = document.querySelector("[data-told]");

  const look = async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (answer.redirected) return location.reload();
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = [...page.querySelectorAll("[data-fresh]")];
      if (!answer.ok || fresh.length !== live.length) throw new Error(answer.status);
      live.forEach((part, i) => {
        // A part in use stays as it is: its focus would be lost.
        if (fresh[i].innerHTML === shown[i] || part.contains(document.activeElement)) return;
        shown[i] = fresh[i].innerHTML;
        part.replaceChildren(...fresh[i].childNodes);
      });
      told.textContent = "live";
    } catch {
      told.textContent = "no answer; trying again";
    }
  };

  const askReady = async () => {
    if (document.hidden) return;
    try {
      const state = await (await fetch("/readyz")).json();
      const why = Object.entries(state.reasons).map(([part, reason]) => `${part}: ${reason}`);
      ready.textContent = state.ready ? "ready" : `not ready (${why.join("; ")})`;
      ready.className = state.ready ? "good" : "bad";
    } catch {
      ready.textContent = "no answer";
      ready.className = "bad";
    }
  };

  const repeat = async (does, pause) => {
    for (;;) {
      await does();
      await new Promise((done) => setTimeout(done, pause));
    }
  };
  told.textContent = "live";
  if (live.length) repeat(look, 2000);
  if (ready) repeat(askReady, 10000);
})();
