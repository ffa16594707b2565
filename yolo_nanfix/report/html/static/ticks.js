"use strict";
// The list to tick off, and buttons that copy it and the commands. Texts only ever become text nodes.
(() => {
  const copied = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  };
  const copier = (button, text) => {
    const says = button.textContent;
    button.type = "button";
    button.addEventListener("click", async () => {
      await copied(text());
      button.textContent = "Copied";
      setTimeout(() => (button.textContent = says), 1500);
    });
    return button;
  };
  for (const command of document.querySelectorAll(".steps pre")) {
    const button = document.createElement("button");
    button.className = "copy";
    button.textContent = "Copy";
    button.setAttribute("aria-label", `Copy ${command.textContent}`);
    command.after(copier(button, () => command.textContent));
  }

  const holder = document.getElementById("dataset-data");
  const list = document.getElementById("tick-list");
  if (!holder || !list) return;
  const data = JSON.parse(holder.textContent);
  const at = Object.fromEntries(data.columns.map((name, place) => [name, place]));
  const byId = (id) => document.getElementById(id);
  const PAGE = 50;
  const INFO = data.severities.indexOf("info");

  // One entry a file, the worst first: what is wrong with an image and its labels is one thing to do.
  const entries = new Map();
  for (const row of data.rows) {
    if (row[at.severity] === INFO) continue;
    const file = row[at.image] >= 0 ? row[at.image] : row[at.file];
    if (!entries.has(file)) entries.set(file, { name: data.files[file][0], severity: data.severities[row[at.severity]], lines: [] });
    const place = row[at.file] === file ? "" : `${data.files[row[at.file]][0]}${row[at.line] ? `:${row[at.line]}` : ""}: `;
    entries.get(file).lines.push(`${data.codes[row[at.code]][0]} ${place}${row[at.message]}`);
  }
  const all = [...entries.values()];
  const key = `ticked off: ${document.title}`;
  let done = new Set();
  try {
    done = new Set(JSON.parse(localStorage.getItem(key) || "[]"));
  } catch {
    // a browser that keeps nothing for files
  }
  const keep = () => {
    try {
      localStorage.setItem(key, JSON.stringify([...done]));
    } catch {
      // the same
    }
  };
  const count = () => {
    const ticked = all.filter((entry) => done.has(entry.name)).length;
    byId("tick-count").textContent = `${ticked} of ${all.length} ticked off`;
  };
  const item = (entry) => {
    const made = document.createElement("li");
    const label = document.createElement("label");
    const box = document.createElement("input");
    box.type = "checkbox";
    box.checked = done.has(entry.name);
    box.addEventListener("change", () => {
      if (box.checked) done.add(entry.name);
      else done.delete(entry.name);
      keep();
      count();
    });
    const name = document.createElement("span");
    name.className = "mono";
    name.textContent = entry.name;
    const badge = document.createElement("span");
    badge.className = `badge ${entry.severity}`;
    badge.textContent = entry.severity;
    const text = document.createElement("span");
    text.className = "says";
    text.append(name, " ", badge);
    for (const line of entry.lines.slice(0, 4)) {
      const says = document.createElement("span");
      says.className = "soft line";
      says.textContent = line;
      text.append(says);
    }
    if (entry.lines.length > 4) text.append(` and ${entry.lines.length - 4} more`);
    label.append(box, text);
    made.append(label);
    return made;
  };
  let shown = 0;
  const more = byId("tick-more");
  const grow = () => {
    const next = all.slice(shown, shown + PAGE).map(item);
    list.append(...next);
    shown += next.length;
    more.hidden = shown >= all.length;
    more.textContent = `Show ${Math.min(PAGE, all.length - shown)} more`;
    return next[0];
  };
  more.addEventListener("click", () => grow()?.querySelector("input").focus());
  const task = (entry) => `- [${done.has(entry.name) ? "x" : " "}] ${entry.name}: ${entry.lines.join("; ")}`;
  copier(byId("tick-copy"), () => all.map(task).join("\n") + "\n");
  copier(byId("tick-names"), () => all.filter((entry) => !done.has(entry.name)).map((entry) => entry.name).join("\n") + "\n");
  if (!all.length) return;
  grow();
  count();
  byId("ticks").hidden = false;
})();
