// Shows /api/openapi.json to people: an index, each route with its parameters and answers, and a form to
// try it on this node. Everything is built as text nodes: nothing of the document is read as HTML.
"use strict";

const VERBS = ["get", "post", "put", "patch", "delete", "head"];

/** An element with attributes and children; children are elements or texts. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Text with `code` between backticks, in paragraphs. */
function prose(text) {
  return (text ?? "").split("\n\n").map((paragraph) => {
    const parts = paragraph.split("`").map((part, index) => (index % 2 ? make("code", {}, part) : part));
    return make("p", {}, ...parts);
  });
}

/** A path that may be broken before its slashes. */
function breakable(path) {
  return path.split("/").flatMap((part, index) => (index ? [make("wbr"), `/${part}`] : part));
}

class Page {
  constructor(spec) {
    this.spec = spec;
  }

  resolve(thing) {
    if (!thing?.$ref) return thing ?? {};
    return thing.$ref.slice(2).split("/").reduce((node, key) => node?.[key], this.spec) ?? {};
  }

  /** A schema in a few words. */
  type(schema) {
    if (!schema || schema === true) return "any";
    if (schema.$ref) return schema.$ref.split("/").pop();
    const any = schema.oneOf ?? schema.anyOf;
    if (any) return any.map((one) => this.type(one)).join(" | ");
    if (schema.enum) return schema.enum.map(String).join(" | ");
    const types = [schema.type ?? "any"].flat();
    return types
      .map((type) => {
        if (type === "array") return `list of ${this.type(schema.items)}`;
        if (type === "object" && schema.additionalProperties) return `map to ${this.type(schema.additionalProperties)}`;
        return type;
      })
      .join(" | ");
  }

  /** An example value of a schema. */
  example(schema, depth = 0) {
    schema = this.resolve(schema);
    if (schema.example !== undefined) return schema.example;
    if (schema.default !== undefined) return schema.default;
    if (schema.enum) return schema.enum[0];
    const any = schema.oneOf ?? schema.anyOf;
    if (any) return this.example(any.find((one) => one.type !== "null") ?? any[0], depth);
    if (schema.allOf) return Object.assign({}, ...schema.allOf.map((one) => this.example(one, depth)));
    const type = [schema.type ?? "any"].flat().find((one) => one !== "null");
    if (type === "object") {
      if (depth > 4) return {};
      const entries = Object.entries(schema.properties ?? {}).map(([key, one]) => [key, this.example(one, depth + 1)]);
      if (!entries.length && schema.additionalProperties) entries.push(["…", this.example(schema.additionalProperties, depth + 1)]);
      return Object.fromEntries(entries);
    }
    if (type === "array") return depth > 4 ? [] : [this.example(schema.items, depth + 1)];
    return { string: "text", integer: 0, number: 0.5, boolean: true, null: null }[type] ?? {};
  }

  parameterRow(parameter, inputs) {
    const schema = this.resolve(parameter.schema);
    const bounds = [];
    if (schema.minimum !== undefined) bounds.push(`from ${schema.minimum}`);
    if (schema.maximum !== undefined) bounds.push(`to ${schema.maximum}`);
    if (schema.default !== undefined) bounds.push(`default ${schema.default}`);
    const input = make("input", { "aria-label": parameter.name, placeholder: parameter.in });
    if (inputs) inputs.push({ parameter, input });
    const type = this.type({ ...schema, type: [schema.type ?? "any"].flat().filter((one) => one !== "null") });
    return make(
      "tr",
      {},
      make("td", {}, make("code", {}, parameter.name), parameter.required ? make("span", { class: "must" }, "required") : null),
      make("td", {}, make("span", { class: "type" }, [type, ...bounds].join(", ")), ...prose(parameter.description)),
      make("td", {}, inputs ? input : ""),
    );
  }

  answerRow(status, answer) {
    answer = this.resolve(answer);
    const [kind, content] = Object.entries(answer.content ?? {})[0] ?? [];
    const cell = make("td", {}, ...prose(answer.description));
    if (kind) {
      cell.append(make("span", { class: "type" }, `${kind}: ${this.type(content.schema)}`));
      if (kind === "application/json" && status < 300) {
        const example = make("pre", {}, JSON.stringify(this.example(content.schema), null, 2));
        cell.append(make("details", {}, make("summary", { class: "type" }, "Shape"), example));
      }
    }
    return make("tr", {}, make("td", {}, make("code", {}, status)), cell);
  }

  route(path, verb, operation) {
    const id = operation.operationId;
    const inside = make("div", { class: "inside" }, ...prose(operation.description));
    const box = make(
      "details",
      { class: "route", id },
      make(
        "summary",
        {},
        make("span", { class: `verb ${verb}` }, verb.toUpperCase()),
        make("span", { class: "path" }, path),
        make("span", { class: "what" }, operation.summary ?? ""),
      ),
      inside,
    );
    // Filled when it is opened: the page stays quick with many routes.
    box.addEventListener("toggle", () => { if (box.open && !box.dataset.filled) this.fill(box, inside, path, verb, operation); });
    return box;
  }

