// The script of a page in development. It reloads the page, or only its stylesheets, after a change,
// and shows problems. Only `forge-min dev` adds it to pages.
(() => {
  "use strict";
  const { page, styles, failures } = document.currentScript.dataset;
  let [shown, current] = [styles, null];

  function restyle() {
    for (const link of document.querySelectorAll('link[rel="stylesheet"]')) {
      const url = new URL(link.href);
      url.searchParams.set("forge-dev", shown);
      const fresh = link.cloneNode();
      fresh.href = url;
      fresh.onload = fresh.onerror = () => link.remove(); // the old one stays until the new one is loaded
      link.after(fresh);
    }
  }

  function show(state) {
    if (state.page !== page) return location.reload();
    if (state.styles !== shown) {
      shown = state.styles;
      restyle();
    }
    const html = (state.failures !== failures ? state.failed : "") + state.html;
    if (html !== current) document.getElementById("forge-dev-state").innerHTML = html; // escaped by the server
    current = html;
  }

  async function poll() {
    try {
      if (!document.hidden) show(await (await fetch("/forge-dev/state")).json());
    } catch {
      // The process is being replaced: the next request reaches its successor.
    }
    setTimeout(poll, 200);
  }
  poll();
})();
