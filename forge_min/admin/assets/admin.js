// Keeps the overview fresh: the plots every 2 s, readiness every 10 s, while somebody sees the page.
(() => {
  "use strict";
  const live = document.querySelector("[data-fresh]");
  const ready = document.querySelector("[data-ready]");
  const told = document.querySelector("[data-told]");

  const look = async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch("/", { headers: { Accept: "text/html" } });
      if (answer.redirected) return location.reload();
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.querySelector("[data-fresh]");
      if (!answer.ok || !fresh) throw new Error(answer.status);
      live.replaceChildren(...fresh.childNodes);
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
  repeat(look, 2000);
  repeat(askReady, 10000);
})();
