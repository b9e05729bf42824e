// Forms without a reload, and a search for related rows while the user types.
//
//   <form data-form="write">   an error is shown in place; a saved form redirects
//   <form data-form="ask">     a list is filtered in place; the URL follows
//   <button data-plain>        sends its form as without JavaScript, for a download
//   <div data-pick="/flights/new/choices?field=origin_id">   see inputs.py
(() => {
  "use strict";
  const main = () => document.getElementById("main");

  // A request of the user prolongs the session: see idle.js.
  async function request(url, options) {
    const response = await fetch(url, options);
    if (response.status !== 401) dispatchEvent(new Event("forge-request"));
    return response;
  }

  async function send(form, button) {
    const body = new URLSearchParams(new FormData(form));
    if (button?.name) body.append(button.name, button.value);
    // By attribute: a field may be called "method" or "action".
    const asks = form.getAttribute("method") !== "post";
    const url = new URL(form.getAttribute("action"), location.href);
    if (asks) {
      for (const [name, value] of [...body]) if (!value) body.delete(name, value);
      url.search = String(body);
    }
    const response = await request(url, {
      method: asks ? "GET" : "POST",
      headers: { Accept: "text/html", ...(asks ? {} : { "X-Requested-With": "fetch" }) },
      ...(asks ? {} : { body }),
    });
    if (!/^text\/html/.test(response.headers.get("Content-Type") || "")) throw new Error("not a page");
    const moved = response.redirected || asks;
    return { text: await response.text(), url: moved ? response.url : null, asks, ok: response.ok };
  }

  function showError(form, words) {
    const notice = document.createElement("div");
    notice.className = "notice bad";
    notice.setAttribute("role", "alert");
    notice.textContent = words;
    form.querySelector(":scope > .notice")?.remove();
    form.prepend(notice);
  }

  function show({ text, url, asks, ok }, form) {
    const page = new DOMParser().parseFromString(text, "text/html");
    const fresh = page.getElementById("main");
    // A page with another stream or layout is loaded completely.
    if (url && (!asks || !fresh)) return location.assign(url);
    if (!fresh) throw new Error("not a page of this application");
    // An error page without a form does not replace the entered text.
    if (!ok && !asks && !fresh.querySelector("[data-form]")) {
      return showError(form, [...fresh.querySelectorAll("h1, h1 + p")].map((e) => e.textContent).join(": "));
    }
    const focused = document.activeElement?.id;
    main().replaceWith(document.adoptNode(fresh));
    document.title = page.title;
    if (url) history.replaceState(null, "", url);
    start(main());
    (document.getElementById("problems") || document.getElementById(focused))?.focus();
  }

  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (!form.hasAttribute("data-form") || event.defaultPrevented) return;
    if (event.submitter?.hasAttribute("data-plain")) return;
    if (form.hasAttribute("data-busy")) return event.preventDefault(); // a second click
    event.preventDefault();
    form.setAttribute("data-busy", "");
    try {
      show(await send(form, event.submitter), form);
    } catch {
      form.removeAttribute("data-busy");
      // The server may have saved it, so it is not sent again.
      if (form.getAttribute("method") === "post") return showError(form, form.getAttribute("data-unknown") || "?");
      form.removeAttribute("data-form"); // as without JavaScript: the browser shows the error
      form.requestSubmit(event.submitter);
      return;
    }
    form.removeAttribute("data-busy");
  });

  // -- lists: links to other pages and orders, and the key of the search ---------------------------

  const LINKS = ".pages a, .chips a, .tools > a, thead a";

  async function open(url, link) {
    try {
      const response = await request(url, { headers: { Accept: "text/html" } });
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      const fresh = page.getElementById("main");
      if (!response.ok || !fresh) throw new Error(String(response.status));
      main().replaceWith(document.adoptNode(fresh));
      document.title = page.title;
      if (link) {
        history.pushState(null, "", url);
        main().focus({ preventScroll: true });
        scrollTo(0, 0);
      }
      start(main());
    } catch {
      location.assign(url);
    }
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest(LINKS);
    const special = event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey;
    if (!link || special || event.defaultPrevented || !main().querySelector("[data-form=ask]")) return;
    event.preventDefault();
    open(link.href, true);
  });
  addEventListener("popstate", () => main().querySelector("[data-form=ask]") && open(location.href, false));

  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, select, [contenteditable]");
    const search = main()?.querySelector("input[type=search]");
    if (event.key !== "/" || typing || !search || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    search.focus();
  });

  // -- a relation's targets ------------------------------------------------------------------------

  function pick(box) {
    const input = box.querySelector("input[type=search]");
    const list = box.querySelector(".choices");
    const status = box.querySelector("[role=status]");
    let [timer, controller, last] = [0, null, input?.value.trim()];
    if (!input || !list) return;

    async function search() {
      const words = input.value.trim();
      if (words === last) return; // a result may have the focus by now
      last = words;
      controller?.abort();
      controller = new AbortController();
      const stays = (input) => input.checked || input.value === ""; // "none" always stays
      const checked = [...list.children].filter((label) => stays(label.querySelector("input")));
      if (!words) return list.replaceChildren(...checked);
      try {
        const url = `${box.dataset.pick}&q=${encodeURIComponent(words)}`;
        const headers = { Accept: "application/json" }; // of an error
        const response = await request(url, { signal: controller.signal, headers });
        if (response.status === 400) {
          status.textContent = (await response.json()).detail;
          return;
        }
        if (!response.ok) throw new Error(String(response.status));
        const template = document.createElement("template");
        template.innerHTML = await response.text();
        const known = new Set(checked.map((label) => label.querySelector("input").value));
        const fresh = [...template.content.children].filter(
          (label) => !known.has(label.querySelector("input").value),
        );
        list.replaceChildren(...checked, ...fresh);
        status.textContent = fresh.length || checked.length ? "" : box.dataset.none;
      } catch (error) {
        if (error.name === "AbortError") return;
        last = null;
        status.textContent = "…";
      }
    }

    input.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(search, 200);
    });
    input.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault(); // Enter would save the form
      clearTimeout(timer);
      search();
    });
    for (const button of box.querySelectorAll("button[name=_search]")) button.hidden = true;
  }

  function start(root) {
    for (const box of root.querySelectorAll("[data-pick]")) pick(box);
  }

  if (document.readyState === "loading") {
    document.addEventListener("DOMContentLoaded", () => start(document));
  } else {
    start(document);
  }
})();
