// The API page: tries requests, shows them as curl, searches, and lists schemas with links. All of it is made from
// openapi.json beside the page; without scripts the page lists the same operations.
(() => {
  "use strict";
  const words = document.querySelector("[data-api]").dataset;
  const tag = (name, attributes = {}, ...children) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  };
  const field = (label, input) => tag("label", { class: "field" }, tag("span", {}, label), input);
  const key = tag("input", { type: "password", autocomplete: "off", spellcheck: "false" });

  // -- schemas -------------------------------------------------------------------------------------

  const nameOf = (ref) => ref.split("/").pop();
  const idOf = (name) => `schema-${name}`;

  // The type of a schema as text, with a link to a named one.
  function typeOf(schema) {
    if (!schema) return ["any"];
    if (schema.$ref) return [tag("a", { href: `#${idOf(nameOf(schema.$ref))}` }, nameOf(schema.$ref))];
    if (schema.type === "array") return [...typeOf(schema.items), "[]"];
    const choices = schema.enum ? ` (${schema.enum.join(", ")})` : "";
    return [[schema.type ?? "any"].flat().join(" | ") + (schema.format ? `, ${schema.format}` : "") + choices];
  }

  function schemaSection(name, schema) {
    const list = tag("dl", { class: "facts" });
    for (const [property, part] of Object.entries(schema.properties ?? {})) {
      const required = schema.required?.includes(property) ? `, ${words.required}` : "";
      list.append(
        tag("dt", {}, tag("code", {}, property)),
        tag("dd", {}, ...typeOf(part), required, part.description ? ` – ${part.description}` : ""),
      );
    }
    return tag("details", { class: "api", id: idOf(name) }, tag("summary", {}, tag("code", {}, name)), list);
  }

  // -- one operation -------------------------------------------------------------------------------

  const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;

  function request(base, method, path, inputs, body) {
    const query = new URLSearchParams(), headers = { Accept: "application/json" };
    let url = path;
    for (const [{ name, in: where }, input] of inputs) {
      if (where === "path") url = url.replace(`{${name}}`, encodeURIComponent(input.value));
      else if (input.value && where === "query") query.append(name, input.value);
      else if (input.value && where === "header") headers[name] = input.value;
    }
    if (key.value) headers.Authorization = `Bearer ${key.value}`;
    if (body) headers["Content-Type"] = "application/json";
    const address = new URL(base + url, location.origin);
    if (address.origin !== location.origin) throw new Error(address.origin); // nothing leaves this site
    address.search = String(query);
    // With a key, the session is not sent: the key decides.
    const credentials = key.value ? "omit" : "same-origin";
    return [address, { method, headers, credentials, ...(body ? { body: body.value } : {}) }];
  }

  function curl([address, { method, headers, body }]) {
    const shown = { ...headers, ...(key.value ? { Authorization: "Bearer $KEY" } : {}) };
    const parts = [`curl ${method === "GET" ? "" : `-X ${method} `}${quote(address.href)}`];
    for (const [name, value] of Object.entries(shown)) {
      parts.push(value.includes("$KEY") ? `-H "${name}: ${value}"` : `-H ${quote(`${name}: ${value}`)}`);
    }
    if (body) parts.push(`--data ${quote(body)}`);
    return parts.join(" \\\n  ");
  }

  function tryIt(details, base, method, path, operation, shared) {
    const form = tag("form", { class: "panel" });
    const inputs = [...shared, ...(operation.parameters ?? [])].map((parameter) => {
      const input = tag("input", { type: "text", autocomplete: "off" });
      if (parameter.required) input.required = true;
      form.append(field(`${parameter.name} (${parameter.in})`, input));
      return [parameter, input];
    });
    let body = null;
    if (operation.requestBody) {
      body = tag("textarea", { rows: "8", spellcheck: "false" });
      body.value = details.querySelector("[data-body]")?.textContent ?? "{}";
      form.append(field(words.body, body));
    }
    const command = tag("pre", { tabindex: "0" }), answer = tag("pre", { tabindex: "0", role: "status" });
    const build = () => request(base, method, path, inputs, body);
    const show = () => (command.textContent = curl(build()));
    form.append(tag("p", { class: "buttons" }, tag("button", { type: "submit" }, words.send)));
    form.append(tag("h3", {}, "curl"), command, tag("h3", {}, words.response), answer);
    form.addEventListener("input", show);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      try {
        const response = await fetch(...build());
        const text = await response.text();
        let shown = text;
        try {
          shown = JSON.stringify(JSON.parse(text), null, 2);
        } catch {
          // Not JSON: shown as it is.
        }
        answer.textContent = `${response.status} ${response.statusText}\n${shown.slice(0, 100_000)}`;
      } catch (error) {
        answer.textContent = String(error);
      }
    });
    key.addEventListener("input", show);
    show();
    details.append(tag("h3", {}, words.try), form);
  }

  // -- the page ------------------------------------------------------------------------------------

  async function start() {
    const spec = await (await fetch("openapi.json")).json();
    const base = (spec.servers?.find(({ url }) => !url.includes("{"))?.url ?? "/").replace(/\/$/, "");
    const operations = document.querySelectorAll("details[data-path]");
    for (const details of operations) {
      const { method, path } = details.dataset;
      const item = spec.paths[path], operation = item?.[method.toLowerCase()];
      details.addEventListener("toggle", () => {
        if (operation && !details.querySelector("form")) tryIt(details, base, method, path, operation, item.parameters ?? []);
      });
    }
    const main = document.querySelector("main");
    const search = tag("input", { type: "search", "aria-label": words.search, placeholder: words.search });
    search.addEventListener("input", () => {
      const wanted = search.value.toLowerCase();
      for (const details of operations) {
        details.hidden = !details.querySelector("summary").textContent.toLowerCase().includes(wanted);
      }
    });
    const bar = tag("div", { class: "filters" }, field(words.search, search), field(words.key, key));
    main.querySelector("h2").before(bar);
    main.append(tag("h2", {}, words.schemas));
    for (const [name, schema] of Object.entries(spec.components.schemas)) main.append(schemaSection(name, schema));
    const open = () => {
      const target = document.getElementById(location.hash.slice(1));
      if (target?.matches("details")) target.open = true;
    };
    addEventListener("hashchange", open);
    open();
  }

  start();
})();