  fill(box, inside, path, verb, operation) {
    box.dataset.filled = "1";
    const socket = operation.responses?.["101"] !== undefined;
    const form = Object.keys(operation.requestBody?.content ?? {})[0];
    const tryable = !socket && (verb === "get" || form === "application/json");
    const inputs = tryable ? [] : null;
    const parameters = (operation.parameters ?? []).map((one) => this.resolve(one));
    if (parameters.length) {
      const rows = parameters.map((parameter) => this.parameterRow(parameter, inputs));
      inside.append(make("h3", {}, "Parameters"), make("table", {}, ...rows));
    }
    let body = null;
    if (operation.requestBody) {
      const schema = operation.requestBody.content[form].schema;
      const example = form === "application/json" ? JSON.stringify(this.example(schema), null, 2) : "";
      inside.append(make("h3", {}, "Body"), make("span", { class: "type" }, `${form}: ${this.type(schema)}`));
      if (tryable) inside.append((body = make("textarea", { "aria-label": "Body" }, example)));
    }
    const answers = Object.entries(operation.responses ?? {}).map(([status, answer]) => this.answerRow(status, answer));
    inside.append(make("h3", {}, "Answers"), make("table", {}, ...answers));
    if (tryable) this.trial(inside, path, verb, inputs, body);
  }

  trial(inside, path, verb, inputs, body) {
    const button = make("button", { type: "button" }, "Try it here");
    const status = make("span", { class: "status" });
    const shown = make("pre", { hidden: "" });
    button.addEventListener("click", async () => {
      let url = path;
      const query = new URLSearchParams();
      const headers = {};
      for (const { parameter, input } of inputs) {
        const value = input.value;
        if (parameter.in === "path") url = url.replace(`{${parameter.name}}`, encodeURIComponent(value));
        else if (value !== "" && parameter.in === "query") query.append(parameter.name, value);
        else if (value !== "" && parameter.in === "header") headers[parameter.name] = value;
      }
      if (query.size) url += `?${query}`;
      if (body) headers["content-type"] = "application/json";
      const begun = performance.now();
      try {
        const answer = await fetch(url, { method: verb.toUpperCase(), headers, body: body?.value });
        const text = (await answer.text()).slice(0, 200000);
        status.textContent = `${answer.status} ${answer.statusText}, ${Math.round(performance.now() - begun)} ms, ${url}`;
        try { shown.textContent = JSON.stringify(JSON.parse(text), null, 2); } catch { shown.textContent = text; }
      } catch (error) {
        status.textContent = String(error);
        shown.textContent = "";
      }
      shown.hidden = shown.textContent === "";
    });
    inside.append(button, status, shown);
  }

  show() {
    const { info, paths, tags = [] } = this.spec;
    document.getElementById("version").append(`Version ${info.version} · `, make("a", { href: "/api/openapi.json", style: "display:inline" }, "openapi.json"));
    document.getElementById("about").append(...prose(info.description));
    const index = document.getElementById("index");
    const routes = document.getElementById("routes");
    routes.textContent = "";
    const all = Object.entries(paths).flatMap(([path, item]) =>
      VERBS.filter((verb) => item[verb]).map((verb) => ({ path, verb, operation: item[verb] })));
    for (const tag of tags) {
      const of = all.filter(({ operation }) => operation.tags?.includes(tag.name));
      if (!of.length) continue;
      index.append(make("h2", {}, tag.name));
      routes.append(make("h2", {}, tag.name[0].toUpperCase() + tag.name.slice(1)), make("p", {}, tag.description ?? ""));
      for (const { path, verb, operation } of of) {
        const link = make("a", { href: `#${operation.operationId}` }, make("b", { class: `verb ${verb}` }, verb.toUpperCase()), make("span", {}, ...breakable(path)));
        link.dataset.text = `${verb} ${path} ${operation.summary ?? ""}`.toLowerCase();
        index.append(link);
        routes.append(this.route(path, verb, operation));
      }
    }
    document.getElementById("find").addEventListener("input", (event) => {
      const wanted = event.target.value.toLowerCase();
      for (const link of index.querySelectorAll("a")) {
        const hidden = !link.dataset.text.includes(wanted);
        link.hidden = hidden;
        link.style.display = hidden ? "none" : "";
        document.getElementById(link.getAttribute("href").slice(1)).hidden = hidden;
      }
    });
    const open = () => {
      const box = location.hash && document.getElementById(location.hash.slice(1));
      if (box) { box.open = true; box.scrollIntoView(); }
    };
    addEventListener("hashchange", open);
    open();
  }
}

fetch("/api/openapi.json")
  .then((answer) => answer.json())
  .then((spec) => new Page(spec).show())
  .catch((error) => { document.getElementById("routes").textContent = `The document can't be read: ${error}`; });
