// A page in development: loads itself, or only its stylesheets, again when what is served changes,
// and shows what is wrong. `forge-min dev` adds it to every page, and nothing else does.
(() => {
  "use strict";
  const { page, styles } = document.currentScript.dataset;
  let [shown, source] = [styles, null];

  function restyle() {
    for (const link of document.querySelectorAll('link[rel="stylesheet"]')) {
      const url = new URL(link.href);
      url.searchParams.set("forge-dev", shown);
      const fresh = link.cloneNode();
      fresh.href = url;
      fresh.onload = fresh.onerror = () => link.remove(); // no moment without a style
      link.after(fresh);
    }
  }

  function hear({ data }) {
    const state = JSON.parse(data);
    if (state.page !== page) return location.reload();
    if (String(state.styles) !== shown) {
      shown = String(state.styles);
      restyle();
    }
    document.getElementById("forge-dev-state").innerHTML = state.html; // escaped by the server
  }

  // Browsers allow six connections per host: a tab that nobody sees takes none.
  function listen() {
    source?.close();
    source = document.hidden ? null : new EventSource("/forge-dev/events");
    if (source) source.onmessage = hear;
  }
  document.addEventListener("visibilitychange", listen);
  listen();
})();
