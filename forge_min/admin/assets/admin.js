// Updates a page while it is visible: elements marked data-fresh every 2 s, readiness every 10 s.
(() => {
  "use strict";
  const live = [...document.querySelectorAll("[data-fresh]")];
  const shown = live.map((part) => part.innerHTML);
  const ready = document.querySelector("[data-ready]");
  const status = document.querySelector("[data-status]");

  const refresh = async () => {
    if (document.hidden) return;
    try {
      const response = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (response.redirected) return location.reload();
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      const fresh = [...page.querySelectorAll("[data-fresh]")];
      if (!response.ok || fresh.length !== live.length) throw new Error(response.status);
      live.forEach((part, i) => {
        // Replacing an element in use would lose its focus.
        if (fresh[i].innerHTML === shown[i] || part.contains(document.activeElement)) return;
        shown[i] = fresh[i].innerHTML;
        part.replaceChildren(...fresh[i].childNodes);
      });
      status.textContent = "live";
    } catch {
      status.textContent = "no response; retrying";
    }
  };

  const checkReady = async () => {
    if (document.hidden) return;
    try {
      const state = await (await fetch("/readyz")).json();
      const why = Object.entries(state.reasons).map(([part, reason]) => `${part}: ${reason}`);
      const faults = why.length ? ` (${why.join("; ")})` : "";
      ready.textContent = `${state.ready ? "ready" : "not ready"}${faults}`;
      ready.className = state.ready ? "good" : "bad";
    } catch {
      ready.textContent = "no response";
      ready.className = "bad";
    }
  };

  const repeat = async (action, pause) => {
    for (;;) {
      await action();
      await new Promise((done) => setTimeout(done, pause));
    }
  };
  status.textContent = "live";
  if (live.length) repeat(refresh, 2000);
  if (ready) repeat(checkReady, 10000);
})();
