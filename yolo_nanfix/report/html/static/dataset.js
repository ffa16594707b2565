"use strict";
// The list of all findings with its filters, and pictures that open large. Texts only ever become text nodes.
(() => {
  const holder = document.getElementById("dataset-data");
  if (!holder) return;
  const data = JSON.parse(holder.textContent);
  const at = Object.fromEntries(data.columns.map((name, place) => [name, place]));
  const byId = (id) => document.getElementById(id);
  const PAGE = 24;
  const SVG = "http://www.w3.org/2000/svg";
  const search = data.files.map((names) => names.join(" ").toLowerCase());
  const count = byId("count");
  const list = byId("list");
  const grouped = (number) => String(number).replace(/\B(?=(\d{3})+(?!\d))/g, "\u202f");

  const element = (name, text, className) => {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  };
  const drawn = (name, attributes) => {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };

  // A picture with some rows in red: `suspect` are their numbers, `spots` further points to ring.
  const thumbnail = (file, suspect, spots, says) => {
    const picture = data.pictures[file];
    if (!picture) return null;
    const [number, view, , , outlines] = picture;
    const svg = drawn("svg", { class: "thumbnail", viewBox: view, role: "img", "aria-label": says });
    svg.append(drawn("use", { href: `#picture-${number}` }));
    const red = outlines.filter((outline) => suspect.has(outline[0]));
    const paths = (chosen) => chosen.map((outline) => outline[2]).join("");
    const others = paths(outlines.filter((outline) => !suspect.has(outline[0])));
    if (others) svg.append(drawn("path", { class: "halo", d: others }), drawn("path", { class: "row", d: others }));
    if (red.length) {
      svg.append(drawn("path", { class: "halo thick", d: paths(red) }), drawn("path", { class: "row suspect", d: paths(red) }));
    }
    for (const [cx, cy] of [...red.filter((o) => o.length > 3).map((o) => o.slice(3)), ...spots]) {
      svg.append(drawn("circle", { class: "halo thick", cx, cy, r: 12 }), drawn("circle", { class: "ring", cx, cy, r: 12 }));
    }
    return svg;
  };

  const dialog = byId("large");
  const open = (name, svg, lines) => {
    byId("large-name").textContent = name;
    const texts = element("ul", undefined, "examples");
    for (const line of lines) texts.append(element("li", line));
    byId("large-body").replaceChildren(svg, texts);
    dialog.showModal();
  };
  const zoom = (svg, name, lines) => {
    const button = element("button", undefined, "zoom");
    button.type = "button";
    button.setAttribute("aria-label", `Enlarge ${svg.getAttribute("aria-label")}`);
    button.addEventListener("click", () => open(name, svg.cloneNode(true), lines()));
    button.append(svg);
    return button;
  };

  const code = (row) => data.codes[row[at.code]];
  const text = (row) => `${code(row)[0]} ${row[at.message]}`;
  const about = (file) => data.rows.filter((row) => row[at.image] === file).map(text);

  const item = (row) => {
    const made = element("li", undefined, "finding");
    const file = row[at.image];
    const suspect = new Set(row[at.row] ? [row[at.row]] : []);
    const place = data.files[row[at.file]][0];
    const line = row[at.line] ? `:${row[at.line]}` : "";
    const svg = thumbnail(file, suspect, row[at.pixel] ? [row[at.pixel]] : [], file < 0 ? "" : data.files[file][0]);
    const other = row[at.partner];
    const second = other >= 0 ? thumbnail(other, new Set(), [], data.files[other][0]) : null;
    if (svg && second) {
      made.classList.add("two");
      const pair = element("div", undefined, "pair");
      for (const [one, drawing] of [[file, svg], [other, second]]) {
        const figure = element("figure", undefined, "thumb");
        figure.append(zoom(drawing, data.files[one][0], () => about(one)), element("figcaption", data.files[one][0]));
        pair.append(figure);
      }
      made.append(pair);
    } else if (svg) made.append(zoom(svg, data.files[file][0], () => about(file)));
    else if (data.without[file]) made.append(element("p", data.without[file], "thumbnail none"));
    const head = element("p");
    const severity = data.severities[row[at.severity]];
    head.append(element("strong", code(row)[0]), ` ${code(row)[1]} `, element("span", severity, `badge ${severity}`));
    const names = (data.sets[row[at.classes]] || []).map((number) => data.classes[number]);
    const tail = [row[at.split] < 0 ? "" : data.splits[row[at.split]], names.slice(0, 4).join(", ") + (names.length > 4 ? " ..." : "")];
    made.append(head, element("p", row[at.message]), element("p", place + line, "place"));
    made.append(element("p", tail.filter(Boolean).join(" \u00b7 "), "soft small"));
    return made;
  };

  // The filters: of each the numbers that a row has in it.
  const filters = {
    code: { names: data.codes.map((pair) => pair[0]), texts: data.codes.map((pair) => pair.join(" ")), of: (row) => [row[at.code]] },
    severity: { names: data.severities, texts: data.severities, of: (row) => [row[at.severity]] },
    split: { names: data.splits, texts: data.splits, of: (row) => [row[at.split]] },
    class: { names: data.classes, texts: data.classes, of: (row) => data.sets[row[at.classes]] || [] },
  };
  for (const [id, filter] of Object.entries(filters)) {
    const met = new Set(data.rows.flatMap(filter.of));
    filter.select = byId(id);
    filter.select.append(new Option("all", ""));
    const order = [...met].filter((number) => number >= 0);
    order.sort(id === "severity" ? (a, b) => a - b : (a, b) => (filter.texts[a] < filter.texts[b] ? -1 : 1));
    for (const number of order) filter.select.append(new Option(filter.texts[number], id === "code" || id === "severity" || id === "split" ? filter.names[number] : String(number)));
    filter.numberOf = new Map(order.map((number) => [id === "class" ? String(number) : filter.names[number], number]));
  }

  let found = [];
  let shown = 0;
  const more = byId("more");
  const grow = () => {
    const next = found.slice(shown, shown + PAGE).map(item);
    list.append(...next);
    shown += next.length;
    more.hidden = shown >= found.length;
    more.textContent = `Show ${Math.min(PAGE, found.length - shown)} more of ${grouped(found.length - shown)}`;
    return next;
  };
  const facets = (kinds) => {
    const parts = data.severities.map((name, number) => (kinds[number] ? `${grouped(kinds[number])} ${name}` : "")).filter(Boolean);
    byId("facets").textContent = parts.join(", ");
  };
  const apply = () => {
    const wanted = Object.values(filters).map((filter) => [filter, filter.numberOf.get(filter.select.value)]).filter((pair) => pair[1] !== undefined);
    const word = byId("search").value.trim().replace(/\s+/g, " ").toLowerCase();
    const files = word ? search.map((name) => name.includes(word)) : null;
    found = data.rows.filter(
      (row) =>
        wanted.every(([filter, number]) => filter.of(row).includes(number)) &&
        (!files || files[row[at.file]] || (row[at.image] >= 0 && files[row[at.image]])),
    );
    const kinds = {};
    const images = new Set();
    for (const row of found) {
      kinds[row[at.severity]] = (kinds[row[at.severity]] || 0) + 1;
      if (row[at.image] >= 0) images.add(row[at.image]);
    }
    count.textContent = `${grouped(found.length)} of ${grouped(data.rows.length)} findings, in ${grouped(images.size)} ${images.size === 1 ? "image" : "images"}`;
    count.dataset.shown = String(found.length);
    facets(kinds);
    list.replaceChildren();
    shown = 0;
    grow();
  };

  for (const filter of Object.values(filters)) filter.select.addEventListener("change", apply);
  byId("search").addEventListener("input", apply);
  const form = document.querySelector("#explorer form");
  form.addEventListener("reset", () => setTimeout(apply));
  form.addEventListener("submit", (event) => event.preventDefault());
  more.addEventListener("click", () => {
    const first = grow()[0];
    if (first) {
      first.tabIndex = -1;
      first.focus();
    }
  });
  for (const link of document.querySelectorAll("a.all")) {
    link.addEventListener("click", () => {
      form.reset();
      byId("code").value = link.dataset.code;
      setTimeout(apply);
    });
  }
  for (const svg of document.querySelectorAll("figure.thumb > svg.thumbnail")) {
    const caption = svg.parentElement.querySelector("figcaption").textContent;
    svg.replaceWith(zoom(svg.cloneNode(true), caption, () => []));
  }
  byId("explorer").hidden = false;
  apply();
})();
