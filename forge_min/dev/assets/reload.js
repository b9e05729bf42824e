// A page in development: loads itself, or only its stylesheets, again when what is served changes,
// and shows what is wrong. `forge-min dev` adds it to every page, and nothing else does.
(() => {
  "use strict";
  const { page, styles, failures } = document.currentScript.dataset;
  let [shown, wrong] = [styles, null];

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

  function show(state) {
    if (state.page !== page) return location.reload();
    if (state.styles !== shown) {
      shown = state.styles;
      restyle();
    }
    const html = (state.failures !== failures ? state.failed : "") + state.html;
    if (html !== wrong) document.getElementById("forge-dev-state").innerHTML = html; // escaped by the server
    wrong = html;
  }

  async function look() {
    try {
      if (!document.hidden) show(await (await fetch("/forge-dev/state")).json());
    } catch {
      // The process is being replaced: the next look asks another one.
    }
    setTimeout(look, 200);
  }
  look();
})();
