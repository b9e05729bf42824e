// Shows a notice a minute before the session ends without a request of its user (auth.idle_timeout).
//   <div data-idle="900" data-ended="…" hidden><p>…</p><a href="/account">Stay signed in</a></div>
// All tabs of the browser share the time of the last request. The server decides: it may be later.
(() => {
  "use strict";
  const KEY = "forge-requested-at";
  const notice = document.querySelector("[data-idle]");
  if (!notice) return;
  const [words, link] = [notice.querySelector("p"), notice.querySelector("a")];
  const warning = words.textContent;
  const timeout = Number(notice.dataset.idle) * 1000;
  const early = Math.min(60000, timeout / 2);
  let requestedAt = 0;

  function requested(at) {
    requestedAt = at;
    try {
      localStorage.setItem(KEY, String(at));
    } catch {} // then each tab counts its own requests
    show();
  }

  function show() {
    try {
      requestedAt = Math.max(requestedAt, Number(localStorage.getItem(KEY)));
    } catch {}
    const left = requestedAt + timeout - Date.now();
    const text = left > 0 ? warning : notice.dataset.ended;
    if (words.textContent !== text) words.textContent = text; // screen readers read each change
    notice.hidden = left > early;
    link.hidden = left <= 0;
  }

  link.addEventListener("click", async (event) => {
    event.preventDefault();
    try {
      const response = await fetch(link.href, { cache: "no-store", redirect: "manual" });
      requested(response.ok ? Date.now() : 0);
    } catch {} // unreachable: the notice stays
  });
  addEventListener("forge-request", () => requested(Date.now()));
  document.addEventListener("visibilitychange", show);
  setInterval(show, 1000);
  requested(Date.now());
})();
